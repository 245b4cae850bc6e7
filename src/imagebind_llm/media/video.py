"""Video: anything FFmpeg decodes → ``[clips · crops, 3, frames_per_clip, size, size]`` float32.

Clips are spread over the whole length (the last ends at the end); of each clip's frames, evenly spaced ones
from the first to the last are kept. Frames are scaled bilinearly without antialias (short side),
standardised like images and cropped at both ends and the centre of the longer side. Entries are clip-major.
Audio is ignored.

Every call opens its own container, so loading from several threads is safe; only the frames that are kept
are held in memory.
"""

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imagebind_llm.common.errors import MediaError
from imagebind_llm.media.arrays import as_array
from imagebind_llm.media.clips import clip_spans
from imagebind_llm.media.image import check_pixels
from imagebind_llm.media.limits import Limits
from imagebind_llm.media.resize import central_aspect
from imagebind_llm.media.settings import VideoSettings
from imagebind_llm.media.source import MediaSource, is_encoded, name_of, open_source


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
    with open_source(source, limits) as stream:
        from imagebind_llm.media.video_files import VideoReader

        with VideoReader(stream, name, limits) as video:
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
