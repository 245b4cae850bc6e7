"""Meshes built from simple bodies: airplane, ship, and a digit sawn out of a board."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import trimesh

Outline = Sequence[tuple[float, float]]


def airplane() -> Any:
    """Nose towards +x, y up."""
    fuselage = _bar(3.0, 0.17, 0.17)
    nose = trimesh.creation.icosphere(2)
    nose.apply_scale([0.36, 0.165, 0.165])
    nose.apply_translation([1.5, 0, 0])
    tail = _bar(0.75, 0.16, 0.03, at=(-1.85, 0.07, 0))
    wing = [(0.5, 0.0), (-0.3, 1.75), (-0.55, 1.75), (-0.35, 0.0)]
    small = [(-1.45, 0.0), (-1.85, 0.65), (-2.05, 0.65), (-1.95, 0.0)]
    fin = [(-1.3, 0.1), (-1.85, 0.8), (-2.1, 0.8), (-2.0, 0.05)]
    parts = [fuselage, nose, tail, _plate(fin, 0.03, "z")]
    for side in (1, -1):
        parts += [_plate([(x, side * z) for x, z in wing], 0.03, "y", -0.05)]
        parts += [_plate([(x, side * z) for x, z in small], 0.025, "y", 0.1)]
        parts += [_bar(0.42, 0.1, 0.08, at=(0.2, -0.17, side * 0.62))]
    return trimesh.util.concatenate(parts)


def ship() -> Any:
    """Bow towards +x, y up: a pointed hull, decks and a funnel."""
    deck = [(1.9, 0.0), (1.2, 0.34), (-1.5, 0.34), (-1.65, 0.2), (-1.65, -0.2), (-1.5, -0.34), (1.2, -0.34)]
    keel = [(1.5, 0.0), (1.0, 0.2), (-1.4, 0.2), (-1.4, -0.2), (1.0, -0.2)]
    hull = _hull([(x, 0.3, z) for x, z in deck] + [(x, -0.3, z) for x, z in keel])
    house = _plate([(0.4, 0.3), (0.35, 0.55), (-1.3, 0.55), (-1.3, 0.3)], 0.25, "z")
    bridge = _plate([(0.2, 0.55), (0.15, 0.8), (-0.5, 0.8), (-0.5, 0.55)], 0.22, "z")
    funnel = trimesh.creation.cylinder(0.13, 0.5, sections=20)
    funnel.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))
    funnel.apply_translation([-0.85, 0.75, 0])
    mast = _bar(0.5, 0.03, 0.02, upright=True, at=(0.0, 1.0, 0))
    return trimesh.util.concatenate([hull, house, bridge, funnel, mast])


def board_digit(ink: np.ndarray, half: float = 0.16) -> Any:
    """Ink ``[n, n]`` (0..1) sawn out of a board ``2 * half`` thick: x right, y up, z towards the viewer."""
    solid = np.pad(ink > 0.5, 1)
    size = len(ink)
    corners: list[tuple[float, float, float]] = []
    faces: list[tuple[int, int, int]] = []

    def quad(points: list[tuple[float, float, float]]) -> None:
        first = len(corners)
        corners.extend(points)
        faces.extend([(first, first + 1, first + 2), (first, first + 2, first + 3)])

    for row, column in zip(*np.nonzero(solid), strict=True):
        left, right = (np.array([column - 1, column]) / size * 2 - 1).tolist()
        top, bottom = (1 - np.array([row - 1, row]) / size * 2).tolist()
        quad([(left, bottom, half), (right, bottom, half), (right, top, half), (left, top, half)])
        quad([(left, top, -half), (right, top, -half), (right, bottom, -half), (left, bottom, -half)])
        if not solid[row, column - 1]:
            quad([(left, bottom, -half), (left, bottom, half), (left, top, half), (left, top, -half)])
        if not solid[row, column + 1]:
            quad([(right, bottom, half), (right, bottom, -half), (right, top, -half), (right, top, half)])
        if not solid[row - 1, column]:
            quad([(left, top, half), (right, top, half), (right, top, -half), (left, top, -half)])
        if not solid[row + 1, column]:
            quad([(left, bottom, -half), (right, bottom, -half), (right, bottom, half), (left, bottom, half)])
    return trimesh.Trimesh(np.array(corners), np.array(faces))  # it joins equal corners


def _hull(points: Sequence[Sequence[float]]) -> Any:
    return trimesh.convex.convex_hull(np.array(points, float))


def _plate(outline: Outline, half: float, axis: str, at: float = 0.0) -> Any:
    """A convex outline in the x-y (``axis="z"``) or the x-z plane (``"y"``), ``half`` thick each way."""
    if axis == "z":
        return _hull([(x, y, at + side * half) for x, y in outline for side in (-1, 1)])
    return _hull([(x, at + side * half, z) for x, z in outline for side in (-1, 1)])


def _bar(
    length: float, front: float, back: float, at: Sequence[float] = (0, 0, 0), upright: bool = False
) -> Any:
    """A round bar along x (or upright), with other radii in front and behind."""
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    rings = [
        (s * length / 2, r * np.cos(a), r * np.sin(a)) for s, r in ((1, front), (-1, back)) for a in angle
    ]
    points = np.array(rings)
    return _hull((points[:, [1, 0, 2]] if upright else points) + np.array(at))
