"""What was made → files, whole or not at all, each with metadata that say what made it."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imagebind_llm.common.errors import UserError, require
from imagebind_llm.common.files import atomic_write
from imagebind_llm.skills.generation.contract import Kind, Mesh, Pictures, Settings, Shapes, Sounds, Wish

ENDINGS: Mapping[str, Kind] = {
    ".png": "picture",
    ".gif": "picture",
    ".wav": "sound",
    ".ply": "shape",
    ".glb": "shape",
}
SOFTWARE = "imagebind-llm"
KEY = "imagebind-llm"
"""Of the JSON text in PNG's and GLB's metadata; in PLY, GIF and WAV the comment begins with it."""
_FRAME_MILLISECONDS = 120


def kind_of(out: Path) -> Kind:
    """What a file of this name holds.

    Raises:
        UserError: it has another ending.
    """
    found = ENDINGS.get(out.suffix.lower())
    if found is None:
        raise UserError(f"--out {str(out)!r} ends in {out.suffix!r}; expected {', '.join(ENDINGS)}")
    return found


def facts(about: Mapping[str, str], wish: Wish, settings: Settings, thing: int = 0) -> dict[str, Any]:
    """The metadata of one thing: what made it, of what, and how to make it again."""
    return {
        "software": SOFTWARE,
        "synthetic": True,
        **about,
        "made_of": list(wish.made_of),
        **({"description": wish.description} if wish.description else {}),
        **({"negative": wish.negative} if wish.negative else {}),
        "seed": settings.seed + thing,
        **({"steps": settings.steps} if settings.steps is not None else {}),
        **({"guidance": settings.guidance} if settings.guidance is not None else {}),
    }


def numbered(out: Path, number: int, count: int) -> Path:
    """``picture.png`` → ``picture-2.png`` for the second of several; the name itself for a single one."""
    return out if count == 1 else out.with_name(f"{out.stem}-{number + 1}{out.suffix}")


def write_pictures(out: Path, made: Pictures, about: list[dict[str, Any]]) -> list[Path]:
    """A PNG for each picture, numbered if there are several.

    Returns:
        The files.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    paths = []
    for number, (pixels, what) in enumerate(zip(made.pixels, about, strict=True)):
        notes = PngInfo()
        notes.add_text("Software", SOFTWARE)
        notes.add_itxt(KEY, _json(what))
        path = numbered(out, number, len(made))
        with atomic_write(path) as temporary:
            Image.fromarray(pixels).save(temporary, format="PNG", pnginfo=notes)
        paths.append(path)
    return paths


def write_strip(out: Path, made: Pictures, what: dict[str, Any]) -> list[Path]:
    """All pictures side by side in one PNG."""
    return write_pictures(out, Pictures(np.concatenate(list(made.pixels), axis=1)[None]), [what])


def write_animation(out: Path, made: Pictures, what: dict[str, Any]) -> list[Path]:
    """All pictures one after the other, there and back, in one GIF."""
    from PIL import Image

    frames = [Image.fromarray(pixels) for pixels in made.pixels]
    frames += frames[-2:0:-1]
    with atomic_write(out) as temporary:
        frames[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=_FRAME_MILLISECONDS,
            loop=0,
            comment=f"{KEY} {_json(what)}".encode(),
        )
    return [out]


def write_sounds(out: Path, made: Sounds, about: list[dict[str, Any]]) -> list[Path]:
    """A WAV (16 bits) for each sound, numbered if there are several."""
    import soundfile

    paths = []
    for number, (samples, what) in enumerate(zip(made.samples, about, strict=True)):
        path = numbered(out, number, len(made))
        said = {**what, "sound": made.names[number]} if made.names else what
        with atomic_write(path) as temporary:
            file = soundfile.SoundFile(
                temporary, "w", made.rate, samples.shape[0], subtype="PCM_16", format="WAV"
            )
            with file:
                file.software = SOFTWARE
                file.comment = f"{KEY} {_json(said)}"
                file.write(samples.T.clip(-1, 1))
        paths.append(path)
    return paths


def write_shapes(out: Path, made: Shapes, about: list[dict[str, Any]]) -> list[Path]:
    """A PLY or GLB for each shape, numbered if there are several.

    Raises:
        MissingExtraError: trimesh is not installed.
    """
    write = _SHAPE_WRITERS[out.suffix.lower()]
    paths = []
    for number, (mesh, what) in enumerate(zip(made.meshes, about, strict=True)):
        path = numbered(out, number, len(made))
        data = write(_trimesh(mesh), what)
        with atomic_write(path) as temporary:
            temporary.write_bytes(data)
        paths.append(path)
    return paths


def _trimesh(mesh: Mesh) -> Any:
    trimesh = require("trimesh", "generate", "writing shapes")
    return trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=mesh.colours, process=False)


def _ply(mesh: Any, what: dict[str, Any]) -> bytes:
    """Binary PLY; its second header line is a comment."""
    data: bytes = mesh.export(file_type="ply")
    first, end = data.index(b"\n") + 1, data.index(b"end_header")
    comment = f"comment {KEY} {_json(what, ascii_only=True)}\n".encode()
    head = b"".join(line for line in io.BytesIO(data[first:end]) if not line.startswith(b"comment"))
    return data[:first] + head.replace(b"\n", b"\n" + comment, 1) + data[end:]


def _glb(mesh: Any, what: dict[str, Any]) -> bytes:
    """Binary glTF; ``asset.extras`` says what made it."""

    def mark(tree: dict[str, Any]) -> None:
        tree["asset"] = {**tree["asset"], "generator": SOFTWARE, "extras": {KEY: what}}

    data: bytes = mesh.export(file_type="glb", tree_postprocessor=mark)
    return data


_SHAPE_WRITERS: Mapping[str, Callable[[Any, dict[str, Any]], bytes]] = {".ply": _ply, ".glb": _glb}


def _json(values: Mapping[str, Any], ascii_only: bool = False) -> str:
    return json.dumps(values, ensure_ascii=ascii_only)
