"""Finding and decoding single frames of a video file."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from fractions import Fraction
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.containers import check_seconds, declared_seconds, decoded, open_container
from imagebind_llm.media.image import check_pixels
from imagebind_llm.media.limits import Limits


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
