"""Real 3-D shapes as point clouds, and random views of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path

import numpy as np

from nano_lab.world.extrude import any_turns, jitter, small_turns, turns_about, unit_sphere
from nano_lab.world.tables import COLUMNS, Split, label_ids, read_columns


@dataclass(frozen=True)
class ShapeSet:
    """Point clouds float32 ``[N, points, 3]``, concept ids ``[N]``, groups of near-equal shapes ``[N]``."""

    points: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def load_shapes(root: str | Path, split: Split) -> ShapeSet:
    """Airplanes, automobiles, birds, ships and trucks sampled from meshes."""
    read = read_columns(root, "shapes", split, COLUMNS["shapes"])
    clouds = [np.frombuffer(file, "<f2").reshape(-1, 3).astype(np.float32) for file in read["points"]]
    return ShapeSet(np.stack(clouds), label_ids(read["label"]), np.array(read["group"], dtype=np.int64))


def view_shapes(points: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    """Random views ``[B, count, 3]`` of clouds ``[B, N, 3]`` in the unit sphere.

    Half are turned any way; half stand on one of a cube's faces with any heading and a slight tilt, because
    files disagree about which axis is up but are nearly always aligned to one. All may be mirrored and
    stretched by a tenth along each axis.
    """
    batch, available, _ = points.shape
    chosen = rng.random((batch, available)).argpartition(count - 1, axis=1)[:, :count]
    view = np.take_along_axis(points, chosen[..., None], 1)
    view = view * rng.uniform(0.9, 1.1, (batch, 1, 3)).astype(np.float32)
    view[:, :, 0] *= np.where(rng.random((batch, 1)) < 0.5, -1.0, 1.0).astype(np.float32)
    up = np.tile(np.array([0.0, 1.0, 0.0]), (batch, 1))
    heading = turns_about(up, rng.uniform(0.0, 2 * np.pi, (batch,)))
    aligned = small_turns(rng, batch, 10.0) @ heading @ CUBE_TURNS[rng.integers(0, len(CUBE_TURNS), batch)]
    free = any_turns(rng, batch)
    turn = np.where(rng.random((batch, 1, 1)) < 0.5, aligned, free)
    return unit_sphere(jitter(view @ turn.transpose(0, 2, 1), rng))


def _cube_turns() -> np.ndarray:
    """The 24 rotations that map the axes onto each other, ``[24, 3, 3]``."""
    turns = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3), np.float32)
            matrix[range(3), order] = signs
            if np.linalg.det(matrix) > 0:
                turns.append(matrix)
    return np.stack(turns)


CUBE_TURNS = _cube_turns()
"""The 24 rotations that map the coordinate axes onto each other, float32 ``[24, 3, 3]``."""
