"""``imagebind-llm detect``: boxes around what is described, shown or heard."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.common.errors import UserError

if TYPE_CHECKING:
    from imagebind_llm.inference.assistant import Assistant
    from imagebind_llm.skills.detection import Detections

app = typer.Typer()

_EXAMPLES = """
\b
Examples:
  imagebind-llm detect scene.png --text "a dog" --text "the digit seven" --out overlay.png
  imagebind-llm detect scene.png --audio dog.ogg              (where is what I hear?)
  imagebind-llm detect scene.png --image seven.png --coco boxes.json
  imagebind-llm detect scene.png --audio dog.ogg@0.7 --text "a dog@0.3" --together
  imagebind-llm detect scene.png --text "a cat" --ask "What is in box 1?"
  imagebind-llm detect street.jpg --text "a bus" --detector google/owlv2-base-patch16-ensemble

\b
Each medium is a prompt; with --together all of them are one. A box gets the prompt that fits it best.
--detector proposes the boxes, --model says what is in them. nano's own detector finds separate
things on an even ground; for photographs give a zero-shot detector (OWLv2, Grounding DINO).
"""


@app.command(epilog=_EXAMPLES, short_help="Find things in a picture by words, pictures, sounds.")
def detect(
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="Where to look.")],
    text: Annotated[
        shared.Media, typer.Option("--text", metavar="WORDS[@WEIGHT]", help="What to look for, in words.")
    ] = None,
    image: shared.ImageOption = None,
    video: shared.VideoOption = None,
    audio: shared.AudioOption = None,
    point: shared.PointOption = None,
    depth: shared.DepthOption = None,
    thermal: shared.ThermalOption = None,
    imu: shared.ImuOption = None,
    sensor: shared.SensorOption = None,
    together: Annotated[
        bool, typer.Option("--together", help="All media are one prompt: their weighted mixture.")
    ] = False,
    detector: Annotated[
        str, typer.Option("--detector", metavar="nano|DIR|HUB_ID", help="What proposes boxes.")
    ] = "nano",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.png", help="The picture with its boxes.")
    ] = None,
    coco: Annotated[
        Path | None, typer.Option("--coco", metavar="FILE.json", help="The boxes as COCO's JSON.")
    ] = None,
    ask: Annotated[
        str | None, typer.Option("--ask", metavar="QUESTION", help="Ask about a box: 'What is in box 2?'")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Least score, 0 to 1. Default: 0.3.")
    ] = None,
    overlap: Annotated[
        float | None, typer.Option("--overlap", help="Most overlap of two boxes, 0 to 1. Default: 0.4.")
    ] = None,
    most: Annotated[int | None, typer.Option("--most", help="Most boxes. Default: 20.")] = None,
    each: Annotated[
        bool, typer.Option("--each", help="Prompts do not compete: a box may answer several.")
    ] = False,
    cache: Annotated[
        bool, typer.Option("--cache", help="Move prompts towards pictures that the model knows.")
    ] = False,
    model: shared.ModelOption = "nano",
    device: shared.DeviceOption = "auto",
    dtype: shared.DtypeOption = "auto",
    json_: shared.JsonOption = False,
) -> None:
    """Draw boxes around what words, pictures, sounds or other media describe."""
    shared.know_sensors(model)
    media = shared.read_media(
        text=text, image=image, video=video, audio=audio, point=point, depth=depth, thermal=thermal, imu=imu
    )
    media |= shared.read_sensors(sensor, media)
    picture = _check(picture, media, out, coco, together, ask)
    from imagebind_llm.skills.detection.proposers import check_proposer, open_proposer
    from imagebind_llm.skills.detection.settings import DetectionSettings

    check_proposer(detector)
    asked = {"threshold": threshold, "overlap": overlap, "most": most}
    settings = DetectionSettings(
        **{name: value for name, value in asked.items() if value is not None},  # type: ignore[arg-type]
        classify=not each,
    )
    shared.check_files(media)
    bot = shared.open_assistant(model, device, dtype)
    from imagebind_llm.skills.detection import Detector, Prompt

    prompts = [Prompt.of(None, **media)] if together else Prompt.each(**media)
    found = Detector(bot, open_proposer(detector, str(bot.device))).detect(picture, prompts, settings, cache)
    _write(found, picture, out, coco)
    if json_:
        answer = {} if ask is None else {"answer": _answered(bot, found, ask)}
        shared.print_json({**found.to_dict(), **answer})
        return
    for one in found:
        x0, y0, x1, y1 = (round(value) for value in one.box)
        typer.echo(f"{one.number:3}. {one.score:.2f}  {x0},{y0} … {x1},{y1}  {one.label}")
    if not len(found):
        typer.echo(_nothing(found))
    if ask is not None:  # after the boxes: their numbers are what a question names
        typer.echo(f"\n{_answered(bot, found, ask)}")


def _nothing(found: "Detections") -> str:
    """Why no box is shown."""
    if not found.proposed:
        return "nothing found: the detector proposed no place; another --detector may"
    return f"nothing found among {found.proposed} boxes; a lower --threshold shows weaker ones"


def _check(
    picture: str,
    media: dict[str, Any],
    out: Path | None,
    coco: Path | None,
    together: bool,
    ask: str | None,
) -> str:
    """What can be refused before a model is loaded.

    Returns:
        The path of the picture, which may have been given as a ``file:`` address.
    """
    given, picture = picture, shared.path_here(picture, "PICTURE")
    shared.check_file(picture, f"PICTURE {given!r}")
    if not media:
        raise UserError("nothing to look for; give for example --text 'a dog' or --audio dog.wav")
    for name, values in media.items():
        for path, weight in values:
            if weight != 1.0 and not together:
                raise UserError(
                    f"--{name} {path!r} has the weight {weight:g}, which means something in a mixture only; "
                    "add --together, or leave it out"
                )
    if ask is not None and not ask.strip():
        raise UserError("--ask is empty; ask for example 'What is in box 1?'")
    for target, ending, option in ((out, ".png", "--out"), (coco, ".json", "--coco")):
        if target is None:
            continue
        if target.suffix.lower() != ending:
            raise UserError(f"{option} {str(target)!r} ends in {target.suffix!r}; expected {ending}")
        shared.check_out(target, option=option)
        if shared.is_input(target, media, picture):
            raise UserError(f"{option} {str(target)!r} is one of the files that are read; give another name")
    return picture


def _write(found: "Detections", picture: str, out: Path | None, coco: Path | None) -> None:
    from imagebind_llm.common.files import atomic_write, printable_name, write_json

    if out is not None:
        from imagebind_llm.skills.detection.overlay import overlay

        with atomic_write(out) as temporary:
            overlay(found).save(temporary, format="PNG")
    if coco is not None:
        from imagebind_llm.skills.detection.coco import to_coco

        write_json(coco, to_coco([printable_name(Path(picture).name)], [found]))


def _answered(bot: "Assistant", found: "Detections", question: str) -> str:
    from imagebind_llm.skills.detection import ask_box

    return ask_box(bot, found, question).text
