"""Solid shapes of no class nano knows: boxes, rings, cones, tables, chairs, shelves. For training alone."""

from __future__ import annotations

import numpy as np

from nano_lab.world.extrude import any_turns, jitter, unit_sphere


def furniture(rng: np.random.Generator, batch: int, count: int) -> np.ndarray:
    """Clouds ``[batch, count, 3]`` on the surfaces of such shapes, turned any way, in the unit sphere."""
    makers = (_boxes, _ring, _cone, _table, _chair, _shelf)
    if not batch:
        return np.empty((0, count, 3), np.float32)
    points = np.stack([makers[int(rng.integers(len(makers)))](rng, count) for _ in range(batch)])
    stretch = rng.uniform(0.6, 1.0, (batch, 1, 3))
    turned = (points * stretch).astype(np.float32) @ any_turns(rng, batch)
    return unit_sphere(jitter(turned, rng))


def _on_boxes(
    rng: np.random.Generator, count: int, boxes: list[tuple[list[float], list[float]]]
) -> np.ndarray:
    """Points on boxes given by centre and half sizes, by surface."""
    centre, half = (np.array(values, float) for values in zip(*boxes, strict=True))
    faces = np.stack([half[:, 1] * half[:, 2], half[:, 0] * half[:, 2], half[:, 0] * half[:, 1]], 1)
    box = rng.choice(len(boxes), count, p=faces.sum(1) / faces.sum())
    share = faces[box] / faces[box].sum(1, keepdims=True)
    axis = (rng.random((count, 1)) > share.cumsum(1)).sum(1).clip(max=2)
    points = rng.uniform(-1.0, 1.0, (count, 3))
    points[np.arange(count), axis] = rng.choice([-1.0, 1.0], count)
    return points * half[box] + centre[box]


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    number = int(rng.integers(1, 4))
    return _on_boxes(
        rng,
        count,
        [(rng.uniform(-0.6, 0.6, 3).tolist(), rng.uniform(0.15, 0.7, 3).tolist()) for _ in range(number)],
    )


def _ring(rng: np.random.Generator, count: int) -> np.ndarray:
    around, across = rng.uniform(0.0, 2 * np.pi, (2, count))
    thick = rng.uniform(0.1, 0.45)
    reach = 1.0 + thick * np.cos(across)
    return np.stack([reach * np.cos(around), reach * np.sin(around), thick * np.sin(across)], 1)


def _cone(rng: np.random.Generator, count: int) -> np.ndarray:
    """A cone, a cut cone or a cylinder."""
    top = rng.choice([0.0, rng.uniform(0.2, 0.9), 1.0])
    height = np.sqrt(rng.random(count)) if top == 0.0 else rng.random(count)
    around = rng.uniform(0.0, 2 * np.pi, count)
    reach = top + (1.0 - top) * height
    return np.stack(
        [reach * np.cos(around), reach * np.sin(around), rng.uniform(1.0, 2.5) * (0.5 - height)], 1
    )


def _table(rng: np.random.Generator, count: int) -> np.ndarray:
    wide, deep, high = rng.uniform(0.6, 1.0), rng.uniform(0.4, 0.9), rng.uniform(0.3, 0.6)
    leg = rng.uniform(0.03, 0.09)
    legs = [
        ([sx * (wide - leg), -high, sy * (deep - leg)], [leg, high, leg]) for sx in (-1, 1) for sy in (-1, 1)
    ]
    return _on_boxes(rng, count, [([0.0, 0.0, 0.0], [wide, rng.uniform(0.03, 0.08), deep]), *legs])


def _chair(rng: np.random.Generator, count: int) -> np.ndarray:
    side, high, back = rng.uniform(0.35, 0.55), rng.uniform(0.3, 0.5), rng.uniform(0.35, 0.6)
    leg = rng.uniform(0.03, 0.07)
    parts = [
        ([sx * (side - leg), -high, sy * (side - leg)], [leg, high, leg]) for sx in (-1, 1) for sy in (-1, 1)
    ]
    seat = ([0.0, 0.0, 0.0], [side, 0.05, side])
    return _on_boxes(rng, count, [seat, ([0.0, back, -side], [side, back, 0.05]), *parts])


def _shelf(rng: np.random.Generator, count: int) -> np.ndarray:
    wide, high, deep = rng.uniform(0.4, 0.8), rng.uniform(0.6, 1.0), rng.uniform(0.15, 0.35)
    boards = [([0.0, y, 0.0], [wide, 0.03, deep]) for y in np.linspace(-high, high, int(rng.integers(2, 6)))]
    sides = [([sx * wide, 0.0, 0.0], [0.03, high, deep]) for sx in (-1, 1)]
    return _on_boxes(rng, count, [*boards, *sides])
