"""Opening audio and video containers with FFmpeg, without letting them reach anything else."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, BinaryIO

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.limits import Limits

_PLAYLISTS = frozenset({"hls", "dash", "concat", "concatf", "sdp", "rtsp", "image2", "imf", "lrc", "webvtt"})
"""Formats that name other files or addresses, or that are no recordings."""

_DAMAGED_PACKETS = 50
"""After so many packets that do not decode, the rest is not tried."""


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
    try:
        container = av.open(
            stream, mode="r", options={"protocol_whitelist": "none"}, metadata_errors="replace"
        )
    except Exception as error:  # FFmpeg errors, but also ValueError and others from the Python layer
        raise MediaError(
            name,
            f"not a recording that FFmpeg reads ({getattr(error, 'strerror', None) or error})",
            "an audio or video file",
            "convert it",
        ) from error
    with container:
        if _PLAYLISTS & set(container.format.name.split(",")):
            raise MediaError(name, f"a {container.format.name} file", "the recording itself", "pass that")
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


def decoded(container: Any, stream: Any, name: str) -> Iterator[Any]:
    """The frames of ``stream`` from the container's position on; single damaged packets are passed over.

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
