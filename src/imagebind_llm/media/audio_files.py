"""Reading audio files block by block."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.audio import Blocks, channel_pair, check_rate
from imagebind_llm.media.containers import check_seconds, declared_seconds, decoded, open_container
from imagebind_llm.media.limits import Limits

_BLOCK_VALUES = 1 << 20
_UNKNOWN = 1 << 50
"""libsndfile reports more samples than this where a header leaves the number open."""


def open_blocks(stream: BinaryIO, name: str, limits: Limits) -> tuple[Blocks, int, int]:
    """A block reader over an open file, its sample rate, and its number of samples.

    Raises:
        MediaError: no audio in it, or longer than ``limits.max_seconds``.
    """
    import soundfile

    stream.seek(0)
    try:
        with soundfile.SoundFile(stream) as file:
            rate, samples, sections = file.samplerate, file.frames, file.sections
    except Exception:  # not one of libsndfile's formats, whatever it calls that
        return _open_with_ffmpeg(stream, name, limits)
    check_rate(rate, name)

    def blocks() -> Iterator[NDArray[np.float32]]:
        stream.seek(0)
        try:
            with soundfile.SoundFile(stream) as file:
                size = max(1024, _BLOCK_VALUES // file.channels)
                while len(block := file.read(size, dtype="float32", always_2d=True)):
                    yield channel_pair(block.T)
        except (RuntimeError, OSError, ValueError) as error:
            raise MediaError(
                name, f"damaged audio data ({error})", "a complete file", "copy or save it anew"
            ) from error

    if samples <= 0 or samples >= _UNKNOWN or sections > 1:
        samples = _count(blocks, rate, name, limits)
    check_seconds(samples / rate, name, limits)
    return blocks, rate, samples


def _open_with_ffmpeg(stream: BinaryIO, name: str, limits: Limits) -> tuple[Blocks, int, int]:
    with open_container(stream, name) as container:
        track = _track(container, name)
        rate = track.rate
        check_rate(rate, name)
        check_seconds(declared_seconds(container, track) or 0, name, limits)

    def blocks() -> Iterator[NDArray[np.float32]]:
        with open_container(stream, name) as container:
            for frame in decoded(container, _track(container, name), name):
                if frame.sample_rate != rate:
                    raise MediaError(
                        name,
                        f"a change from {rate} to {frame.sample_rate} Hz",
                        "one sample rate",
                        "convert it",
                    )
                yield channel_pair(_to_floats(frame))

    return blocks, rate, _count(blocks, rate, name, limits)


def _track(container: Any, name: str) -> Any:
    if not container.streams.audio:
        raise MediaError(name, "no audio track", "a recording with sound", "pass another file")
    track = container.streams.audio[0]
    if not track.codec_context or not track.rate:
        raise MediaError(name, "an audio track of unknown codec or rate", "a known codec", "convert it")
    return track


def _count(blocks: Blocks, rate: int, name: str, limits: Limits) -> int:
    """Samples there really are; containers only estimate them."""
    samples = 0
    for block in blocks():
        samples += block.shape[1]
        check_seconds(samples / rate, name, limits)
    return samples


def _to_floats(frame: Any) -> NDArray[np.float32]:
    """An FFmpeg frame as ``[channels, n]`` in -1..1."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, len(frame.layout.channels)).T
    if values.dtype == np.uint8:
        return ((values.astype(np.float32) - 128) / 128).astype(np.float32)
    if values.dtype.kind == "i":
        return (values / -float(np.iinfo(values.dtype).min)).astype(np.float32)
    return values.astype(np.float32)
