"""``imagebind-llm imagine``: media and words → a picture, a sound or a shape."""

import os
import re
from collections.abc import Mapping, Sequence
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
  imagebind-llm imagine --image dog.jpg --out bark.wav
  imagebind-llm imagine --image cat.png@0.5 --text "a dog@0.5" --count 4 --out pet.png
  imagebind-llm imagine --between three.ply eight.png --frames 8 --out way.gif
  imagebind-llm imagine --audio rain.wav --model my-7b --generator unclip --weights HUB_ID --out rain.png

\b
.png .gif  pictures      .wav  sounds      .ply .glb  shapes
All media together are one mixture, as in ask. Generators that read words (stable-audio, audioldm2, shap-e)
get --description, or else the model's own description of the media. A .gif goes there and back.
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
    frames: Annotated[
        int | None, typer.Option("--frames", min=2, max=256, help="Of --between. Default: 8.")
    ] = None,
    generator: Annotated[
        str, typer.Option("--generator", help="nano, unclip, stable-audio, audioldm2, shap-e.")
    ] = "nano",
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="DIR|HUB_ID", help="Of the generator.")
    ] = None,
    count: Annotated[int, typer.Option("--count", help="How many; files are then numbered.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Of the noise, or of the recording.")] = 0,
    steps: Annotated[int | None, typer.Option("--steps", help="Default: the generator's.")] = None,
    guidance: Annotated[float | None, typer.Option("--guidance", help="Default: the generator's.")] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", help="Length of a sound; not nano's.")] = None,
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
    ends = () if between is None else tuple(_end(one) for one in between)
    if ends and given:
        raise UserError("--between names the two media itself; drop the other ones")
    if not (ends or given or description):
        raise UserError("there is nothing to imagine; give media or words, for example --text 'a seven'")
    if frames is not None and not ends:
        raise UserError("--frames is of --between; give both, or --count for several pictures")

    from imagebind_llm.skills.generation.contract import Settings, require_kind
    from imagebind_llm.skills.generation.registry import generator_kind
    from imagebind_llm.skills.generation.writing import kind_of, numbered

    kind = kind_of(out)
    if seconds is not None and kind != "sound":
        raise UserError(f"--seconds is the length of a sound, and --out {str(out)!r} is none; leave it out")
    if out.suffix.lower() == ".gif" and between is None:
        raise UserError("a .gif shows the way between two media; give --between FILE FILE, or a .png")
    if between is not None and kind != "picture":
        raise UserError(f"--between makes one .png or .gif, and --out {str(out)!r} is neither")
    if between is not None and count != 1:
        raise UserError("--between makes one .png or .gif; drop --count")
    settings = Settings(count, seed, steps, guidance, seconds, progress=not json_)
    for number in range(count):
        _check_out(numbered(out, number, count), given, ends)
    known = generator_kind(generator)
    if kind not in known.kinds:
        makes = " and ".join(f"{one}s" for one in known.kinds)
        raise UserError(
            f"the generator {generator!r} makes no {kind}, only {makes}; choose another one with --generator"
        )
    opened = known.open(weights, device)  # what is not there is said before a model is loaded
    require_kind(opened, kind)
    if description and "description" not in opened.reads:
        raise UserError(
            f"the generator {generator!r} reads no --description; give the words as a medium with --text, or "
            "choose another one with --generator"
        )
    bot = shared.open_assistant(model, device, dtype)

    def wish(one: dict[str, Any]) -> "Wish":
        return _wish(bot, one, opened, cache, description, negative)

    if between is None:
        wishes = [wish(given)]
    else:
        from imagebind_llm.skills.generation.wishes import between as way

        wishes = way(wish(ends[0]), wish(ends[1]), frames or _FRAMES)
    made = opened.make(kind, wishes, settings)
    paths = _write(out, made, opened, wishes, settings)
    names: Sequence[str] = getattr(made, "names", ())
    if json_:
        named = {"sounds": list(names)} if names else {}
        shared.print_json({"out": [str(path) for path in paths], "kind": kind, **named, **opened.about})
    else:
        for number, path in enumerate(paths):
            typer.echo(f"{kind} ({names[number]}) in {path}" if names else f"{kind} in {path}")


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


def _end(given: str) -> dict[str, list[tuple[str, float]]]:
    """One end of --between: a file, or words where nothing looks like the path of one.

    Raises:
        UserError: a file that is not there, or that could be several things.
    """
    from imagebind_llm.media import guess_modality

    there = len(given) <= _LONGEST_PATH and os.path.exists(given)
    if not there and not given.startswith(_PATHS) and not _ENDING.search(given):
        if not given.strip():
            raise UserError("an end of --between is empty; give a file, or words")
        return {"text": [(given, 1.0)]}
    path = shared.path_here(given, "--between")
    shared.check_file(path, f"--between {given!r}")
    return {guess_modality(path).value: [(path, 1.0)]}


_FRAMES = 8
_LONGEST_PATH = 4096
_PATHS = ("/", "./", "../", "~", "file:", "http://", "https://")
"""What is meant for a path begins so …"""
_ENDING = re.compile(r"\.\w+(?:@\S*)?$")
"""… or ends so; neither is so of words."""


def _check_out(out: Path, given: Mapping[str, Any], ends: Sequence[Mapping[str, Any]]) -> None:
    """Never write over what is read, nor find out after the work that a file cannot be written.

    Raises:
        UserError: ``out`` is one of the media, a folder, or lies where nothing can be written.
    """
    shared.check_out(out)
    for media in (given, *ends):
        if shared.is_input(out, dict(media)):
            raise UserError(
                f"{str(out)!r} would be written over, and is one of the media; give another --out"
            )


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
