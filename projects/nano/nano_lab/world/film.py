"""Video derived from pictures: digits and photographs that drift, turn and grow before a camera.

Everything moves evenly. Digits are drawn with ink on paper that stands still; photographs are panned, with
mirrored edges where the camera looks past them.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from imagebind_llm.media.base import clip_spans
from imagebind_llm.media.settings import VideoSettings
from nano_lab.world.augment import normalise, paint_strokes
from nano_lab.world.concepts import DIGITS

ASPECT = 4 / 3
"""Width by height of the frames."""

SHORTEST, LONGEST = 2.0, 4.0
"""Length of a film in seconds."""


def film(
    pixels: np.ndarray, labels: np.ndarray, rng: np.random.Generator, progress: np.ndarray, height: int
) -> torch.Tensor:
    """Frames of moving pictures.

    Args:
        pixels: uint8 ``[B, 32, 32, 3]``.
        labels: concept ids ``[B]``; digits are redrawn with ink and paper, others shown as they are.
        rng: the only source of randomness.
        progress: when the frames are taken, ``[B, T]`` as a share of the film, 0..1.
        height: of the frames in pixels; they are 4/3 as wide.

    Returns:
        float32 ``[B, 3, T, height, width]`` in 0..1.
    """
    count, frames = progress.shape
    width = round(height * ASPECT)
    out = torch.empty(count, 3, frames, height, width)
    is_digit = labels < len(DIGITS)
    for rows in (np.flatnonzero(is_digit), np.flatnonzero(~is_digit)):
        if not len(rows):
            continue
        digit = bool(is_digit[rows[0]])
        theta = _camera(rng, progress[rows], digit)
        planes = torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2).float().div_(255.0)
        if digit:
            planes = planes[:, :1]
        repeated = planes.repeat_interleave(frames, 0)
        grid = F.affine_grid(theta, [len(theta), planes.shape[1], height, width], align_corners=False)
        edge = "zeros" if digit else "reflection"
        seen = F.grid_sample(repeated, grid, mode="bilinear", padding_mode=edge, align_corners=False)
        seen = seen.view(len(rows), frames, planes.shape[1], height, width)
        out[torch.from_numpy(rows)] = (
            paint_strokes(seen[:, :, 0], rng) if digit else _light(seen.transpose(1, 2), rng)
        )
    return out


def film_batch(
    pixels: np.ndarray, labels: np.ndarray, rng: np.random.Generator, settings: VideoSettings
) -> torch.Tensor:
    """Films as encoder input ``[B, clips * crops, 3, frames_per_clip, size, size]``.

    Only the frames that the media pipeline would keep are drawn.
    """
    count = len(pixels)
    seconds = rng.uniform(SHORTEST, LONGEST, count)
    moments = []
    for length in seconds:
        for start, end in clip_spans(float(length), settings.clip_seconds, settings.clips):
            moments.append(
                np.linspace(float(start), min(float(end), length), settings.frames_per_clip) / length
            )
    progress = np.array(moments).reshape(count, -1)
    frames = normalise(film(pixels, labels, rng, progress, settings.size))
    clips = frames.unflatten(2, (settings.clips, settings.frames_per_clip)).permute(0, 2, 1, 3, 4, 5)
    spare = clips.shape[-1] - settings.size
    offsets = (0, -(-spare // 2), spare) if settings.crops == 3 else (-(-spare // 2),)
    crops = [clips[..., offset : offset + settings.size] for offset in offsets]
    return torch.stack(crops, 2).flatten(1, 2)


def film_frames(
    pixels: np.ndarray, label: int, rng: np.random.Generator, settings: VideoSettings, height: int = 48
) -> np.ndarray:
    """One whole film, uint8 ``[T, height, width, 3]`` at ``settings.array_fps``."""
    count = round(rng.uniform(SHORTEST, LONGEST) * settings.array_fps)
    progress = np.linspace(0.0, 1.0, count)[None]
    frames = film(pixels[None], np.array([label]), rng, progress, height)[0]
    return (frames.permute(1, 2, 3, 0) * 255.0).round().to(torch.uint8).numpy()


def _camera(rng: np.random.Generator, progress: np.ndarray, digit: bool) -> torch.Tensor:
    """Affine maps ``[B * T, 2, 3]`` from frame to picture coordinates."""
    count = len(progress)
    turn, shift, low, high = (15.0, 0.22, 0.75, 1.25) if digit else (4.0, 0.2, 0.85, 1.3)

    def between(low: float, high: float) -> np.ndarray:
        start, stop = rng.uniform(low, high, (2, count, 1))
        return start + (stop - start) * progress

    angle = np.radians(between(-turn, turn))
    zoom = np.exp(between(np.log(low), np.log(high)))
    theta = np.empty((*progress.shape, 2, 3), np.float32)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    theta[..., 0, 0], theta[..., 0, 1] = cos * ASPECT, sin
    theta[..., 1, 0], theta[..., 1, 1] = -sin * ASPECT, cos
    theta[..., 0, 2], theta[..., 1, 2] = between(-shift, shift), between(-shift, shift)
    return torch.from_numpy(theta.reshape(-1, 2, 3))


def _light(pictures: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Slightly different exposure for each film ``[B, 3, T, H, W]``."""
    gain = torch.from_numpy(rng.uniform(0.85, 1.15, (len(pictures), 1, 1, 1, 1)).astype(np.float32))
    return ((pictures - 0.5) * gain + 0.5).clamp_(0.0, 1.0)
