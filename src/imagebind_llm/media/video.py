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
from itertools import pairwise
from types import TracebackType
from typing import Any, BinaryIO, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import as_array
from imagebind_llm.media.base import Limits, MediaSource, clip_spans, is_encoded, name_of, open_source
from imagebind_llm.media.budget import check_time, reserve
from imagebind_llm.media.chunks import LEAST_SHARE
from imagebind_llm.media.detect import (
    MOST_FRAME_PIXELS,
    check_seconds,
    declared_seconds,
    decoded,
    open_container,
)
from imagebind_llm.media.image import central_aspect, check_pixels
from imagebind_llm.media.settings import VideoSettings
from imagebind_llm.media.turning import upright

_BARE = frozenset(
    {"h264", "hevc", "vvc", "evc", "mpegvideo", "m4v", "mjpeg", "mjpeg_2000", "h263", "h261", "cavsvideo"}
    | {"avs2", "avs3", "dirac", "vc1", "obu", "dnxhd", "ingenient"}
)
"""FFmpeg's names for bare streams: they hold no time stamps, and what FFmpeg puts there is a guess."""
_ESTIMATED = _BARE | {"mpeg", "mpegts"}
"""Formats without a length in their header; FFmpeg estimates it from the bit rate."""
_RATE = 25
"""Frames a second of a bare stream that does not say; FFmpeg takes the same."""

_KEPT_PIXELS = 178_257_920
"""Of the frames that others may refer to, at most 16: the highest level of H.264 (6.2) allows so many."""
_RGB_BYTES = 10
"""A pixel as RGB from FFmpeg (3), in an array (3), and one channel of it as floats (4)."""


class _Times(Sequence[Fraction]):
    """Seconds of time stamps, worked out when they are asked for."""

    def __init__(self, stamps: Sequence[int], start: int, unit: Fraction) -> None:
        self._stamps, self._start, self._unit = stamps, start, unit

    def __len__(self) -> int:
        return len(self._stamps)

    @overload
    def __getitem__(self, number: int) -> Fraction: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Fraction]: ...
    def __getitem__(self, number: int | slice) -> Fraction | Sequence[Fraction]:
        if isinstance(number, slice):
            return _Times(self._stamps[number], self._start, self._unit)
        return self._unit * (self._stamps[number] - self._start)


class VideoReader:
    """The first video stream of a file.

    ``times``: when each frame is shown, seconds from the stream's start, rising. They are read from packet
    headers, nothing is decoded for it. Where these are missing, or belong to another order than the frames',
    everything is decoded once and the frames are counted. ``duration``: seconds, from the stream's header if
    it has one.

    Frames are decoded from the key frame before them. If that does not lead to an undamaged frame with the
    right time stamp, decoding starts over from the beginning, once, and takes the nearest undamaged frame.

    Raises:
        MediaError: no video stream, too long, frames too large, nothing decodable.
    """

    def __init__(self, stream: BinaryIO, name: str, limits: Limits) -> None:
        self._stream, self._name, self._limits = stream, name, limits
        self._open = ExitStack()
        self._decoded = 0
        self._can_seek = True
        self._keys: list[tuple[int, int]] = []
        self._shown = 0
        with open_container(stream, name) as container:
            track = self._track(container)
            form = container.format.name
            unit = Fraction(track.time_base) if track.time_base else Fraction(1, 1000)
            rate = Fraction(track.guessed_rate or track.average_rate or _RATE)
            duration = None if form in _ESTIMATED else declared_seconds(container, track)
            check_seconds(duration or 0, name, limits)
            self._stamps = [] if form in _BARE else self._scan(container, track)
            start = track.start_time
            if "mov" in form.split(",") and track.duration and 0 < self._shown < LEAST_SHARE * track.duration:
                raise MediaError(
                    name,
                    f"{float(unit * self._shown):.1f} s where its header says {float(duration or 0):.1f}",
                    f"at least {LEAST_SHARE:.0%} of them",
                    "copy it anew, or save what is left as a new file",
                )
        self.times: Sequence[Fraction]
        self._counted = not self._stamps
        if self._counted:
            self._can_seek = False
            self.times = self._count(None if form in _BARE else unit, rate)
            self._stamps = list(range(len(self.times)))
        else:
            first = self._stamps[0] if start is None else min(start, self._stamps[0])
            self.times = _Times(self._stamps, first, unit)
        if not self._stamps:
            raise MediaError(name, "no video frame that can be decoded", "an intact video", "convert it")
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
        frames: Iterator[tuple[int, Any]] = iter(())
        current: tuple[int, Any] | None = None
        for number in numbers:
            target = self._stamps[number]
            key = self._key_before(target) if self._can_seek else None
            if current is None or (key is not None and key[0] > current[0]):
                frames, current = self._reach(target, key)
            else:
                current = self._advance(frames, current, target)
                if self._can_seek and current[0] != target:
                    frames, current = self._reach(target, key)
            yield number, self._pixels(current[1])

    def _reach(
        self, target: int, key: tuple[int, int] | None
    ) -> tuple[Iterator[tuple[int, Any]], tuple[int, Any]]:
        """The frame at ``target``, and those after it: from the key frame before, else from the beginning."""
        import av

        if key is not None:
            frames = self._from(key)
            first = next((item for item in frames if item[0] >= key[0]), None)
            intra = first is not None and first[1].pict_type == av.video.frame.PictureType.I
            if first is not None and first[0] == key[0] and intra:
                current = self._advance(frames, first, target)
                if current[0] == target:
                    return frames, current
            self._can_seek = False
        frames = self._from(None)
        first = next(frames, None)
        if first is None:
            raise MediaError(
                self._name, "no video frame that can be decoded", "an intact video", "convert it"
            )
        return frames, self._advance(frames, first, target)

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
        size = (tracks[0].codec_context.width, tracks[0].codec_context.height)
        if 0 in size:
            raise MediaError(
                self._name,
                f"frames of no size, or of over {MOST_FRAME_PIXELS} pixels",
                f"1 to {MOST_FRAME_PIXELS}",
                "scale it down",
            )
        check_pixels(size, self._name, self._limits)
        self._reserve(tracks[0].codec_context)
        with suppress(Exception):  # a codec without this option still has its frames checked one by one
            tracks[0].codec_context.options = {"max_pixels": str(self._limits.max_pixels)}
        return tracks[0]

    def _reserve(self, codec: Any) -> None:
        """Make room for the frames that a decoder keeps, and for one as RGB and as floats."""
        pixels = codec.width * codec.height
        layout = codec.format
        each = 4.0
        if layout is not None:
            planes = [plane.width * plane.height * -(-plane.bits // 8) for plane in layout.components]
            each = sum(planes) / max(layout.width * layout.height, 1)
        kept = 2 if codec.codec.intra_only else min(max(_KEPT_PIXELS // max(pixels, 1), 5), 16) + 1
        reserve(int(pixels * (kept * each + _RGB_BYTES)), self._name, self._limits)

    def _scan(self, container: Any, track: Any) -> list[int]:
        """Time stamps of all frames from packet headers, or none if these cannot be theirs."""
        import av

        stamps: set[int] = set()
        ahead: set[int] = set()
        end = 0
        with suppress(EOFError, av.FFmpegError):
            for packet in container.demux(track):
                check_time()
                if packet.size == 0 or packet.is_discard:
                    continue
                if packet.pts is None:
                    return []
                stamps.add(packet.pts)
                end = max(end, packet.pts + (packet.duration or 0))
                decoded_at = packet.pts if packet.dts is None else packet.dts
                ahead.add(packet.pts - decoded_at)
                if packet.is_keyframe:
                    self._keys.append((packet.pts, decoded_at))
        self._shown = end - min(stamps, default=end)
        if track.codec_context.has_b_frames and len(ahead) < 2:
            return []  # guessed from the order of decoding, as for AVI; frames are shown in another
        self._keys.sort()
        return sorted(stamps)

    def _count(self, unit: Fraction | None, rate: Fraction) -> list[Fraction]:
        """When each frame is shown, by decoding everything: by the frames' own time stamps (in ``unit``) if
        they rise, else so many a second as ``rate`` says."""
        stamps = [frame.pts for _, frame in self._from(None)]
        self._decoded = 0
        own = unit is not None and None not in stamps and all(a < b for a, b in pairwise(stamps))
        if own and unit is not None:
            return [unit * (stamp - stamps[0]) for stamp in stamps]
        return [number / rate for number in range(len(stamps))]

    def _key_before(self, target: int) -> tuple[int, int] | None:
        """Time stamps of showing and decoding of the last key frame up to ``target``."""
        place = bisect_right(self._keys, target, key=lambda key: key[0])
        return self._keys[place - 1] if place else None

    def _from(self, key: tuple[int, int] | None) -> Iterator[tuple[int, Any]]:
        """Stamp and frame, from the key frame ``key`` or from the beginning, out of a container of its own;
        damaged frames are left out."""
        import av

        self._open.close()
        container = self._open.enter_context(open_container(self._stream, self._name))
        track = self._track(container)
        if key is not None and key[0] > self._stamps[0]:
            try:
                container.seek(min(key), stream=track, backward=True)
            except (av.FFmpegError, OSError, OverflowError):
                container = self._open.enter_context(open_container(self._stream, self._name))
                track = self._track(container)
        number = 0
        for frame in decoded(container, track, self._name, None if key is None else key[0]):
            self._decoded += 1
            if self._decoded > self._limits.max_frames:
                raise MediaError(
                    self._name,
                    f"more than {self._limits.max_frames} frames to decode",
                    "fewer",
                    "shorten it or raise Limits.max_frames",
                )
            if frame.is_corrupt or (frame.pts is None and not self._counted):
                continue
            yield number if self._counted else frame.pts, frame
            number += 1

    @staticmethod
    def _advance(frames: Iterator[tuple[int, Any]], current: tuple[int, Any], target: int) -> tuple[int, Any]:
        """The first frame at or after ``target``, else the last one there is."""
        while current[0] < target:
            following = next(frames, None)
            if following is None:
                break
            current = following
        return current

    def _pixels(self, frame: Any) -> NDArray[np.uint8]:
        check_pixels((frame.width, frame.height), self._name, self._limits)
        try:
            pixels = frame.to_ndarray(format="rgb24")
        except Exception as error:  # exotic pixel formats
            raise MediaError(
                self._name, f"a frame that cannot be shown ({error})", "RGB", "convert it"
            ) from error
        return upright(pixels, frame, self._name)


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
    short = min(height, width)
    target = (settings.size * height // short, settings.size * width // short)
    planes = []
    for channel in range(3):  # one at a time: as floats, a large frame takes much memory
        plane = torch.tensor(pixels[:, :, channel])[None, None].float().div_(255)
        if target != (height, width):
            plane = torch.nn.functional.interpolate(plane, size=target, mode="bilinear", align_corners=False)
        planes.append(plane[0, 0])
    values = torch.stack(planes)
    mean, std = torch.tensor(settings.mean)[:, None, None], torch.tensor(settings.std)[:, None, None]
    return (values - mean) / std


def _assemble(clips: list[list[Tensor]], settings: VideoSettings) -> Tensor:
    """Clips of prepared frames, each frame cropped by its own size, and stacked, clip-major."""
    size, entries = settings.size, []
    for clip in clips:
        places = [_corners(frame.shape[1], frame.shape[2], settings) for frame in clip]
        for crop in range(settings.crops):
            entries.append(
                torch.stack(
                    [
                        frame[:, top : top + size, left : left + size]
                        for frame, (top, left) in zip(clip, (place[crop] for place in places), strict=True)
                    ],
                    dim=1,
                )
            )
    return torch.stack(entries)


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
