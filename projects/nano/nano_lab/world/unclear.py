"""Pictures that show none of nano's concepts, so that it can learn to say so.

Noise, blank paper, gradients, stripes, plasma, scribbles, and real pictures cut into tiles and shuffled
(local statistics of a real picture, but nothing to recognise).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from nano_lab.world.images import CANVAS

_TILE = 8


def unclear_images(rng: np.random.Generator, count: int, material: np.ndarray | None = None) -> np.ndarray:
    """Draw ``count`` far-off pictures, uint8 ``[count, 32, 32, 3]``.

    Args:
        rng: the only source of randomness.
        count: how many.
        material: uint8 ``[N, 32, 32, 3]`` real pictures to shuffle; without them that kind is left out.
    """
    kinds: list[Callable[[np.random.Generator, int], np.ndarray]] = [
        _white_noise, _blank, _gradient, _stripes, _checkers, _plasma, _scribbles, _scribbles, _blobs,
    ]  # fmt: skip
    shuffled_kinds = 2 if material is not None and len(material) else 0
    kind = rng.integers(0, len(kinds) + shuffled_kinds, count)
    out = np.empty((count, CANVAS, CANVAS, 3), np.float32)
    for number, draw in enumerate(kinds):
        rows = np.flatnonzero(kind == number)
        if len(rows):
            out[rows] = draw(rng, len(rows))
    rows = np.flatnonzero(kind >= len(kinds))
    if len(rows) and material is not None:
        out[rows] = _shuffled(rng, material[rng.integers(0, len(material), len(rows))])
    noisy = rng.random(count) < 0.3
    if noisy.any():
        grain = rng.standard_normal((int(noisy.sum()), CANVAS, CANVAS, 1), dtype=np.float32)
        out[noisy] += grain * rng.uniform(0.0, 0.08, (int(noisy.sum()), 1, 1, 1)).astype(np.float32)
    return np.round(out.clip(0.0, 1.0) * 255.0).astype(np.uint8)


def scribble_masks(rng: np.random.Generator, count: int, size: int = CANVAS) -> np.ndarray:
    """Ink coverage ``[count, size, size]`` (0..1) of several long random strokes that cross each other."""
    strokes, knots, samples = 4, 4, 64
    used = rng.integers(3, strokes + 1, count)
    points = rng.uniform(-0.85, 0.85, (count, strokes, knots, 2))
    # Bernstein polynomials: each stroke is one cubic curve.
    t = np.linspace(0.0, 1.0, samples)
    basis = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], 1)
    curves = np.einsum("sk,nrkd->nrsd", basis, points * 1.3).clip(-0.95, 0.95)
    pixel = ((curves + 1.0) / 2.0 * size).astype(np.int64).clip(0, size - 1)
    ink = np.zeros((count, size * size), np.float32)
    row = np.arange(count)[:, None, None]
    flat = pixel[..., 1] * size + pixel[..., 0]
    keep = np.broadcast_to((np.arange(strokes)[None, :] < used[:, None])[:, :, None], flat.shape)
    ink[np.broadcast_to(row, flat.shape)[keep], flat[keep]] = 1.0
    soft = F.avg_pool2d(torch.from_numpy(ink).view(count, 1, size, size), 3, 1, 1) * 3.5
    return soft.clamp_(0.0, 1.0)[:, 0].numpy()


def smooth_fields(rng: np.random.Generator, count: int, channels: int = 1, size: int = CANVAS) -> np.ndarray:
    """Smooth random fields ``[count, size, size, channels]`` scaled to 0..1, coarse to fine at random."""
    total = torch.zeros(count, channels, size, size)
    for cells in (3, 5, 9, 17):
        coarse = torch.from_numpy(rng.standard_normal((count, channels, cells, cells), dtype=np.float32))
        weight = torch.from_numpy(rng.uniform(0.0, 3.0 / cells, (count, 1, 1, 1)).astype(np.float32))
        total += weight * F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)
    low, high = total.amin((2, 3), keepdim=True), total.amax((2, 3), keepdim=True)
    return ((total - low) / (high - low + 1e-6)).permute(0, 2, 3, 1).numpy()


def _two_colours(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = rng.random((2, count, 1, 1, 3)).astype(np.float32)
    grey = rng.random(count) < 0.4
    first[grey], second[grey] = first[grey][..., :1], second[grey][..., :1]
    return first, second


def _blend(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    first, second = _two_colours(rng, len(mask))
    return first + (second - first) * mask[..., None]


def _white_noise(rng: np.random.Generator, count: int) -> np.ndarray:
    uniform = rng.random((count, CANVAS, CANVAS, 3), dtype=np.float32)
    normal = 0.5 + 0.25 * rng.standard_normal((count, CANVAS, CANVAS, 3), dtype=np.float32)
    out = np.where(rng.random((count, 1, 1, 1)) < 0.5, uniform, normal)
    grey = rng.random(count) < 0.4
    out[grey] = out[grey][..., :1]
    return out


def _blank(rng: np.random.Generator, count: int) -> np.ndarray:
    colour, _ = _two_colours(rng, count)
    extreme = rng.random(count)
    colour[extreme < 0.2] = 0.0
    colour[extreme > 0.8] = 1.0
    return np.broadcast_to(colour, (count, CANVAS, CANVAS, 3)).copy()


def _phase(rng: np.random.Generator, count: int) -> np.ndarray:
    axis = np.linspace(-1.0, 1.0, CANVAS, dtype=np.float32)
    angle = rng.uniform(0.0, 2 * np.pi, (count, 1, 1))
    return (np.cos(angle) * axis[:, None] + np.sin(angle) * axis[None, :]).astype(np.float32)


def _gradient(rng: np.random.Generator, count: int) -> np.ndarray:
    return _blend(rng, (_phase(rng, count) / 2.0 + 0.5).clip(0, 1))


def _stripes(rng: np.random.Generator, count: int) -> np.ndarray:
    waves = np.sin(
        _phase(rng, count) * rng.uniform(6.0, 45.0, (count, 1, 1)) + rng.uniform(0, 6.3, (count, 1, 1))
    )
    hard = rng.random((count, 1, 1)) < 0.5
    return _blend(rng, np.where(hard, waves > 0, waves / 2 + 0.5).astype(np.float32))


def _checkers(rng: np.random.Generator, count: int) -> np.ndarray:
    cell = rng.integers(2, 11, (count, 1, 1))
    offset = rng.integers(0, 11, (2, count, 1, 1))
    axis = np.arange(CANVAS)
    board = ((axis[:, None] + offset[0]) // cell + (axis[None, :] + offset[1]) // cell) % 2
    return _blend(rng, board.astype(np.float32))


def _plasma(rng: np.random.Generator, count: int) -> np.ndarray:
    return smooth_fields(rng, count, channels=3)


def _scribbles(rng: np.random.Generator, count: int) -> np.ndarray:
    out = _blend(rng, scribble_masks(rng, count))
    plain = np.flatnonzero(rng.random(count) < 0.5)
    masks = scribble_masks(rng, len(plain))[..., None]
    out[plain] = np.where(rng.random((len(plain), 1, 1, 1)) < 0.6, 1.0 - masks, masks)
    return out


def _blobs(rng: np.random.Generator, count: int) -> np.ndarray:
    field = smooth_fields(rng, count)[..., 0]
    level = rng.uniform(0.3, 0.7, (count, 1, 1))
    return _blend(rng, ((field - level) * 8.0 + 0.5).clip(0, 1).astype(np.float32))


def _shuffled(rng: np.random.Generator, pictures: np.ndarray) -> np.ndarray:
    """Cut pictures into 8 x 8 tiles and permute them."""
    count, side = len(pictures), CANVAS // _TILE
    tiles = pictures.reshape(count, side, _TILE, side, _TILE, 3).transpose(0, 1, 3, 2, 4, 5)
    tiles = tiles.reshape(count, side * side, _TILE, _TILE, 3)
    order = rng.random((count, side * side)).argsort(1)
    mixed = np.take_along_axis(tiles, order[:, :, None, None, None], 1)
    mixed = mixed.reshape(count, side, side, _TILE, _TILE, 3).transpose(0, 1, 3, 2, 4, 5)
    return mixed.reshape(count, CANVAS, CANVAS, 3).astype(np.float32) / 255.0
