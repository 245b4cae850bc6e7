"""Options that several commands share, and what they mean."""

import json
import math
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagebind_llm.cli import status
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import read_json
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.settings import MOST_AT_ONCE

if TYPE_CHECKING:
    from imagebind_llm.inference.assistant import Assistant


Media = list[str] | None
EMPTY_ANSWER = "note: the model's answer is empty"


def _medium(modality: str, what: str) -> Any:
    return typer.Option(f"--{modality}", metavar="PATH[@WEIGHT]", help=what)


ImageOption = Annotated[Media, _medium("image", "Image file. May be given several times, as all media.")]
VideoOption = Annotated[Media, _medium("video", "Video file.")]
AudioOption = Annotated[Media, _medium("audio", "Sound file.")]
TextOption = Annotated[
    Media,
    typer.Option("--text", metavar="WORDS[@WEIGHT]", help="Text as a medium: embedded, not read."),
]
PointOption = Annotated[Media, _medium("point", "Point cloud or mesh.")]
DepthOption = Annotated[Media, _medium("depth", "Depth map.")]
ThermalOption = Annotated[Media, _medium("thermal", "Thermal image.")]
ImuOption = Annotated[Media, _medium("imu", "Inertial recording.")]

SensorOption = Annotated[
    Media,
    typer.Option(
        "--media",
        metavar="NAME=PATH[@WEIGHT]",
        help="Any modality by name; the way to sensors that only this model knows.",
    ),
]

ModelOption = Annotated[str, typer.Option("--model", metavar="nano|DIR|HUB_ID", help="Which model.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda:0, …")]
DtypeOption = Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16.")]
QuantizeOption = Annotated[
    str | None,
    typer.Option("--quantize", help="Fewer bits for the language model: int8, int8-weights, 8bit, 4bit."),
]
EncoderDeviceOption = Annotated[
    str | None, typer.Option("--encoder-device", help="Another device for the encoder.")
]
DeviceMapOption = Annotated[
    str | None,
    typer.Option("--device-map", metavar="auto", help="Spread the language model over all memory there is."),
]
MemoryOption = Annotated[
    str | None,
    typer.Option("--max-memory", metavar="0=8GiB,cpu=6GiB", help="Most memory by device, for --device-map."),
]
OffloadOption = Annotated[
    str | None,
    typer.Option("--offload-dir", metavar="DIR", help="Where layers go that fit into no memory."),
]
BatchSizeOption = Annotated[
    int, typer.Option("--batch-size", min=1, max=MOST_AT_ONCE, help="Prompts answered at once.")
]

CacheOption = Annotated[
    bool | None,
    typer.Option(
        "--cache/--no-cache",
        help="Move media towards pictures the model knows. Default: for the modalities the model lists.",
    ),
]
CacheFolderOption = Annotated[
    str | None,
    typer.Option(
        "--cache-dir",
        metavar="DIR",
        help="Another cache than the model's own, used by the same modalities (images: --cache).",
    ),
]
CacheKOption = Annotated[
    int | None,
    typer.Option("--cache-k", help="Number of pictures. Default: the model's, often 10."),
]
CacheTemperatureOption = Annotated[
    float | None,
    typer.Option(
        "--cache-temperature", help="Sharpness of the choice among them. Default: the model's, often 20."
    ),
]
CacheWeightOption = Annotated[
    float | None,
    typer.Option("--cache-weight", help="Share of the pictures, 0 to 1. Default: the model's, often 0.5."),
]

NewTokensOption = Annotated[
    int | None,
    typer.Option("--max-new-tokens", help="Longest answer. Default: the model's."),
]
TemperatureOption = Annotated[float, typer.Option("--temperature", help="0: always the likeliest token.")]
TopPOption = Annotated[float, typer.Option("--top-p", help="Sample among the likeliest of this total.")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Of the sampling.")]
SystemOption = Annotated[str | None, typer.Option("--system", help="A system message.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def read_medium(modality: Modality, value: str, option: str | None = None) -> tuple[str, float]:
    """``PATH[@WEIGHT]`` → path and weight.

    A file that exists is taken as it is, ``@`` and all; else what follows the last ``@`` is the weight if it
    is a number. (``strange@2@1`` is the file ``strange@2`` with weight 1.) ``option`` is what the user wrote
    before the value, for the message.

    Raises:
        UserError: the weight of an existing file is not a finite number, or nothing stands before the weight.
    """
    if modality is not Modality.TEXT and os.path.exists(value):
        return value, 1.0
    option = option or f"--{modality.value}"
    head, at, tail = value.rpartition("@")
    if not at:
        return value, 1.0
    try:
        weight = float(tail)
    except ValueError:
        if modality is not Modality.TEXT and os.path.exists(head):
            raise UserError(
                f"{option} {value!r}: the weight {tail!r} is not a number; write for example {head}@0.5"
            ) from None
        return value, 1.0
    if not math.isfinite(weight):
        raise UserError(f"{option} {value!r}: the weight {tail!r} is not finite; write for example 0.5")
    if not head.strip():
        what = "words" if modality is Modality.TEXT else "file"
        raise UserError(f"{option} {value!r} is a weight alone; write the {what} before the @")
    return head, weight


def read_media(**given: Media) -> dict[str, list[tuple[str, float]]]:
    """All media options that were given, by modality."""
    return {
        name: [read_medium(Modality.parse(name), value) for value in values]
        for name, values in given.items()
        if values
    }


def read_sensors(given: Media, others: dict[str, Any]) -> dict[str, list[tuple[str, float]]]:
    """What ``--media NAME=PATH[@WEIGHT]`` gave, by modality, on top of ``others``.

    Raises:
        UserError: no ``=``, or a name that is no modality.
    """
    found: dict[str, list[tuple[str, float]]] = {}
    for value in given or []:
        name, equals, path = value.partition("=")
        if not equals or not path:
            raise UserError(f"--media {value!r}: write NAME=PATH, for example depth=map.png")
        modality = Modality.parse(name)
        medium = read_medium(modality, path)
        found.setdefault(modality.value, list(others.get(modality.value, []))).append(medium)
    return found


def check_files(media: dict[str, list[tuple[str, float]]]) -> None:
    """Complain of missing and impossible files before a model is loaded for them.

    Raises:
        UserError: naming the option. Also of a remote address, and of a weight that cannot be meant.
    """
    from imagebind_llm.model.messages import media_items

    for name, values in media.items():
        option = f"--{name}" if Modality(name).built_in else f"--media {name}"
        for path, _ in values:
            if name != "text":
                check_file(path_here(path, option), f"{option} {path!r}")
    media_items(media)


def path_here(text: str, option: str) -> str:
    """The path that was given, or that a ``file:`` address names.

    Raises:
        UserError: a remote address; it begins with ``option``.
    """
    from imagebind_llm.model.messages import local_source

    return text if os.path.exists(text) else str(local_source(text, option))


def check_file(path: str, where: str) -> None:
    """Refuse what no reader opens: nothing there, a folder, a pipe, a file that may not be read.

    Raises:
        UserError: it begins with ``where``.
    """
    try:
        mode = os.stat(path).st_mode
    except ValueError:
        raise UserError(f"{where}: the name holds a zero byte; give the name of a file") from None
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise UserError(f"{where}: {'there is no such file' if missing else error.strerror}") from None
    if stat.S_ISDIR(mode):
        raise UserError(f"{where}: it is a folder; give the file itself")
    if not stat.S_ISREG(mode):
        raise UserError(f"{where}: it is a pipe, socket or device; give a file, which can be read twice")
    if not os.access(path, os.R_OK):
        raise UserError(f"{where}: it may not be read; change its permissions")


def check_out(out: Path, folder: bool = False, option: str = "--out") -> None:
    """Complain of an output that cannot be written before the work is done, not after.

    Args:
        out: what will be written; folders above it are made.
        folder: whether it is a folder.
        option: what it was given with, for the message.

    Raises:
        UserError: something of another kind is there, or the place is not ours to write to.
    """
    if out.is_dir() and not folder:
        raise UserError(f"{option} {str(out)!r} is a folder; give the name of a file")
    if folder and os.path.lexists(out) and not out.is_dir():
        raise UserError(f"{option} {str(out)!r} is a file; give a folder")
    above = out.absolute().parent
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        raise UserError(f"{option} {str(out)!r}: {str(above)!r} is a file, so nothing can be put into it")
    if not os.access(above, os.W_OK):
        raise UserError(f"{option} {str(out)!r}: {str(above)!r} may not be written to; give another place")


def is_input(out: Path, media: dict[str, list[tuple[str, float]]], *more: str) -> bool:
    """Whether a file that will be written is one of the files that are read.

    Args:
        out: what will be written; it need not be there.
        media: by modality, as :func:`read_media` gives them.
        more: further paths, or ``file:`` addresses.
    """
    if not os.path.exists(out):
        return False
    paths = [*more, *(path for name, values in media.items() if name != "text" for path, _ in values)]
    here = [path_here(path, "a medium") for path in paths]
    return any(os.path.exists(path) and os.path.samefile(out, path) for path in here)


def print_json(values: Any) -> None:
    """One line of JSON, readable where it can be: a file name need not be text, but JSON must be."""
    line = json.dumps(values, ensure_ascii=False)
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        line = json.dumps(values)
    typer.echo(line)


def know_sensors(model: str) -> None:
    """Make the names of a model's own sensors known before its weights are loaded.

    Raises:
        CheckpointError: there is no such model.
        ConfigError: its configuration declares an impossible name.
    """
    from imagebind_llm.common.locate import locate_folder

    file = locate_folder(model) / "config.json"
    config: Any = read_json(file)
    for key in ("encoder_config", "sensors"):
        config = config.get(key)
        if not isinstance(config, dict):
            return  # there are none, or loading the model will say what is wrong
    for name in config:
        Modality.declare(name)


def placing(
    quantize: str | None,
    encoder_device: str | None,
    device_map: str | None,
    max_memory: str | None,
    offload_dir: str | None,
) -> dict[str, Any]:
    """The placement options as ``Assistant.from_pretrained`` takes them."""
    memory = None
    if max_memory is not None:
        from imagebind_llm.inference.loading import read_memory

        memory = read_memory(max_memory)
    return {
        "quantization": quantize,
        "encoder_device": encoder_device,
        "device_map": device_map,
        "max_memory": memory,
        "offload_folder": offload_dir,
    }


def open_assistant(
    model: str, device: str = "auto", dtype: str = "auto", cache_folder: str | None = None, **more: Any
) -> "Assistant":
    """Load a model without noise; ``more`` as ``Assistant.from_pretrained`` takes it."""
    if cache_folder is not None and not Path(cache_folder).is_dir():  # before a model is loaded for it
        raise UserError(f"no cache folder at {cache_folder!r}; build one with: imagebind-llm cache build")
    with status.loading(model):
        from imagebind_llm.inference.assistant import Assistant

        hide_progress_bars()
        cache: Any = True if cache_folder is None else cache_folder
        bot = Assistant.from_pretrained(model, device=device, dtype=dtype, cache=cache, **more)
        if cache_folder is not None:
            _ = bot.cache  # opened, and compared with the encoder, also when no question will use it
    return bot


def hide_progress_bars() -> None:
    """Silence transformers' progress bars."""
    from transformers.utils import logging

    logging.disable_progress_bar()
