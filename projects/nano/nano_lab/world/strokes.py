"""Geometry shared by everything that starts from a handwritten digit: warping and thickening of ink."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

# Half the side of the box that holds an MNIST digit (20 of 32 pixels), as a fraction of half the canvas.
_DIGIT_HALF = 20 / 32


@dataclass(frozen=True)
class InkWarp:
    """How far :func:`warp_ink` may move a digit.

    Attributes:
        rotation: largest turn to either side, degrees.
        scale: smallest and largest zoom, drawn log-uniformly.
        shear: largest shear to either side.
        slack: how far a digit may leave the canvas, in half canvas sides.
    """

    rotation: float = 15.0
    scale: tuple[float, float] = (0.65, 1.35)
    shear: float = 0.15
    slack: float = 0.06


def warp_ink(ink: torch.Tensor, rng: np.random.Generator, warp: InkWarp, size: int) -> torch.Tensor:
    """Rotate, zoom, shear and shift ink ``[B, H, W]`` (0..1) at random; returns ``[B, size, size]``.

    The shift is drawn so that the digit stays in the picture however large it has become.
    """
    count = len(ink)
    theta = draw_affine(rng, count, warp)
    return resample_ink(ink, theta, size) if count else ink.new_zeros((0, size, size))


def draw_affine(rng: np.random.Generator, count: int, warp: InkWarp) -> torch.Tensor:
    """Random affine matrices ``[count, 2, 3]`` from output to input coordinates (-1..1 units)."""
    angle = np.radians(rng.uniform(-warp.rotation, warp.rotation, count))
    scale = np.exp(rng.uniform(math.log(warp.scale[0]), math.log(warp.scale[1]), count))
    shear = rng.uniform(-warp.shear, warp.shear, count)
    room = np.maximum(1.0 - _DIGIT_HALF * scale, 0.0) + warp.slack
    shift = rng.uniform(-1.0, 1.0, (count, 2)) * room[:, None]
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    matrix = np.empty((count, 2, 3), np.float32)
    matrix[:, 0, 0], matrix[:, 0, 1] = cos, sin + shear * cos
    matrix[:, 1, 0], matrix[:, 1, 1] = -sin, cos - shear * sin
    matrix[:, :, 2] = -(matrix[:, :, :2] @ shift[:, :, None].astype(np.float32))[:, :, 0]
    return torch.from_numpy(matrix)


def resample_ink(ink: torch.Tensor, theta: torch.Tensor, size: int) -> torch.Tensor:
    """Bilinear resampling of ``[B, H, W]`` by affine matrices ``[B, 2, 3]``; outside is zero."""
    grid = F.affine_grid(theta, [len(ink), 1, size, size], align_corners=False)
    return F.grid_sample(ink[:, None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[:, 0]


def vary_thickness(ink: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Thicken or thin the strokes of ``[B, H, W]`` ink by up to about one pixel.

    A fine pen on a large sheet arrives as a thin, faint line once the picture is 32 pixels wide; a marker
    arrives thicker than MNIST's strokes.
    """
    amount = torch.from_numpy(rng.uniform(-0.75, 0.9, len(ink)).astype(np.float32))[:, None, None]
    # Half of the digits keep their own pen.
    amount = amount * torch.from_numpy((rng.random(len(ink)) < 0.5).astype(np.float32))[:, None, None]
    padded = F.pad(ink[:, None], (1, 1, 1, 1))
    # A plus-shaped neighbourhood changes the width by less than a full 3 x 3 block would.
    vertical = torch.stack([padded[:, 0, :-2, 1:-1], padded[:, 0, 2:, 1:-1]])
    horizontal = torch.stack([padded[:, 0, 1:-1, :-2], padded[:, 0, 1:-1, 2:]])
    thick = torch.maximum(torch.maximum(vertical.amax(0), horizontal.amax(0)), ink)
    thin = torch.minimum(torch.minimum(vertical.amin(0), horizontal.amin(0)), ink)
    return torch.where(amount > 0, ink + amount * (thick - ink), ink - amount * (thin - ink))
