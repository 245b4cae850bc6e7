"""Audio: any recording → log-mel spectrograms of a few clips.

Reads WAV, FLAC, OGG and MP3 (libsndfile), and everything else that FFmpeg decodes, also the sound track of
a video, block by block. Where libsndfile stumbles, FFmpeg reads on. A file that holds much less than its
header promises is refused. Gives ``[clips, 1, mel_bins, frames]`` float32, standardised with the mean and
deviation that ImageBind's authors published for AudioSet. Any rate and number of channels. Only what the
clips cover is kept in memory.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, BinaryIO, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import as_array, check_finite
from imagebind_llm.media.audio_features import FRAME_SECONDS, log_mel, resample, resampled_length, source_span
from imagebind_llm.media.base import Limits, MediaSource, clip_spans, is_encoded, name_of, open_source
from imagebind_llm.media.budget import check_time
from imagebind_llm.media.chunks import LEAST_SHARE, check_length
from imagebind_llm.media.detect import check_seconds, declared_seconds, decoded, open_container
from imagebind_llm.media.settings import AudioSettings

RATES = (1_000, 768_000)
"""Sample rates that exist, Hz. Beyond them a header is damaged, and resampling tables would grow without
bound."""

Span = tuple[int, int]
"""First sample, and the one after the last."""
_ALL = ((0, sys.maxsize),)


class Blocks(Protocol):
    """Starts reading from the beginning."""

    def __call__(self, needed: Sequence[Span] = _ALL) -> Iterator[NDArray[np.float32]]:
        """Blocks ``[2, n]``: the channel to hear, and the mean of all channels.

        Samples outside ``needed`` may be given as zeros, without decoding them.
        """
        ...


def load_audio(source: MediaSource, settings: AudioSettings, limits: Limits | None = None) -> torch.Tensor:
    """``[clips, 1, mel_bins, frames]`` of a path, bytes, a waveform ``[C, n]`` or ``[n]`` at the encoder's
    rate, or one at another: ``{"array": …, "sampling_rate": …}``.

    Raises:
        MediaError: not readable as audio, longer than ``limits.max_seconds``, shorter than one 25 ms frame.
    """
    limits = limits or Limits()
    name = name_of(source)
    if not is_encoded(source):
        wave, rate = rated(source, settings.sample_rate, name, limits)
        return waveform_to_tensor(wave, rate, settings, name)
    with open_source(source, limits) as stream:
        blocks, rate, samples = open_blocks(stream, name, limits)
        check_rate(rate, name)
        return _assemble(blocks, rate, samples, settings, name)


def rated(source: Any, rate: int, name: str, limits: Limits) -> tuple[NDArray[Any], int]:
    """A waveform in memory and its sample rate in Hz, of an array at ``rate`` or of ``{"array": …,
    "sampling_rate": …}``.

    Raises:
        MediaError: it does not hold real numbers, another mapping, a rate that cannot be meant, or longer
            than ``limits.max_seconds``.
    """
    if isinstance(source, Mapping):
        if not {"array", "sampling_rate"} <= source.keys():
            raise MediaError(
                name,
                f"a mapping with {', '.join(map(str, source))}",
                "'array' and 'sampling_rate'",
                "pass these",
            )
        source, rate = source["array"], source["sampling_rate"]
        check_rate(rate, name)
    values = as_array(source, name)
    if values.ndim:
        check_seconds(values.shape[-1] / rate, name, limits)
    return values, int(rate)


def waveform_to_tensor(
    wave: NDArray[np.floating] | torch.Tensor, rate: int, settings: AudioSettings, name: str = "waveform"
) -> torch.Tensor:
    """``[clips, 1, mel_bins, frames]`` of a waveform.

    Args:
        wave: ``[C, n]`` or ``[n]``, floats in -1..1 (integers are scaled by their range).
        rate: its sample rate, Hz.
        settings: what the encoder expects.
        name: how an error calls it.
    """
    check_rate(rate, name)
    values = _channels(as_array(wave, name), name)

    def blocks(needed: Sequence[Span] = ()) -> Iterator[NDArray[np.float32]]:
        size = max(1024, _BLOCK_VALUES // len(values))
        for start in range(0, values.shape[1], size):
            yield channel_pair(_scaled(values[:, start : start + size]))

    return _assemble(blocks, int(rate), values.shape[1], settings, name)


def as_waveform(values: NDArray[Any], name: str) -> NDArray[np.float32]:
    """``[C, n]`` float32 of samples ``[C, n]`` or ``[n]``; integers are scaled by their range."""
    return _scaled(_channels(values, name))


def _channels(values: NDArray[Any], name: str) -> NDArray[Any]:
    if values.ndim == 1:
        values = values[None]
    if values.ndim != 2 or values.shape[0] == 0 or values.shape[0] > 64:
        raise MediaError(
            name, f"an array of shape {values.shape}", "[channels, samples]", "transpose or split it"
        )
    return values


def _scaled(values: NDArray[Any]) -> NDArray[np.float32]:
    """Floats as they are, whole numbers as a share of their range."""
    if values.dtype.kind in "iu":
        limit = np.iinfo(values.dtype)
        centre = 0.0 if values.dtype.kind == "i" else (limit.max + 1) / 2
        values = (values - centre) / (limit.max + 1 - centre)
    return values.astype(np.float32)


def channel_pair(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """``[C, n]`` as ``[2, n]``: the first channel, and the mean of all (ImageBind subtracts the latter's
    mean)."""
    mean = wave[0] if len(wave) == 1 else wave.mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.stack([wave[0], mean])


def check_rate(rate: int, name: str) -> None:
    """Refuse sample rates that cannot be meant, and what is no whole number."""
    known = isinstance(rate, Real) and not isinstance(rate, bool)
    if not known or not RATES[0] <= rate <= RATES[1] or int(rate) != rate:
        found = f"{rate:g} Hz" if known and abs(rate) < 1e18 else f"a {type(rate).__name__}"
        raise MediaError(
            name, f"a sample rate of {found}", f"{RATES[0]} to {RATES[1]} Hz, a whole number", "check it"
        )


def _assemble(blocks: Blocks, rate: int, samples: int, settings: AudioSettings, name: str) -> torch.Tensor:
    """Cut, resample and transform the clips of a recording of ``samples`` samples, equal ones once."""
    while True:
        if samples < rate * FRAME_SECONDS:
            raise MediaError(
                name,
                f"{samples} samples at {rate} Hz ({samples / rate:.3f} s)",
                f"{FRAME_SECONDS} s",
                "record longer",
            )
        total = resampled_length(samples, rate, settings.sample_rate)
        spans = [
            (int(start * settings.sample_rate), min(int(end * settings.sample_rate), total))
            for start, end in clip_spans(total / settings.sample_rate, settings.clip_seconds, settings.clips)
        ]
        different = list(dict.fromkeys(spans))  # a recording shorter than a clip is one clip several times
        needed = [source_span(first, last, rate, settings.sample_rate) for first, last in different]
        parts, seen = _collect(blocks(needed), needed, samples)
        if seen >= samples:
            break
        samples = seen  # the header promised more than the file holds
    clips = []
    for (first, last), (begin, _), part in zip(different, needed, parts, strict=True):
        check_finite(part, name, "sample")
        clips.append(
            np.stack([resample(row, rate, settings.sample_rate, first, last, max(begin, 0)) for row in part])
        )
    _remove_means(clips, different)
    heard = 1 if settings.downmix else 0
    grids = [_spectrogram(clip[heard], settings) for clip in clips]
    return torch.from_numpy(np.stack([grids[different.index(span)] for span in spans]))


def _collect(
    blocks: Iterator[NDArray[np.float32]], needed: list[tuple[int, int]], samples: int
) -> tuple[list[NDArray[np.float32]], int]:
    """The parts ``needed`` of the first ``samples`` samples of a stream, and how many samples there were."""
    clipped = [(max(begin, 0), min(end, samples)) for begin, end in needed]
    parts = [np.zeros((2, max(end - begin, 0)), np.float32) for begin, end in clipped]
    position = 0
    for block in blocks:
        for (begin, end), part in zip(clipped, parts, strict=True):
            low, high = max(begin, position), min(end, position + block.shape[1])
            if low < high:
                part[:, low - begin : high - begin] = block[:, low - position : high - position]
        position += block.shape[1]
        if position >= samples:
            break
    return parts, position


def _remove_means(clips: list[NDArray[np.float32]], spans: list[tuple[int, int]]) -> None:
    """Subtract each clip's mean (over all channels) in turn, also from later clips where they overlap it.

    The reference does it in place on views of one waveform. The steps this leaves inside overlapping clips
    show in the frames across them, so they are part of what the encoder was evaluated with. Equal clips come
    once: what the reference subtracts from their repetitions is rounding.
    """
    for number, (clip, (first, last)) in enumerate(zip(clips, spans, strict=True)):
        mean = clip[1].mean(dtype=np.float64).astype(np.float32)
        for other, (start, end) in zip(clips[number:], spans[number:], strict=True):
            low, high = max(first, start), min(last, end)
            if low < high:
                other[:, low - start : high - start] -= mean


def _spectrogram(wave: NDArray[np.float32], settings: AudioSettings) -> NDArray[np.float32]:
    """``[1, mel_bins, target_frames]`` of one clip at the encoder's rate."""
    energies = log_mel(wave, settings.sample_rate, settings.mel_bins, settings.low_hz, settings.upper_hz)
    padded = np.zeros((settings.target_frames, settings.mel_bins), np.float32)
    padded[: len(energies)] = energies[: settings.target_frames]
    return np.ascontiguousarray(((padded - settings.mean) / settings.std).T[None], dtype=np.float32)


_BLOCK_VALUES = 1 << 20
_UNKNOWN = 1 << 50
"""libsndfile reports more samples than this where a header leaves the number open."""
_TOLD = frozenset({"mov", "flac", "caf", "tta", "ape", "wv"})
"""FFmpeg's names for formats whose header tells the length of the sound; for others FFmpeg estimates it."""
_SEEKABLE = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC"})
_EXACT = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"})
"""libsndfile's formats and encodings in which each sample is found and decoded without those before it."""


def _reaches(stream: BinaryIO, sample: int) -> bool:
    """Whether a file of such a format really holds a sample."""
    import soundfile

    stream.seek(0)
    try:
        with soundfile.SoundFile(stream) as file:
            file.seek(sample)
            return len(file.read(1, dtype="float32", always_2d=True)) == 1
    except (RuntimeError, OSError, ValueError):
        return False


def open_blocks(stream: BinaryIO, name: str, limits: Limits) -> tuple[Blocks, int, int]:
    """A block reader over an open file, its sample rate, and its number of samples.

    Raises:
        MediaError: no audio in it, or longer than ``limits.max_seconds``.
    """
    import soundfile

    open_end = check_length(stream, name)
    stream.seek(0)
    try:
        with soundfile.SoundFile(stream) as file:
            rate, samples, sections = file.samplerate, file.frames, file.sections
            estimated = file.format == "MP3" and not _has_frame_count(stream)
            subtype = file.subtype if file.format in _SEEKABLE else ""
    except Exception:  # not one of libsndfile's formats, whatever it calls that
        return _open_with_ffmpeg(stream, name, limits)
    if open_end and samples <= 0:
        return _open_with_ffmpeg(stream, name, limits)
    check_rate(rate, name)

    known = 0 < samples < _UNKNOWN and sections == 1 and not estimated
    skips = known and subtype in _EXACT and _reaches(stream, samples - 1)

    def blocks(needed: Sequence[Span] = _ALL) -> Iterator[NDArray[np.float32]]:
        stream.seek(0)
        position = 0
        try:
            with soundfile.SoundFile(stream) as file:
                size = max(1024, _BLOCK_VALUES // file.channels)
                while True:
                    check_time()
                    following = min((first for first, last in needed if last > position), default=samples)
                    if skips and following > position + size:
                        file.seek(following)
                        yield _silence(following - position)
                        position = following
                    block = file.read(size, dtype="float32", always_2d=True)
                    if not len(block):
                        return
                    position += len(block)
                    yield channel_pair(block.T)
        except (RuntimeError, OSError, ValueError) as error:
            yield from _after(_ffmpeg_blocks(stream, name, rate, needed), position, name, error)

    if not known:
        samples = _count((block.shape[1] for block in blocks()), rate, name, limits)
    check_seconds(samples / rate, name, limits)
    return _whole(blocks, samples, rate, name), rate, samples


def _has_frame_count(stream: BinaryIO) -> bool:
    """Whether an MP3 says how many frames it has (Xing, Info or VBRI header in its first frame)."""
    stream.seek(0)
    head = stream.read(10)
    sizes = head[6:10] if head.startswith(b"ID3") else b"\0\0\0\0"
    tag = sum((byte & 127) << 7 * (3 - place) for place, byte in enumerate(sizes))
    stream.seek(tag)
    frame = stream.read(8192)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))


def _after(
    blocks: Iterator[NDArray[np.float32]], done: int, name: str, reason: Exception
) -> Iterator[NDArray[np.float32]]:
    """What follows the first ``done`` samples.

    Raises:
        MediaError: these cannot be read either.
    """
    position = 0
    try:
        for block in blocks:
            position += block.shape[1]
            if position > done:
                yield block[:, max(0, block.shape[1] - (position - done)) :]
    except MediaError as error:
        raise MediaError(
            name, f"damaged audio data ({reason})", "a complete file", "copy or save it anew"
        ) from error


def _whole(blocks: Blocks, samples: int, rate: int, name: str) -> Blocks:
    """The same blocks; too few of them are an error."""

    def checked(needed: Sequence[Span] = _ALL) -> Iterator[NDArray[np.float32]]:
        found = 0
        for block in blocks(needed):
            found += block.shape[1]
            yield block
        if found < LEAST_SHARE * samples:
            raise MediaError(
                name,
                f"{found / rate:.1f} s of sound where its header says {samples / rate:.1f}",
                f"at least {LEAST_SHARE:.0%} of them",
                "copy it anew, or save what is left as a new file",
            )

    return checked


def _open_with_ffmpeg(stream: BinaryIO, name: str, limits: Limits) -> tuple[Blocks, int, int]:
    with open_container(stream, name) as container:
        track = _track(container, name)
        rate = track.rate
        check_rate(rate, name)
        declared = declared_seconds(container, track) or 0
        check_seconds(declared, name, limits)
        told = bool(track.duration) and bool(_TOLD & set(container.format.name.split(",")))

    def blocks(needed: Sequence[Span] = _ALL) -> Iterator[NDArray[np.float32]]:
        return _ffmpeg_blocks(stream, name, rate, needed)

    samples = _count((frame.samples for frame in _ffmpeg_frames(stream, name, rate)), rate, name, limits)
    if told and samples < LEAST_SHARE * declared * rate:
        samples = int(declared * rate)  # torn: reading it to the end says so
    return _whole(blocks, samples, rate, name), rate, samples


def _ffmpeg_blocks(
    stream: BinaryIO, name: str, rate: int, needed: Sequence[Span]
) -> Iterator[NDArray[np.float32]]:
    position = 0
    for frame in _ffmpeg_frames(stream, name, rate):
        wanted = any(first < position + frame.samples and last > position for first, last in needed)
        yield channel_pair(_to_floats(frame)) if wanted else _silence(frame.samples)
        position += frame.samples


def _ffmpeg_frames(stream: BinaryIO, name: str, rate: int) -> Iterator[Any]:
    with open_container(stream, name) as container:
        for frame in decoded(container, _track(container, name), name):
            if frame.sample_rate != rate:
                raise MediaError(
                    name, f"a change from {rate} to {frame.sample_rate} Hz", "one sample rate", "convert it"
                )
            yield frame


def _silence(samples: int) -> NDArray[np.float32]:
    """Zeros ``[2, samples]`` that take no memory."""
    return np.broadcast_to(np.float32(0), (2, samples))


def _track(container: Any, name: str) -> Any:
    if not container.streams.audio:
        raise MediaError(name, "no audio track", "a recording with sound", "pass another file")
    track = container.streams.audio[0]
    if not track.codec_context or not track.rate:
        raise MediaError(name, "an audio track of unknown codec or rate", "a known codec", "convert it")
    if track.codec_context.name == "flac":  # a frame whose checksum is wrong is left out, not heard as noise
        track.codec_context.options = {"err_detect": "crccheck+explode"}
    return track


def _count(lengths: Iterable[int], rate: int, name: str, limits: Limits) -> int:
    """Samples there really are; containers only estimate them."""
    samples = 0
    for length in lengths:
        samples += length
        check_seconds(samples / rate, name, limits)
    return samples


def _to_floats(frame: Any) -> NDArray[np.float32]:
    """An FFmpeg frame as ``[channels, n]`` in -1..1."""
    if frame.format.name in ("s64", "s64p"):  # PyAV has no arrays of these
        rows = [np.frombuffer(plane, np.int64) for plane in frame.planes]
        count = frame.samples * (1 if frame.format.is_planar else len(frame.layout.channels))
        values = np.stack([row[:count] for row in rows])
    else:
        values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, len(frame.layout.channels)).T
    if values.dtype == np.uint8:
        return ((values.astype(np.float32) - 128) / 128).astype(np.float32)
    if values.dtype.kind == "i":
        return (values / -float(np.iinfo(values.dtype).min)).astype(np.float32)
    return values.astype(np.float32)
