"""Training-time variety for pictures, fast enough for one thread.

Users show a black digit on white paper, chalk on a board, a photograph of any brightness. Digits therefore
pass through a random affine map and a random ink-and-paper colouring. Photographs pass through crops and
mirror images (pure indexing) and a little light; some of them also come nearer, go farther or turn a little,
and some have a patch covered.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from imagebind_llm.media.settings import CLIP_MEAN, CLIP_STD
from nano_lab.world.concepts import DIGITS
from nano_lab.world.images import CANVAS
from nano_lab.world.strokes import InkWarp, draw_affine, resample_ink, vary_thickness

_CROP_PADDING = 3
_WIDE_WARP = InkWarp(rotation=38.0, scale=(0.36, 1.1))
"""Small and turned digits; beyond it a six and a nine are the same drawing."""
_WIDE_SHARE = 0.35
_ZOOM_SHARE = 0.35
_ZOOM = (0.7, 1.45)
"""Smallest and largest size of a thing, of the one it has."""
_COVERED_SHARE = 0.3
_PATCH = 8
"""Pixels of a side of the patch that is covered (DeVries and Taylor 2017, where pictures are shown often)."""


def augment_images(
    pixels: np.ndarray,
    labels: np.ndarray,
    rng: np.random.Generator,
    clip_probability: float | None = None,
) -> torch.Tensor:
    """Augment a batch of pictures and normalise it as the encoder expects.

    Args:
        pixels: uint8 ``[B, 32, 32, 3]``.
        labels: concept ids ``[B]``; they decide which changes keep the meaning (a mirrored 2 is no 2).
        rng: the only source of randomness.
        clip_probability: if given, every picture becomes a clip of two frames; this share of them moves a
            little between the frames, the rest stands still.

    Returns:
        float32 ``[B, 3, 32, 32]``, or ``[B, 3, 2, 32, 32]`` with ``clip_probability``.
    """
    count = len(pixels)
    moving = rng.random(count) < (clip_probability or 0.0)
    frames = 1 if clip_probability is None else 2
    is_digit = labels < len(DIGITS)
    out = torch.empty((count, 3, frames, CANVAS, CANVAS))
    digits, others = np.flatnonzero(is_digit), np.flatnonzero(~is_digit)
    if len(digits):
        out[torch.from_numpy(digits)] = _augment_digits(pixels[digits, :, :, 0], rng, moving[digits], frames)
    if len(others):
        out[torch.from_numpy(others)] = _augment_photos(pixels[others], rng, moving[others], frames)
    out = normalise(out)
    return out[:, :, 0] if clip_probability is None else out


def normalise(pictures: torch.Tensor) -> torch.Tensor:
    """Scale pictures ``[B, 3, ...]`` in 0..1 with the encoder's mean and standard deviation, in place."""
    shape = (1, 3) + (1,) * (pictures.ndim - 2)
    return pictures.sub_(torch.tensor(CLIP_MEAN).view(shape)).div_(torch.tensor(CLIP_STD).view(shape))


def plain_images(pixels: np.ndarray) -> torch.Tensor:
    """Pictures without augmentation, normalised: uint8 ``[B, H, W, 3]`` to float32 ``[B, 3, H, W]``."""
    return normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255.0))


def _uniform(rng: np.random.Generator, low: float, high: float, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.uniform(low, high, shape).astype(np.float32))


def _augment_digits(
    ink_u8: np.ndarray, rng: np.random.Generator, moving: np.ndarray, frames: int
) -> torch.Tensor:
    """Digits uint8 ``[B, 32, 32]`` to RGB ``[B, 3, frames, 32, 32]`` in 0..1."""
    count = len(ink_u8)
    ink = vary_thickness(torch.from_numpy(ink_u8).float().div_(255.0), rng)
    theta = draw_affine(rng, count, InkWarp())
    wide = torch.from_numpy(rng.random(count) < _WIDE_SHARE)[:, None, None]
    theta = torch.where(wide, draw_affine(rng, count, _WIDE_WARP), theta)
    views = [resample_ink(ink, theta, CANVAS)]
    if frames == 2:
        # Up to about four pixels and 10 % of zoom between the frames of a moving clip.
        drift = theta.clone()
        drift[:, :, 2] += _uniform(rng, -0.25, 0.25, count, 2)
        drift[:, :, :2] *= _uniform(rng, 0.9, 1.1, count, 1, 1)
        still = torch.from_numpy(~moving)[:, None, None]
        views.append(torch.where(still, views[0], resample_ink(ink, drift, CANVAS)))
    strokes = torch.stack(views, 1)  # [B, frames, H, W]
    return paint_strokes(strokes, rng)


def paint_strokes(strokes: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Paint strokes ``[B, T, H, W]`` with ink, paper, light and grain: ``[B, 3, T, H, W]`` in 0..1."""
    count, _, height, width = strokes.shape
    style = rng.random(count)
    dark = rng.uniform(0.0, 0.25, (count, 1)) + rng.uniform(-0.05, 0.05, (count, 3))
    light = rng.uniform(0.7, 1.0, (count, 1)) + rng.uniform(-0.1, 0.05, (count, 3))
    paper, pen = dark.copy(), light.copy()
    inverted = style < 0.45  # dark pen on light paper: the usual drawing
    paper[inverted], pen[inverted] = light[inverted], dark[inverted]
    coloured = style > 0.7
    any_paper, any_pen = _contrasting_colours(rng, count)
    paper[coloured], pen[coloured] = any_paper[coloured], any_pen[coloured]
    classic = (style >= 0.45) & (style < 0.55)  # white on black as in MNIST itself
    paper[classic], pen[classic] = 0.0, 1.0
    exact = inverted & (style < 0.1)  # a drawing program: pure black on pure white
    paper[exact], pen[exact] = 1.0, 0.0
    ground = torch.from_numpy(paper.clip(0, 1).astype(np.float32))[:, :, None, None, None]
    ink = torch.from_numpy(pen.clip(0, 1).astype(np.float32))[:, :, None, None, None]
    picture = ground + (ink - ground) * strokes[:, None]
    real = torch.from_numpy(~(classic | exact) & (rng.random(count) < 0.7)).float()
    light_field = 1.0 + _uneven_light(rng, count, height, width) * real[:, None, None]
    grain = torch.from_numpy(rng.standard_normal((count, 1, height, width), dtype=np.float32))
    strength = _uniform(rng, 0.0, 0.06, count) * real
    picture = picture * light_field[:, None, None] + (grain * strength[:, None, None, None])[:, None]
    return picture.clamp_(0.0, 1.0)


def _contrasting_colours(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two random colours ``[count, 3]`` each, whose brightness differs by at least 0.3."""
    weights = np.array([0.299, 0.587, 0.114])
    first, second = rng.random((count, 3)), rng.random((count, 3))
    gap = (second - first) @ weights
    # Where too close, push the two apart along grey until they differ enough.
    push = np.maximum(0.3 - np.abs(gap), 0.0) / 2 * np.where(gap >= 0, 1.0, -1.0)
    first, second = first - push[:, None], second + push[:, None]
    low = np.minimum(first.min(1), second.min(1))[:, None]
    high = np.maximum(first.max(1), second.max(1))[:, None]
    span = np.maximum(high - low, 1.0)
    offset = np.clip(low, None, 0.0)
    return (first - offset) / span, (second - offset) / span


def _uneven_light(rng: np.random.Generator, count: int, height: int, width: int) -> torch.Tensor:
    """A slanted and slightly bowed light field ``[count, height, width]`` around zero."""
    slope = _uniform(rng, -0.22, 0.22, count, 2)
    bow = _uniform(rng, -0.15, 0.05, count)
    rows, columns = torch.linspace(-1.0, 1.0, height)[:, None], torch.linspace(-1.0, 1.0, width)[None, :]
    return (
        slope[:, 0, None, None] * rows
        + slope[:, 1, None, None] * columns
        + bow[:, None, None] * (rows**2 + columns**2)
    )


def _augment_photos(
    pixels: np.ndarray, rng: np.random.Generator, moving: np.ndarray, frames: int
) -> torch.Tensor:
    """Photographs uint8 ``[B, 32, 32, 3]`` to ``[B, 3, frames, 32, 32]`` in 0..1, by index crops only."""
    count = len(pixels)
    pad = _CROP_PADDING
    planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255.0)
    padded = F.pad(planes, (pad, pad, pad, pad), mode="reflect")
    corner = rng.integers(0, 2 * pad + 1, (count, 2))
    mirrored = rng.random(count) < 0.5
    steps = np.arange(CANVAS)
    views = []
    for frame in range(frames):
        if frame:
            shifted = np.clip(corner + rng.integers(-3, 4, (count, 2)), 0, 2 * pad)
            corner = np.where(moving[:, None], shifted, corner)
        rows = torch.from_numpy(corner[:, :1] + steps)
        columns = torch.from_numpy(corner[:, 1:] + np.where(mirrored[:, None], steps[::-1], steps))
        batch = torch.arange(count)[:, None, None, None]
        plane = torch.arange(3)[None, :, None, None]
        views.append(padded[batch, plane, rows[:, None, :, None], columns[:, None, None, :]])
    out = torch.stack(views, 2)
    _zoom(out, rng)
    _cover(out, rng)
    gain = _uniform(rng, 0.9, 1.1, count, 1, 1, 1, 1)
    lift = _uniform(rng, -0.05, 0.05, count, 1, 1, 1, 1)
    tint = _uniform(rng, -0.02, 0.02, count, 3, 1, 1, 1)
    grey = torch.from_numpy(rng.random(count) < 0.02)
    out = (out - 0.5) * gain + (0.5 + lift + tint)
    out[grey] = out[grey].mean(1, keepdim=True)
    return out.clamp_(0.0, 1.0)


def _zoom(out: torch.Tensor, rng: np.random.Generator) -> None:
    """Scale and turn a share of the photographs ``[B, 3, frames, 32, 32]``, in place; edges are mirrored."""
    chosen = torch.from_numpy(np.flatnonzero(rng.random(len(out)) < _ZOOM_SHARE))
    if not len(chosen):
        return
    count, frames = len(chosen), out.shape[2]
    scale = np.exp(rng.uniform(np.log(_ZOOM[0]), np.log(_ZOOM[1]), count))
    angle = np.radians(rng.uniform(-8.0, 8.0, count))
    theta = np.zeros((count, 2, 3), np.float32)
    theta[:, 0, 0] = theta[:, 1, 1] = np.cos(angle) / scale
    theta[:, 0, 1], theta[:, 1, 0] = np.sin(angle) / scale, -np.sin(angle) / scale
    room = np.abs(1.0 - 1.0 / scale)[:, None]  # a nearer thing is cut anywhere, a farther one stands anywhere
    theta[:, :, 2] = rng.uniform(-1.0, 1.0, (count, 2)) * room
    grid = F.affine_grid(torch.from_numpy(theta), [count, 3, CANVAS, CANVAS], align_corners=False)
    flat = out[chosen].flatten(1, 2)
    moved = F.grid_sample(flat, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    out[chosen] = moved.unflatten(1, (3, frames))


def _cover(out: torch.Tensor, rng: np.random.Generator) -> None:
    """Cover a patch of a share of the photographs ``[B, 3, frames, 32, 32]`` with their mean, in place."""
    for row in np.flatnonzero(rng.random(len(out)) < _COVERED_SHARE):
        top, left = (int(edge) for edge in rng.integers(0, CANVAS - _PATCH + 1, 2))
        out[row, :, :, top : top + _PATCH, left : left + _PATCH] = out[row].mean((1, 2, 3))[
            :, None, None, None
        ]
