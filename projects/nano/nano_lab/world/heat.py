"""Thermal pictures derived from handwriting: a warm (or chilled) finger's trace on a wall.

Physics: the trace starts warmer or colder than the wall and spreads by heat conduction, which after a time
t has blurred it by a Gaussian of width sqrt(2 D t). The wall has a gentle temperature gradient, the sensor
adds noise and a fixed column pattern, as microbolometers do.
"""

from __future__ import annotations

import numpy as np
import torch

from imagebind_llm.media.settings import ThermalSettings
from nano_lab.world.strokes import InkWarp, vary_thickness, warp_ink
from nano_lab.world.unclear import smooth_fields

_LONGEST_SPREAD = 1.3  # pixels of a 32 pixel picture: digits stay readable


def heat_picture(ink: torch.Tensor, rng: np.random.Generator, size: int) -> torch.Tensor:
    """Temperatures in degrees Celsius ``[B, size, size]`` of ink ``[B, H, W]`` (0..1)."""
    trace = warp_ink(vary_thickness(ink, rng), rng, InkWarp(), size)
    return _wall(rng, diffuse(trace, rng.uniform(0.0, _LONGEST_SPREAD, len(ink)) * size / 32))


def unclear_heat(rng: np.random.Generator, count: int, size: int) -> torch.Tensor:
    """Temperatures ``[count, size, size]`` that show no digit: bare walls, warm clouds and blots, noise."""
    fields = smooth_fields(rng, count, size=size)[..., 0]
    level = rng.uniform(0.35, 0.65, (count, 1, 1)).astype(np.float32)
    kind = rng.integers(0, 4, count)[:, None, None]
    blots = ((fields - level) * 6.0 + 0.5).clip(0, 1)
    noise = rng.random((count, size, size), dtype=np.float32)
    warm = np.select([kind == 0, kind == 1, kind == 2], [np.zeros_like(fields), fields, blots], noise)
    return _wall(rng, torch.from_numpy(warm.astype(np.float32)))


def thermal_batch(celsius: torch.Tensor, settings: ThermalSettings) -> torch.Tensor:
    """Temperatures ``[B, H, W]``, already ``settings.size`` wide, as encoder input ``[B, 1, H, W]``.

    The batch form of the media pipeline: each picture's own range (or the settings') becomes 0..1.
    """
    if settings.low is not None and settings.high is not None:
        share = ((celsius - settings.low) / (settings.high - settings.low)).clamp(0.0, 1.0)
    else:
        low, high = celsius.amin((1, 2), keepdim=True), celsius.amax((1, 2), keepdim=True)
        share = (celsius - low) / (high - low).clamp_min(torch.finfo(celsius.dtype).tiny)
    return ((share - settings.mean) / settings.std)[:, None]


def diffuse(field: torch.Tensor, widths: np.ndarray) -> torch.Tensor:
    """Blur ``[B, H, W]`` with Gaussians of the given widths (pixels, ``[B]``)."""
    if not len(field):
        return field
    radius = max(1, int(np.ceil(3 * float(widths.max()))))
    offset = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offset / np.maximum(widths, 1e-3)[:, None]) ** 2)
    taps = torch.from_numpy((kernel / kernel.sum(1, keepdims=True)).astype(np.float32))
    for axis in (1, 2):
        padded = torch.nn.functional.pad(field, (radius, radius) if axis == 2 else (0, 0, radius, radius))
        length = field.shape[axis]
        field = sum(
            (padded.narrow(axis, k, length) * taps[:, k, None, None] for k in range(2 * radius + 1)),
            start=torch.zeros_like(field),
        )
    return field


def _wall(rng: np.random.Generator, warm: torch.Tensor) -> torch.Tensor:
    count, size, _ = warm.shape
    ambient = _column(rng.uniform(10.0, 32.0, count))
    excess = _column(rng.uniform(2.0, 15.0, count) * np.where(rng.random(count) < 0.7, 1.0, -1.0))
    axis = torch.linspace(-1.0, 1.0, size)
    drift = rng.uniform(-0.15, 0.15, (2, count))
    gradient = _column(drift[0]) * axis[:, None] + _column(drift[1]) * axis[None, :]
    grain = torch.from_numpy(rng.standard_normal((count, size, size), dtype=np.float32))
    columns = torch.from_numpy(rng.standard_normal((count, 1, size), dtype=np.float32))
    noise = grain * _column(rng.uniform(0.02, 0.35, count)) + columns * _column(rng.uniform(0.0, 0.12, count))
    return ambient + excess * (warm + gradient) + noise


def _column(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))[:, None, None]
