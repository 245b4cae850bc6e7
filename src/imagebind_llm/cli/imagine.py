"""``imagebind-llm imagine``: media and words → a picture, a sound or a shape."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.common.errors import UserError

if TYPE_CHECKING:
    from imagebind_llm.inference.assistant import Assistant
    from imagebind_llm.skills.generation import Generator, Wish

app = typer.Typer()

_EXAMPLES = """
\b
Examples:
  imagebind-llm imagine --audio eight.ogg --out eight.png
  imagebind-llm imagine --text "a seven" --out seven.glb
  imagebind-llm imagine --image cat.png@0.5 --text "a dog@0.5" --count 4 --out pet.png
  imagebind-llm imagine --between three.ply eight.png --frames 8 --out way.gif
  imagebind-llm imagine --audio rain.wav --model my-7b --generator unclip --weights HUB_ID --out rain.png

\b
.png .gif  pictures      .wav  sounds      .ply .glb  shapes
All media together are one mixture, as in ask. Generators that read words (stable-audio, audioldm2, shap-e)
get --description, or else the model's own description of the media.
"""


@app.command(epilog=_EXAMPLES, short_help="Make a picture, a sound or a shape of media and words.")
def imagine(
    out: Annotated[Path, typer.Option("--out", help="A .png, .gif, .wav, .ply or .glb file.")],
    image: shared.ImageOption = None,
    video: shared.VideoOption = None,
    audio: shared.AudioOption = None,
    text: shared.TextOption = None,
    point: shared.PointOption = None,
    depth: shared.DepthOption = None,
    thermal: shared.ThermalOption = None,
    imu: shared.ImuOption = None,
    media: shared.SensorOption = None,
    description: Annotated[
        str | None, typer.Option("--description", help="Words for generators that read words.")
    ] = None,
    negative: Annotated[str, typer.Option("--negative", help="Words for what it should not be.")] = "",
    between: Annotated[
        tuple[str, str] | None,
        typer.Option("--between", metavar="FILE FILE", help="The way from one medium to another."),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", min=2, max=256, help="Of --between.")] = 8,
    generator: Annotated[
        str, typer.Option("--generator", help="nano, unclip, stable-audio, audioldm2, shap-e.")
    ] = "nano",
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="DIR|HUB_ID", help="Of the generator.")
    ] = None,
    count: Annotated[int, typer.Option("--count", help="How many; files are then numbered.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Of the noise they start from.")] = 0,
    steps: Annotated[int | None, typer.Option("--steps", help="Default: the generator's.")] = None,
    guidance: Annotated[float | None, typer.Option("--guidance", help="Default: the generator's.")] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", help="Length of a sound.")] = None,
    cache: shared.CacheOption = None,
    model: shared.ModelOption = "nano",
    device: shared.DeviceOption = "auto",
    dtype: shared.DtypeOption = "auto",
    json_: shared.JsonOption = False,
) -> None:
    """Make a picture, a sound or a shape of any media, mixtures of them, and words."""
    shared.check_out(out)
    shared.know_sensors(model)
    given: dict[str, Any] = dict(
        shared.read_media(
            image=image,
            video=video,
            audio=audio,
            text=text,
            point=point,
            depth=depth,
            thermal=thermal,
            imu=imu,
        )
    )
    given |= shared.read_sensors(media, given)
    shared.check_files(given)
    _refuse_inputs(out, given, between)
    if between is not None and given:
        raise UserError("--between names the two media itself; drop the other ones")

    from imagebind_llm.skills.generation.contract import Settings
    from imagebind_llm.skills.generation.registry import generator_kind
    from imagebind_llm.skills.generation.writing import kind_of

    kind = kind_of(out)
    if out.suffix.lower() == ".gif" and between is None:
        raise UserError("a .gif shows the way between two media; give --between FILE FILE, or a .png")
    if between is not None and (kind != "picture" or count != 1):
        raise UserError("--between makes one .png or .gif; drop --count and give such an --out")
    settings = Settings(count, seed, steps, guidance, seconds, progress=not json_)
    known = generator_kind(generator)
    if kind not in known.kinds:
        raise UserError(
            f"the generator {generator!r} makes no {kind}, only {' and '.join(known.kinds)}s; choose another "
            "one with --generator"
        )
    opened = known.open(weights, device)  # what is not there is said before a model is loaded
    bot = shared.open_assistant(model, device, dtype)

    def wish(one: dict[str, Any]) -> "Wish":
        return _wish(bot, one, opened, cache, description, negative)

    if between is None:
        wishes = [wish(given)]
    else:
        from imagebind_llm.skills.generation.wishes import between as way

        wishes = way(wish(_medium(between[0])), wish(_medium(between[1])), frames)
    made = opened.make(kind, wishes, settings)
    paths = _write(out, made, opened, wishes, settings)
    if json_:
        shared.print_json({"out": [str(path) for path in paths], "kind": kind, **opened.about})
    else:
        for path in paths:
            typer.echo(f"{kind} in {path}")


def _wish(
    bot: "Assistant",
    given: dict[str, Any],
    generator: "Generator",
    cache: bool | None,
    description: str | None,
    negative: str,
) -> "Wish":
    from imagebind_llm.skills.generation.wishes import make_wish

    return make_wish(bot, given, generator, cache=cache, description=description, negative=negative)


def _medium(path: str) -> dict[str, Any]:
    """One end of --between: a file, or words where there is no such file.

    Raises:
        UserError: a file that could be several things.
    """
    from imagebind_llm.media import guess_modality

    if not Path(path).exists() and not Path(path).suffix:
        return {"text": path}
    shared.check_file(path, f"--between {path!r}")
    return {guess_modality(path).value: path}


def _refuse_inputs(out: Path, given: dict[str, Any], between: tuple[str, str] | None) -> None:
    """Never write over what is read.

    Raises:
        UserError: ``out`` is one of the media.
    """
    paths = [path for name, values in given.items() if name != "text" for path, _ in values]
    for path in (*paths, *(between or ())):
        if out.exists() and Path(path).exists() and out.samefile(path):
            raise UserError(f"--out {str(out)!r} is one of the media; give another name")


def _write(out: Path, made: Any, generator: "Generator", wishes: "list[Wish]", settings: Any) -> list[Path]:
    """The files of what was made."""
    from imagebind_llm.skills.generation import writing
    from imagebind_llm.skills.generation.contract import Pictures, Sounds
    from imagebind_llm.skills.generation.wishes import each

    about = [
        writing.facts(generator.about, wishes[wish], settings, thing)
        for wish, thing in each(wishes, settings.count)
    ]
    if not isinstance(made, Pictures):
        write: Any = writing.write_sounds if isinstance(made, Sounds) else writing.write_shapes
        found: list[Path] = write(out, made, about)
        return found
    if len(wishes) == 1:
        return writing.write_pictures(out, made, about)
    whole = writing.write_animation if out.suffix.lower() == ".gif" else writing.write_strip
    return whole(out, made, about[0])
