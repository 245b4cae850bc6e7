"""Point clouds derived from handwriting: digits sawn out of a board.

Geometry: the ink's outline is extruded along z; points lie on the two faces and on the side walls. Shared
by everything with points: rotations, jitter and the final centring into the unit sphere.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from nano_lab.world.strokes import InkWarp, vary_thickness, warp_ink

_FINE = 64  # cells per side when the outline is looked up
_LARGEST_TURN = 25.0  # degrees


def extruded_points(ink: torch.Tensor, rng: np.random.Generator, count: int) -> np.ndarray:
    """Surface points ``[B, count, 3]`` of extruded ink ``[B, H, W]`` (0..1), in the unit sphere.

    x points right, y up, z towards the viewer before a random turn of at most 25 degrees.
    """
    warp = InkWarp(rotation=12.0, scale=(0.9, 1.1), shear=0.2, slack=0.0)
    strokes = warp_ink(vary_thickness(ink, rng), rng, warp, _FINE)
    solid = (strokes > 0.5).float()
    solid = torch.maximum(solid, (strokes >= strokes.amax((1, 2), keepdim=True)).float())  # never empty
    inner = -F.max_pool2d(-solid[:, None], 3, 1, 1)[:, 0]
    wall = solid - inner
    batch = len(ink)
    half = rng.uniform(0.06, 0.22, (batch, 1))  # half thickness, canvas half = 1
    on_wall = rng.random((batch, count)) < 0.45
    cell = np.where(on_wall, _draw_cells(wall, rng, count), _draw_cells(solid, rng, count))
    x = (cell % _FINE + rng.random((batch, count))) / _FINE * 2 - 1
    y = 1 - (cell // _FINE + rng.random((batch, count))) / _FINE * 2
    face = np.where(rng.random((batch, count)) < 0.5, -1.0, 1.0)
    z = half * np.where(on_wall, rng.uniform(-1.0, 1.0, (batch, count)), face)
    points = np.stack([x, y, z], -1).astype(np.float32)
    turn = small_turns(rng, batch, _LARGEST_TURN)
    return unit_sphere(jitter(points @ turn.transpose(0, 2, 1), rng))


def jitter(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add measuring noise of up to 1.5 % of a cloud's size to ``[B, N, 3]``."""
    size = points.std(1, keepdims=True).max(2, keepdims=True) * 2
    strength = rng.uniform(0.0, 0.015, (len(points), 1, 1)) * size
    noise = rng.standard_normal(points.shape, dtype=np.float32)
    return points + noise * strength.astype(np.float32)


def unit_sphere(points: np.ndarray) -> np.ndarray:
    """Centre clouds ``[B, N, 3]`` on their mean and scale the farthest point to distance 1."""
    centred = points - points.mean(1, keepdims=True)
    reach = np.sqrt((centred**2).sum(2).max(1))[:, None, None]
    return (centred / np.maximum(reach, 1e-9)).astype(np.float32)


def small_turns(rng: np.random.Generator, count: int, degrees: float) -> np.ndarray:
    """Rotation matrices ``[count, 3, 3]`` about random axes by at most ``degrees``."""
    axis = rng.standard_normal((count, 3))
    return turns_about(axis, np.radians(rng.uniform(0.0, degrees, count)))


def any_turns(rng: np.random.Generator, count: int) -> np.ndarray:
    """Rotation matrices ``[count, 3, 3]``, uniform over all orientations."""
    w, x, y, z = (q := rng.standard_normal((count, 4))).T / np.linalg.norm(q, axis=1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows).transpose(2, 0, 1).astype(np.float32)


def turns_about(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Rotation matrices ``[B, 3, 3]`` about ``axis [B, 3]`` by ``angle [B]`` (Rodrigues)."""
    x, y, z = (axis / np.linalg.norm(axis, axis=1, keepdims=True)).T
    zero = np.zeros_like(x)
    cross = np.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]]).transpose(2, 0, 1)
    sin, cos = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return (np.eye(3) + sin * cross + (1 - cos) * (cross @ cross)).astype(np.float32)


def unclear_points(rng: np.random.Generator, batch: int, count: int) -> np.ndarray:
    """Clouds ``[batch, count, 3]`` of nothing known: blobs, boxes, spheres, planes, sticks, clusters."""
    direction = rng.standard_normal((batch, count, 3))
    sphere = direction / np.linalg.norm(direction, axis=2, keepdims=True)
    cube = rng.uniform(-1.0, 1.0, (batch, count, 3))
    box = cube / np.abs(cube).max(2, keepdims=True)
    centres = rng.uniform(-1.0, 1.0, (batch, 8, 3))
    member = rng.integers(0, rng.integers(2, 9, (batch, 1)), (batch, count))
    clusters = np.take_along_axis(centres, member[..., None], 1) + direction * rng.uniform(
        0.02, 0.2, (batch, 1, 1)
    )
    walk = np.cumsum(direction, axis=1) * 0.1
    kinds = [direction, cube, sphere, box, clusters, walk]
    kind = rng.integers(0, len(kinds), batch)[:, None, None]
    points = np.select([kind == k for k in range(len(kinds))], kinds)
    stretch = np.exp(rng.uniform(np.log(0.05), 0.0, (batch, 1, 3)))  # also planes and sticks
    points = (points * stretch).astype(np.float32) @ any_turns(rng, batch)
    return unit_sphere(jitter(points, rng))


def _draw_cells(mask: torch.Tensor, rng: np.random.Generator, count: int) -> np.ndarray:
    """Cell numbers ``[B, count]`` drawn uniformly from the set cells of masks ``[B, H, W]``."""
    total = torch.cumsum(mask.flatten(1), 1)
    wanted = torch.from_numpy(rng.random((len(mask), count), dtype=np.float32)) * total[:, -1:]
    return torch.searchsorted(total, wanted, right=True).clamp_max(mask[0].numel() - 1).numpy()
