"""Depth derived from handwriting: digits raised from or cut into a slanted board.

Geometry: the board is a plane at a random distance, tilted; the strokes stand in front of it or lie behind
it by a fixed share of that distance; the camera's relative error grows with distance, as that of a
structured-light or stereo sensor does.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from imagebind_llm.media.settings import DepthSettings
from nano_lab.world.strokes import InkWarp, vary_thickness, warp_ink
from nano_lab.world.unclear import smooth_fields

NEAREST, FARTHEST = 0.5, 4.0
"""Distance of the board in metres."""


def relief_depth(ink: torch.Tensor, rng: np.random.Generator, size: int) -> torch.Tensor:
    """Depth maps in metres ``[B, size, size]`` of ink ``[B, H, W]`` (0..1)."""
    strokes = warp_ink(vary_thickness(ink, rng), rng, InkWarp(), size)
    return _board(rng, len(ink), size, height=strokes)


def unclear_depth(rng: np.random.Generator, count: int, size: int) -> torch.Tensor:
    """Depth maps in metres that show no digit: bare boards, rolling ground, sensor noise, steps."""
    kind = rng.integers(0, 4, count)
    fields = torch.from_numpy(smooth_fields(rng, count, size=size)[..., 0])
    bare = torch.zeros(count, size, size)
    steps = (fields > torch.from_numpy(rng.uniform(0.35, 0.65, (count, 1, 1)).astype(np.float32))).float()
    height = torch.where(_is(kind, 0), bare, torch.where(_is(kind, 1), fields, steps))
    noise = torch.from_numpy(rng.uniform(NEAREST, FARTHEST, (count, size, size)).astype(np.float32))
    return torch.where(_is(kind, 3), noise, _board(rng, count, size, height))


def depth_batch(metres: torch.Tensor, settings: DepthSettings) -> torch.Tensor:
    """Depth maps ``[B, H, W]`` in metres, already ``settings.size`` wide, as encoder input ``[B, 1, H, W]``.

    The batch form of the media pipeline's metres to standardised disparity.
    """
    pixels = (
        settings.baseline_metres
        * settings.focal_pixels
        / metres.clamp(settings.min_metres, settings.max_metres)
    )
    share = pixels.clamp(0.0, settings.max_disparity) / settings.max_disparity
    return ((share - settings.mean) / settings.std)[:, None]


def _board(rng: np.random.Generator, count: int, size: int, height: torch.Tensor) -> torch.Tensor:
    distance = _column(np.exp(rng.uniform(math.log(NEAREST), math.log(FARTHEST), count)))
    axis = torch.linspace(-1.0, 1.0, size)
    tilt = rng.uniform(-0.12, 0.12, (2, count))
    slope = _column(tilt[0]) * axis[:, None] + _column(tilt[1]) * axis[None, :]
    step = _column(rng.uniform(0.06, 0.25, count) * rng.choice([-1.0, 1.0], count))
    depth = distance * (1.0 + slope - step * height)
    error = torch.from_numpy(rng.standard_normal((count, size, size), dtype=np.float32))
    return depth * (1.0 + error * _column(rng.uniform(0.0, 0.006, count)) * distance)


def _column(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))[:, None, None]


def _is(kind: np.ndarray, number: int) -> torch.Tensor:
    return torch.from_numpy(kind == number)[:, None, None]
