"""Fixed test sets: raw media of every sense, made from the test split, and the tensors nano gets from them.

The tensors come from the same media pipeline that reads a user's file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.media import load_media
from nano_lab.world.concepts import UNCLEAR
from nano_lab.world.extrude import extruded_points, unclear_points
from nano_lab.world.film import film_frames
from nano_lab.world.heat import heat_picture, unclear_heat
from nano_lab.world.motion import unclear_motion, writing_motion
from nano_lab.world.noises import unclear_wave
from nano_lab.world.relief import relief_depth, unclear_depth
from nano_lab.world.senses import World
from nano_lab.world.unclear import unclear_images

DERIVED_CAP = 1000
"""Most derived items in a test set."""

_UNCLEAR_SHARE = 10  # one unclear item for so many derived ones
_MAP_SIZE = 64  # pixels of derived depth and thermal pictures: the pipeline has to scale them
_RAW_POINTS = 2048
_MOST_FILMS = 400  # a film is a third of a megabyte

_Raw = tuple[str, int, np.ndarray, int]
"""Kind, label, raw media, row of the picture it is derived from or -1."""


@dataclass(frozen=True)
class TestItem:
    """One thing to recognise.

    Attributes:
        kind: where it comes from: ``fsdd``, ``animals``, ``shapes``, ``derived digits``,
            ``derived photos`` or ``unclear``.
        label: concept id.
        source: raw media as ``load_media`` takes it: wave ``[n]`` at 16 kHz, points ``[n, 3]``, depth in
            metres or temperatures in °C ``[H, W]``, readings ``[2000, 6]``, frames ``[T, H, W, 3]``.
        tensor: what the media pipeline makes of it, without a batch axis.
        image_index: row of ``World.images`` it is derived from, or -1.
    """

    __test__ = False  # not a test class, whatever its name suggests to a collector

    kind: str
    label: int
    source: np.ndarray
    tensor: torch.Tensor
    image_index: int


def modality_test_set(
    world: World, modality: Modality, seed: int = 0, cap: int = DERIVED_CAP
) -> list[TestItem]:
    """Everything to test one sense with; equal seeds give equal sets.

    Args:
        world: the world's test split.
        modality: audio, point, depth, thermal, imu or video.
        seed: of the derivations and of the choice of pictures.
        cap: most derived items (and a tenth as many unclear ones); recordings and shapes are always all used.

    Raises:
        UserError: another modality, or a world that is not the test split.
    """
    if world.split != "test":
        raise UserError(f"test sets are made from the test split; this world is the {world.split} split")
    makers: dict[Modality, Callable[[World, np.random.Generator, int], Iterator[_Raw]]] = {
        Modality.AUDIO: _sounds,
        Modality.POINT: _points,
        Modality.DEPTH: _depths,
        Modality.THERMAL: _heats,
        Modality.IMU: _motions,
        Modality.VIDEO: _films,
    }
    if modality not in makers:
        raise UserError(f"no test set for {modality!s}; there are sets for: {', '.join(makers)}")
    rng = np.random.default_rng(seed)
    items = []
    for kind, label, source, row in makers[modality](world, rng, cap):
        given: Any = source
        items.append(TestItem(kind, label, source, load_media(modality, given, world.settings), row))
    return items


def _unclear_count(cap: int) -> int:
    return max(1, cap // _UNCLEAR_SHARE)


def _chosen_digits(world: World, rng: np.random.Generator, cap: int) -> np.ndarray:
    rows = world.images.rows_of("mnist")
    return np.sort(rng.choice(rows, min(cap, len(rows)), replace=False))


def _derived(world: World, rows: np.ndarray, media: np.ndarray, unclear: np.ndarray) -> Iterator[_Raw]:
    for row, source in zip(rows, media, strict=True):
        yield "derived digits", int(world.images.labels[row]), source, int(row)
    for source in unclear:
        yield "unclear", UNCLEAR, source, -1


def _sounds(world: World, rng: np.random.Generator, cap: int) -> Iterator[_Raw]:
    sounds = world.sounds
    for wave, label, kind in zip(sounds.waves, sounds.labels, sounds.kind, strict=True):
        yield str(kind), int(label), wave, -1
    for _ in range(_unclear_count(cap)):
        yield "unclear", UNCLEAR, unclear_wave(rng, float(rng.uniform(0.5, 5.0))), -1


def _points(world: World, rng: np.random.Generator, cap: int) -> Iterator[_Raw]:
    for cloud, label in zip(world.shapes.points, world.shapes.labels, strict=True):
        yield "shapes", int(label), cloud, -1
    rows = _chosen_digits(world, rng, cap)
    ink = torch.from_numpy(world.images.ink(rows))
    clouds = extruded_points(ink, rng, _RAW_POINTS)
    yield from _derived(world, rows, clouds, unclear_points(rng, _unclear_count(cap), _RAW_POINTS))


def _depths(world: World, rng: np.random.Generator, cap: int) -> Iterator[_Raw]:
    rows = _chosen_digits(world, rng, cap)
    metres = relief_depth(torch.from_numpy(world.images.ink(rows)), rng, _MAP_SIZE).numpy()
    yield from _derived(world, rows, metres, unclear_depth(rng, _unclear_count(cap), _MAP_SIZE).numpy())


def _heats(world: World, rng: np.random.Generator, cap: int) -> Iterator[_Raw]:
    rows = _chosen_digits(world, rng, cap)
    celsius = heat_picture(torch.from_numpy(world.images.ink(rows)), rng, _MAP_SIZE).numpy()
    yield from _derived(world, rows, celsius, unclear_heat(rng, _unclear_count(cap), _MAP_SIZE).numpy())


def _motions(world: World, rng: np.random.Generator, cap: int) -> Iterator[_Raw]:
    imu = world.settings.imu
    rows = _chosen_digits(world, rng, cap)
    readings = writing_motion(world.pen_paths(rows), rng, imu.samples, imu.rate_hz)
    yield from _derived(
        world, rows, readings, unclear_motion(rng, _unclear_count(cap), imu.samples, imu.rate_hz)
    )


def _films(world: World, rng: np.random.Generator, cap: int) -> Iterator[_Raw]:
    each = min(cap, _MOST_FILMS) // 2
    settings = world.settings.video
    for kind, source in (("derived digits", "mnist"), ("derived photos", "cifar10")):
        rows = world.images.rows_of(source)
        for row in np.sort(rng.choice(rows, min(each, len(rows)), replace=False)):
            label = int(world.images.labels[row])
            yield kind, label, film_frames(world.images.pixels[row], label, rng, settings), int(row)
    for pixels in unclear_images(rng, _unclear_count(cap), world.images.pixels):
        yield "unclear", UNCLEAR, film_frames(pixels, UNCLEAR, rng, settings), -1
