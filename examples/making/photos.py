"""Where the things stand: pictures that look like small photographs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from making.animals import bird, dog, horse
from making.render import Scene, Solid, photograph, pose
from making.vehicles import airplane, car, ship, truck


def lift(solids: list[Solid], height: float) -> list[Solid]:
    """The same, higher up."""
    shift = np.array([0.0, height, 0.0])
    return [
        Solid(lambda p, d=part.distance: d(p - shift), part.colour, part.shine, part.mottle, part.blend)
        for part in solids
    ]


_GRASS, _ROAD, _SEA, _SAND = (0.16, 0.27, 0.06), (0.26, 0.26, 0.27), (0.03, 0.13, 0.2), (0.55, 0.47, 0.34)
_BUSHES: dict[str, Any] = {"sky_high": (0.2, 0.32, 0.12), "sky_low": (0.3, 0.4, 0.18), "clouds": 0.5}

SCENES: dict[str, Callable[[], Scene]] = {
    "airplane_1": lambda: Scene(
        pose(airplane(), -24, 6), None, clouds=0.35, eye=(0, -0.5, 5.4), view=39, sky_low=(0.6, 0.75, 0.95)
    ),
    "airplane_2": lambda: Scene(
        pose(airplane(stripe=(0.6, 0.08, 0.06)), 12),
        _ROAD,
        -0.42,
        0.1,
        eye=(0, 0.5, 5.4),
        view=34,
        clouds=0.15,
    ),
    "airplane_3": lambda: Scene(
        pose(airplane((0.55, 0.58, 0.62)), 30, 14),
        None,
        clouds=0.0,
        eye=(0, -1.6, 5.2),
        view=34,
        sky_high=(0.16, 0.36, 0.75),
    ),
    "ship_1": lambda: Scene(
        ship(), _SEA, 0.0, water=True, eye=(-0.6, 0.9, 5.6), look=(0, 0.35, 0), view=37, clouds=0.2
    ),
    "ship_2": lambda: Scene(
        pose(ship((0.05, 0.08, 0.2), cargo=False), -18),
        _SEA,
        0.0,
        water=True,
        eye=(0, 0.7, 5.4),
        look=(0, 0.4, 0),
        view=38,
        clouds=0.4,
    ),
    "ship_3": lambda: Scene(
        pose(ship((0.9, 0.9, 0.92), cargo=False), 14),
        (0.05, 0.2, 0.3),
        0.0,
        water=True,
        eye=(0, 1.1, 5.4),
        look=(0, 0.4, 0),
        view=36,
        clouds=0.1,
    ),
    "automobile_1": lambda: Scene(
        pose(car(), 32), _ROAD, -0.5, 0.12, eye=(0, 0.75, 5.0), look=(0, -0.1, 0), view=34, clouds=0.4
    ),
    "automobile_2": lambda: Scene(
        pose(car((0.05, 0.12, 0.4)), -28),
        _ROAD,
        -0.5,
        0.12,
        eye=(0, 0.6, 5.0),
        look=(0, -0.1, 0),
        view=34,
        sky_high=(0.55, 0.6, 0.65),
        sky_low=(0.8, 0.8, 0.8),
    ),
    "automobile_3": lambda: Scene(
        pose(car((0.75, 0.75, 0.77)), 6),
        (0.3, 0.3, 0.31),
        -0.5,
        0.1,
        eye=(0, 0.4, 5.0),
        look=(0, -0.05, 0),
        view=34,
        **_BUSHES,
    ),
    "truck_1": lambda: Scene(
        pose(truck(), 30), _ROAD, -0.71, 0.12, eye=(0, 0.5, 5.4), look=(0, 0.05, 0), view=36, clouds=0.3
    ),
    "truck_2": lambda: Scene(
        pose(truck((0.85, 0.85, 0.86), (0.8, 0.8, 0.8)), 38),
        _ROAD,
        -0.71,
        0.12,
        eye=(0, 0.3, 5.4),
        look=(0, 0.05, 0),
        view=35,
        clouds=0.5,
    ),
    "truck_3": lambda: Scene(
        pose(truck((0.1, 0.2, 0.5), (0.55, 0.56, 0.58)), 10),
        (0.34, 0.31, 0.26),
        -0.71,
        0.2,
        eye=(0, 0.4, 5.4),
        look=(0, 0.05, 0),
        view=36,
        clouds=0.1,
    ),
    "bird_1": lambda: Scene(bird(), None, eye=(0, 0.1, 4.6), look=(0.05, -0.05, 0), view=34, **_BUSHES),
    "bird_2": lambda: Scene(
        bird((0.3, 0.32, 0.36), (0.6, 0.6, 0.6)),
        None,
        clouds=0.2,
        eye=(0, 0.0, 4.6),
        look=(0.05, -0.05, 0),
        view=34,
    ),
    "bird_3": lambda: Scene(
        lift(bird((0.25, 0.16, 0.1), (0.6, 0.5, 0.4))[:-1], 0.0),
        _SAND,
        -0.78,
        0.2,
        eye=(0, 0.4, 4.6),
        look=(0.05, -0.05, 0),
        view=34,
        clouds=0.0,
    ),
    "horse_1": lambda: Scene(
        pose(horse((0.3, 0.13, 0.05), (0.04, 0.03, 0.03)), 12),
        _GRASS,
        -1.1,
        0.4,
        eye=(0, 0.3, 5.6),
        look=(-0.1, -0.1, 0),
        view=33,
        clouds=0.3,
    ),
    "horse_2": lambda: Scene(
        pose(horse((0.6, 0.58, 0.55), (0.75, 0.73, 0.7)), -15),
        _GRASS,
        -1.1,
        0.4,
        eye=(0, 0.6, 5.6),
        look=(-0.1, -0.1, 0),
        view=33,
        **_BUSHES,
    ),
    "dog_1": lambda: Scene(dog(), None, eye=(0.3, 0.2, 4.6), look=(0, -0.12, 0), view=27, **_BUSHES),
    "dog_2": lambda: Scene(
        dog((0.75, 0.7, 0.62), (0.45, 0.3, 0.15)),
        None,
        sky_high=(0.4, 0.3, 0.24),
        sky_low=(0.5, 0.4, 0.32),
        clouds=0.2,
        eye=(-0.5, 0.3, 4.6),
        look=(0, -0.12, 0),
        view=27,
    ),
}
"""Every picture that can be taken: the thing's name and a number."""


def take(name: str, seed: int, size: int = 256) -> Image.Image:
    """One of the pictures."""
    return photograph(SCENES[name](), np.random.default_rng([seed, *name.encode()]), size)
