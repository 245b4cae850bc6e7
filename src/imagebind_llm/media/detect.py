"""What a file is: by its content first, by its suffix where the content leaves it open.

A 16-bit image with one channel counts as depth, by far the most common use of that format; thermal cameras
write it too, so pass the modality for those. An animated GIF is a video. Arrays are told apart by shape:
``[n, 3]`` points, ``[6, n]`` or ``[n, 7]`` IMU; maps and ``[n, 6]`` tables could be several things and are
refused.
"""

import os
from pathlib import Path
from typing import BinaryIO

from imagebind_llm.common.errors import MediaError, UnclearMediaError
from imagebind_llm.common.modality import Modality
from imagebind_llm.media.arrays import is_array_file, read_array
from imagebind_llm.media.containers import open_container
from imagebind_llm.media.image import read_header
from imagebind_llm.media.limits import Limits
from imagebind_llm.media.shapes import shape_kind
from imagebind_llm.media.source import name_of, open_source
from imagebind_llm.media.tables import read_table

_IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"P2", b"P3", b"P5", b"P6")
_SOUNDS = (b"fLaC", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"FORM", b".snd", b"RIFX")
_TEXTS = (".txt", ".md")
_TABLES = (".csv", ".tsv")
_CLOUDS = (".xyz", ".pts", ".obj", ".stl", ".off", ".ply", ".pcd", ".glb")
_ASK = "say which modality it is"


def guess(path: str | os.PathLike[str]) -> Modality:
    """The modality of a file.

    Raises:
        MediaError: it cannot be read, is of no known kind, or could be of several.
    """
    name, limits = name_of(path), Limits()
    suffix = Path(os.fspath(path)).suffix.lower()
    with open_source(path, limits) as stream:
        head = stream.read(4096)
        if head.startswith(_IMAGES) or (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
            return _kind_of_image(stream, name, limits)
        if head.startswith(_SOUNDS) or (head.startswith(b"RIFF") and head[8:12] == b"WAVE"):
            return Modality.AUDIO
        if is_array_file(head):
            stream.seek(0)
            return _kind_of_array(stream.read(limits.max_bytes), name, limits)
        if shape_kind(head, name) != "table" or suffix in _CLOUDS:
            return Modality.POINT
        if suffix in _TEXTS:
            return Modality.TEXT
        if suffix in _TABLES:
            stream.seek(0)
            shape = read_table(stream.read(limits.max_bytes), name, limits).shape
            return _kind_of_shape((shape[0], 7) if shape[1] == 6 else shape, name)
        try:
            with open_container(stream, name) as container:
                return _kind_of_recording(container, name)
        except MediaError as error:
            raise UnclearMediaError(
                name, "of no kind that its content or suffix tells", "image, video, audio, point, …", _ASK
            ) from error


def _kind_of_image(stream: BinaryIO, name: str, limits: Limits) -> Modality:
    stream.seek(0)
    image = read_header(stream, name, limits)
    try:
        if image.mode.startswith("I"):
            return Modality.DEPTH
        animated = image.format == "GIF" and getattr(image, "is_animated", False)
        return Modality.VIDEO if animated else Modality.IMAGE
    except Exception as error:
        raise MediaError(
            name, f"a damaged image ({error})", "a complete one", "copy or save it anew"
        ) from error


def _kind_of_array(data: bytes, name: str, limits: Limits) -> Modality:
    keys = {
        "points": Modality.POINT,
        "depth": Modality.DEPTH,
        "thermal": Modality.THERMAL,
        "imu": Modality.IMU,
    }
    if data.startswith(b"PK"):
        for key, modality in keys.items():
            if f"{key}.npy".encode() in data[:256]:
                return modality
    return _kind_of_shape(read_array(data, name, limits).shape, name)


def _kind_of_shape(shape: tuple[int, ...], name: str) -> Modality:
    if len(shape) == 2 and shape[1] == 3:
        return Modality.POINT
    if len(shape) == 2 and (shape[1] == 7 or (shape[0] == 6 and shape[1] > 7)):
        return Modality.IMU
    raise UnclearMediaError(
        name, f"numbers of shape {shape}, which could be several things", "a telling shape", _ASK
    )


def _kind_of_recording(container: object, name: str) -> Modality:
    import av

    tracks = container.streams  # type: ignore[attr-defined]
    if any(not track.disposition & av.stream.Disposition.attached_pic for track in tracks.video):
        return Modality.VIDEO
    if tracks.audio:
        return Modality.AUDIO
    raise MediaError(name, "a container without audio or video", "either", "pass another file")
