"""What a file is: by its content first, by its suffix where the content leaves it open.

A 16-bit image with one channel counts as depth, by far the most common use of that format; thermal cameras
write it too, so pass the modality for those. One of floats could be depth, thermal or a picture and is
refused. An animated GIF, PNG or AVIF is a video. Arrays are told apart by shape:
``[n, 3]`` points, ``[6, n]`` or ``[n, 7]`` IMU; maps and ``[n, 6]`` tables could be several things and are
refused.

Opening audio and video containers with FFmpeg, without letting them reach anything else.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from imagebind_llm.common.errors import MediaError, UnclearMediaError
from imagebind_llm.common.modality import Modality
from imagebind_llm.media.arrays import axes_by_name, is_array_file, read_array, read_header, read_table
from imagebind_llm.media.base import Limits, name_of, open_source
from imagebind_llm.media.budget import check_time, reading
from imagebind_llm.media.image import read_header as read_image_header
from imagebind_llm.media.imu_columns import is_time, names_sensors
from imagebind_llm.media.picture_headers import check_picture
from imagebind_llm.media.point import shape_kind
from imagebind_llm.media.stills import is_animated_webp, picture_kind

_SOUNDS = (b"fLaC", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"FORM", b".snd", b"RIFX")
_TEXTS = (".txt", ".md")
_TABLES = (".csv", ".tsv")
_CLOUDS = (".xyz", ".pts", ".obj", ".stl", ".off", ".ply", ".pcd", ".glb")
_NAMED = {
    ".png": "PNG",
    ".apng": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WebP",
    ".gif": "GIF",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
    ".heic": "HEIC",
    ".heif": "HEIF",
    ".mp4": "MP4",
    ".m4v": "MP4",
    ".m4a": "MP4",
    ".mov": "MOV",
    ".mkv": "Matroska",
    ".webm": "WebM",
    ".avi": "AVI",
    ".wav": "WAV",
    ".flac": "FLAC",
    ".ogg": "Ogg",
    ".npy": "NumPy",
    ".npz": "NumPy",
}
"""Suffixes of formats that all begin with bytes of their own, so that a file without these is damaged."""
_SIGNED = frozenset({"mov", "matroska", "avi", "flv", "ogg", "asf", "wav", "w64", "flac", "mpegts", "mpeg"})
"""FFmpeg's names for formats that it tells by such bytes. Others it recognises by chance in damaged data."""
_ASK = "say which modality it is"


def guess(source: str | os.PathLike[str] | bytes, filename: str = "") -> Modality:
    """The modality of a file.

    Args:
        source: its path, or its content.
        filename: what it is called, where ``source`` is its content; only the suffix is looked at.

    Raises:
        MediaError: it cannot be read, is of no known kind, or could be of several.
    """
    name, limits = name_of(source), Limits()
    suffix = Path(filename if isinstance(source, bytes) else os.fspath(source)).suffix.lower()
    with reading(name, limits), open_source(source, limits) as stream:
        head = stream.read(4096)
        picture = picture_kind(head)
        if picture == "HEIF":  # known without the extra that reads it
            return Modality.IMAGE
        if picture:
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
            return _kind_of_table(stream.read(limits.max_bytes), name, limits)
        label = _NAMED.get(suffix)
        try:
            with open_container(stream, name) as container:
                if label is None or _SIGNED & set(container.format.name.split(",")):
                    return _kind_of_recording(container, name)
        except MediaError as error:
            if label is None:
                raise UnclearMediaError(
                    name, "of no kind that its content or suffix tells", "image, video, audio, point, …", _ASK
                ) from error
        raise MediaError(
            name, f"damaged, or no {label} file as its name says", "a complete one", "copy or save it anew"
        )


def _kind_of_image(stream: BinaryIO, name: str, limits: Limits) -> Modality:
    stream.seek(0)
    check_picture(stream.read(), name, limits)
    stream.seek(0)
    image = read_image_header(stream, name, limits)
    try:
        if image.mode.startswith("I"):
            return Modality.DEPTH
        if image.mode == "F":
            raise UnclearMediaError(
                name, "a picture of floats: depth, thermal or grey", "one that tells", _ASK
            )
        if not getattr(image, "is_animated", False) or image.format not in _ANIMATED:
            return Modality.IMAGE
        if image.format == "WEBP":
            raise UnclearMediaError(name, _WEBP, _VIDEOS, f"{_ANOTHER} (--modality image)")
        return Modality.VIDEO
    except MediaError:
        raise
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


def _kind_of_table(data: bytes, name: str, limits: Limits) -> Modality:
    """By the names above the columns; without any, by their number."""
    header = read_header(data, name)
    shape = read_table(data, name, limits).shape
    if names_sensors(header):
        return Modality.IMU
    axes = axes_by_name(header)
    if axes is not None and len(header) == shape[1]:
        if any(is_time(cell) for cell in header):
            raise UnclearMediaError(
                name, f"columns {', '.join(header)}, which could be several things", "telling names", _ASK
            )
        return Modality.POINT
    return _kind_of_shape((shape[0], 7) if shape[1] == 6 else shape, name)


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


_ANIMATED = ("GIF", "PNG", "AVIF", "WEBP")
"""Pillow's formats whose further frames are an animation (those of TIFF and MPO are pages)."""
_WEBP = "an animated WebP, which FFmpeg does not read"
_VIDEOS = "a video, or an animated GIF, PNG or AVIF"
_ANOTHER = "convert it to MP4, or take its first frame as an image"

_PLAYLISTS = frozenset({"hls", "dash", "concat", "concatf", "sdp", "rtsp", "image2", "imf", "lrc", "webvtt"})
"""Formats that name other files or addresses, or that are no recordings."""
_STILLS = frozenset({"ico", "fits", "image2pipe"})
"""Formats of still pictures; FFmpeg's others end with ``_pipe``."""

_DAMAGED_PACKETS = 50
"""After so many packets that do not decode, the rest is not tried."""


MOST_FRAME_PIXELS = 8192 * 5120
"""Of a video, whatever the limits; 8K has 8192 × 4320."""


@contextmanager
def open_container(stream: BinaryIO, name: str) -> Iterator[Any]:
    """A PyAV input container over ``stream``, from its beginning.

    The data is handed over as a stream and all of FFmpeg's own protocols are off, so a file cannot make the
    reader open another file or an address.

    Raises:
        MediaError: FFmpeg does not recognise it.
    """
    import av

    av.logging.set_level(None)
    stream.seek(0)
    head = stream.read(256)
    picture = picture_kind(head)
    if is_animated_webp(head):
        raise MediaError(name, _WEBP, _VIDEOS, _ANOTHER)
    if picture not in (None, "read", "AVIF sequence"):
        remedy = "pass it as an image" + (" (converted to PNG)" if picture not in ("AVIF", "HEIF") else "")
        raise MediaError(name, f"a still picture ({picture})", "a recording", remedy)
    stream.seek(0)
    # opening already decodes some frames
    options = {"protocol_whitelist": "none", "max_pixels": str(MOST_FRAME_PIXELS)}
    try:
        check_time()
        container = av.open(stream, mode="r", options=options, metadata_errors="replace")
    except MediaError:
        raise
    except Exception as error:  # FFmpeg errors, but also ValueError and others from the Python layer
        raise MediaError(
            name,
            f"not a recording that FFmpeg reads ({getattr(error, 'strerror', None) or error})",
            f"an audio or video file, of at most {MOST_FRAME_PIXELS} pixels a frame",
            "convert it",
        ) from error
    with container:
        form = container.format.name
        if _PLAYLISTS & set(form.split(",")):
            raise MediaError(name, f"a {form} file", "the recording itself", "pass that")
        if form.endswith("_pipe") or form in _STILLS:
            raise MediaError(name, f"a still picture ({form})", "a recording", "pass it as an image")
        yield container


def declared_seconds(container: Any, stream: Any) -> Fraction | None:
    """The length in the stream's header, else in the container's, else None."""
    if stream.duration is not None and stream.duration > 0 and stream.time_base:
        return Fraction(stream.duration) * Fraction(stream.time_base)
    if container.duration is not None and container.duration > 0:
        return Fraction(container.duration, 1_000_000)
    return None


def check_seconds(seconds: Fraction | float, name: str, limits: Limits) -> None:
    """Refuse recordings that are too long."""
    if seconds > limits.max_seconds:
        raise MediaError(
            name,
            f"{float(seconds):.0f} s long",
            f"at most {limits.max_seconds:.0f} s",
            "cut it or raise Limits.max_seconds",
        )


def decoded(container: Any, stream: Any, name: str, key: int | None = None) -> Iterator[Any]:
    """The frames of ``stream`` from the container's position on; single damaged packets are passed over.

    With ``key``, packets are passed over up to the key frame of that time stamp, so that no frame is decoded
    without those it refers to. If it does not come, there are no frames.

    Raises:
        MediaError: the codec cannot be opened.
    """
    import av

    damaged = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, EOFError, av.FFmpegError):
            return  # a torn container ends where it is torn
        check_time()
        if key is not None:
            if not packet.is_keyframe or packet.pts is None or packet.pts < key:
                continue
            if packet.pts > key:
                return
            key = None
        try:
            frames = packet.decode()
        except (av.InvalidDataError, EOFError):
            damaged += 1
            if damaged > _DAMAGED_PACKETS:
                return
            continue
        except Exception as error:
            raise MediaError(name, f"cannot be decoded ({error})", "intact data", "convert it") from error
        yield from frames
