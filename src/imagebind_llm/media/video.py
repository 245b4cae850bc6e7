"""Video: anything FFmpeg decodes → ``[clips · crops, 3, frames_per_clip, size, size]`` float32.

Clips are spread over the whole length (the last ends at the end). Of each clip's frames, evenly spaced ones
from the first to the last are kept. Frames are scaled bilinearly without antialias (short side),
standardised like images and cropped at both ends and the centre of the longer side. Entries are clip-major.
Audio is ignored.

Every call opens its own container, so loading from several threads is safe. Only the frames that are kept
are held in memory.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from fractions import Fraction
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import as_array
from imagebind_llm.media.base import Limits, MediaSource, clip_spans, is_encoded, name_of, open_source
from imagebind_llm.media.detect import check_seconds, declared_seconds, decoded, open_container
from imagebind_llm.media.image import central_aspect, check_pixels
from imagebind_llm.media.settings import VideoSettings


class VideoReader:
    """The first video stream of a file.

    ``times``: when each frame is shown, seconds from the stream's start, rising (read from packet headers,
    nothing is decoded for it). ``duration``: seconds, from the stream's header if it has one.

    Frames are decoded from the key frame before them. If that does not lead to the frame with the right
    time stamp (damaged or unindexed files), decoding starts over from the beginning, once, and takes the
    nearest frame.

    Raises:
        MediaError: no video stream, too long, frames too large, nothing decodable.
    """

    def __init__(self, stream: BinaryIO, name: str, limits: Limits) -> None:
        self._stream, self._name, self._limits = stream, name, limits
        self._open = ExitStack()
        self._decoded = 0
        self._can_seek = True
        self._keys: list[int] = []
        with open_container(stream, name) as container:
            track = self._track(container)
            self._unit = Fraction(track.time_base) if track.time_base else Fraction(1, 1000)
            duration = declared_seconds(container, track)
            check_seconds(duration or 0, name, limits)
            self._stamps = self._scan(container, track)
            start = track.start_time if track.start_time is not None else None
        if not self._stamps:
            self._can_seek = False
            self._stamps = self._scan_decoded()
        if not self._stamps:
            raise MediaError(name, "no video frame that can be decoded", "an intact video", "convert it")
        start = self._stamps[0] if start is None or start > self._stamps[0] else start
        self.times: Sequence[Fraction] = [self._unit * (stamp - start) for stamp in self._stamps]
        mean_step = self.times[-1] / max(len(self.times) - 1, 1)
        self.duration = duration if duration is not None else self.times[-1] + mean_step
        check_seconds(self.duration, name, limits)

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def frames(self, numbers: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Number and RGB pixels ``[H, W, 3]`` of each of ``numbers`` (rising), upright."""
        frames: Iterator[Any] | None = None
        current = None
        for number in numbers:
            target = self._stamps[number]
            key = self._key_before(target) if self._can_seek else None
            if frames is None or (key is not None and current is not None and key > current.pts):
                frames, current = self._from(key), None
            current = self._advance(frames, current, target)
            if self._can_seek and (current is None or current.pts != target):
                self._can_seek = False
                frames = self._from(None)
                current = self._advance(frames, None, target)
            if current is None:
                raise MediaError(
                    self._name, "no video frame that can be decoded", "an intact video", "convert it"
                )
            yield number, self._pixels(current)

    def _track(self, container: Any) -> Any:
        """The first stream that is a video (not a cover picture), its codec told the pixel limit."""
        import av

        tracks = [
            track
            for track in container.streams.video
            if not track.disposition & av.stream.Disposition.attached_pic
        ]
        if container.metadata.get("major_brand") == "avis":  # its still picture is listed as a track too
            tracks = [track for track in tracks if track.duration]
        if not tracks or not tracks[0].codec_context:
            raise MediaError(self._name, "no video track of a known codec", "a video", "pass another file")
        check_pixels(
            (tracks[0].codec_context.width, tracks[0].codec_context.height), self._name, self._limits
        )
        with suppress(Exception):  # a codec without this option still has its frames checked one by one
            tracks[0].codec_context.options = {"max_pixels": str(self._limits.max_pixels)}
        return tracks[0]

    def _scan(self, container: Any, track: Any) -> list[int]:
        """Time stamps of all frames from packet headers, or none if some packets have none."""
        import av

        stamps: set[int] = set()
        with suppress(EOFError, av.FFmpegError):
            for packet in container.demux(track):
                if packet.size == 0 or packet.is_discard:
                    continue
                if packet.pts is None:
                    return []
                stamps.add(packet.pts)
                if packet.is_keyframe:
                    self._keys.append(packet.pts)
        self._keys.sort()
        return sorted(stamps)

    def _scan_decoded(self) -> list[int]:
        """Time stamps by decoding everything, for files that do not index their frames."""
        stamps = sorted({frame.pts for frame in self._from(None)})
        self._decoded = 0
        return stamps

    def _key_before(self, target: int) -> int | None:
        place = bisect_right(self._keys, target)
        return self._keys[place - 1] if place else None

    def _from(self, key: int | None) -> Iterator[Any]:
        """Frames from the key frame at ``key``, or from the beginning, out of a container of its own."""
        import av

        self._open.close()
        container = self._open.enter_context(open_container(self._stream, self._name))
        track = self._track(container)
        if key is not None and key > self._stamps[0]:
            try:
                container.seek(key, stream=track, backward=True)
            except (av.FFmpegError, OSError, OverflowError):
                container = self._open.enter_context(open_container(self._stream, self._name))
                track = self._track(container)
        for index, frame in enumerate(decoded(container, track, self._name)):
            self._decoded += 1
            if self._decoded > self._limits.max_frames:
                raise MediaError(
                    self._name,
                    f"more than {self._limits.max_frames} frames to decode",
                    "fewer",
                    "shorten it or raise Limits.max_frames",
                )
            if frame.pts is None:
                frame.pts = index
            yield frame

    @staticmethod
    def _advance(frames: Iterator[Any], current: Any, target: int) -> Any:
        """The first frame at or after ``target``, else the last one there is."""
        while current is None or current.pts < target:
            following = next(frames, None)
            if following is None:
                return current
            current = following
        return current

    def _pixels(self, frame: Any) -> NDArray[np.uint8]:
        check_pixels((frame.width, frame.height), self._name, self._limits)
        try:
            pixels = frame.to_ndarray(format="rgb24")
            turns = round(frame.rotation / 90)
        except Exception as error:  # exotic pixel formats
            raise MediaError(
                self._name, f"a frame that cannot be shown ({error})", "RGB", "convert it"
            ) from error
        return np.ascontiguousarray(np.rot90(pixels, turns % 4))


def load_video(source: MediaSource, settings: VideoSettings, limits: Limits | None = None) -> Tensor:
    """``[clips · crops, 3, frames_per_clip, size, size]`` of a path, bytes, or frames ``[N, H, W, 3]``
    (uint8).

    Raises:
        MediaError: no video stream, damaged beyond use, or over one of ``limits``.
    """
    limits = limits or Limits()
    name = name_of(source)
    if not is_encoded(source):
        return _from_array(source, settings, limits, name)
    with open_source(source, limits) as stream, VideoReader(stream, name, limits) as video:
        wanted = select_frames(video.times, video.duration, settings)
        frames = {
            number: prepare_frame(pixels, settings)
            for number, pixels in video.frames(sorted({n for clip in wanted for n in clip}))
        }
    return _assemble([[frames[number] for number in clip] for clip in wanted], settings)


def frames_to_tensor(
    frames: NDArray[np.uint8] | Tensor, settings: VideoSettings, name: str = "frames"
) -> Tensor:
    """``[clips · crops, 3, T, size, size]`` of frames already chosen, ``[clips, T, H, W, 3]`` bytes."""
    values = as_array(frames, name)
    if values.ndim != 5 or values.shape[-1] != 3 or 0 in values.shape or values.dtype != np.uint8:
        raise MediaError(
            name,
            f"an array of shape {values.shape} and type {values.dtype}",
            "[clips, frames, H, W, 3] uint8",
            "convert it",
        )
    return _assemble([[prepare_frame(frame, settings) for frame in clip] for clip in values], settings)


def select_frames(times: Sequence[Fraction], duration: Fraction, settings: VideoSettings) -> list[list[int]]:
    """For each clip the numbers of the frames to keep, out of frames shown at ``times`` (seconds, rising).

    A clip that falls in a gap without frames gets the one nearest to its start.
    """
    chosen = []
    for start, end in clip_spans(duration, settings.clip_seconds, settings.clips):
        first, last = bisect_left(times, start), bisect_left(times, end)
        if first == last:
            first = min(
                range(max(first - 1, 0), min(first + 1, len(times))), key=lambda n: abs(times[n] - start)
            )
            last = first + 1
        chosen.append([first + place for place in _evenly(last - first, settings.frames_per_clip)])
    return chosen


def prepare_frame(pixels: NDArray[np.uint8], settings: VideoSettings) -> Tensor:
    """A frame ``[H, W, 3]`` as ``[3, h, w]`` float32: scaled to 0..1 and the short side to ``size``,
    standardised."""
    top, left, height, width = central_aspect(*pixels.shape[:2])
    pixels = pixels[top : top + height, left : left + width]
    values = torch.tensor(np.ascontiguousarray(pixels)).permute(2, 0, 1).float().div_(255)
    short = min(height, width)
    target = (settings.size * height // short, settings.size * width // short)
    if target != (height, width):
        values = torch.nn.functional.interpolate(
            values[None], size=target, mode="bilinear", align_corners=False
        )[0]
    mean, std = torch.tensor(settings.mean)[:, None, None], torch.tensor(settings.std)[:, None, None]
    return (values - mean) / std


def _assemble(clips: list[list[Tensor]], settings: VideoSettings) -> Tensor:
    """Clips of prepared frames, cropped and stacked, clip-major."""
    entries = []
    for clip in clips:
        stacked = torch.stack(clip, dim=1)  # [3, T, h, w]
        height, width = stacked.shape[2:]
        for top, left in _corners(height, width, settings):
            entries.append(stacked[:, :, top : top + settings.size, left : left + settings.size])
    return torch.stack(entries).contiguous()


def _corners(height: int, width: int, settings: VideoSettings) -> list[tuple[int, int]]:
    size = settings.size
    if settings.crops == 1:
        return [(-((size - height) // 2), -((size - width) // 2))]
    along = max(height, width) - size
    offsets = (0, -(-along // 2), along)
    return [(0, offset) if width >= height else (offset, 0) for offset in offsets]


def _evenly(count: int, wanted: int) -> list[int]:
    """``wanted`` positions from the first to the last of ``count``, truncated to whole numbers."""
    if wanted == 1:
        return [(count - 1) // 2]
    return torch.linspace(0, count - 1, wanted).long().clamp(0, count - 1).tolist()


def frames_of_array(source: object, limits: Limits, name: str) -> np.ndarray:
    """Frames ``[N, H, W, 3]`` uint8 given as an array.

    Raises:
        MediaError: another shape or type, or more pixels than ``limits`` allow.
    """
    values = as_array(source, name)
    if values.ndim != 4 or values.shape[-1] != 3 or 0 in values.shape or values.dtype != np.uint8:
        raise MediaError(
            name,
            f"an array of shape {values.shape} and type {values.dtype}",
            "frames [N, H, W, 3] uint8",
            "convert it",
        )
    check_pixels((values.shape[2], values.shape[1]), name, limits)
    return values


def _from_array(source: object, settings: VideoSettings, limits: Limits, name: str) -> Tensor:
    values = frames_of_array(source, limits, name)
    step = 1 / Fraction(settings.array_fps)
    times = [step * number for number in range(len(values))]
    wanted = select_frames(times, step * len(values), settings)
    prepared = {
        number: prepare_frame(values[number], settings) for number in {n for clip in wanted for n in clip}
    }
    return _assemble([[prepared[number] for number in clip] for clip in wanted], settings)
