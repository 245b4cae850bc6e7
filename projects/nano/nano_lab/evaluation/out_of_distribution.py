"""Far-off input that was made without the training code: what somebody would try to catch nano out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from imagebind_llm.common.modality import Modality
from imagebind_llm.media import load_media
from nano_lab.evaluation.sets import UNKNOWN_SUFFIX, RawSet
from nano_lab.world.concepts import UNCLEAR
from nano_lab.world.senses import World
from nano_lab.world.sounds import load_other_sounds
from nano_lab.world.unclear import unclear_images

COPIES = 30
"""Items of each plain kind."""

OTHER_ANIMALS = "audio: other animals"

_DRAWN = 200  # pictures from the training generator, with a seed of their own
_RATE = 16_000

Make = Callable[[np.random.Generator], Any]


def _noise_picture(rng: np.random.Generator) -> np.ndarray:
    side = int(rng.integers(32, 257))
    return rng.integers(0, 256, (side, side, 3), dtype=np.uint8)


def _page(rng: np.random.Generator) -> np.ndarray:
    """A sheet of paper: nearly one colour."""
    side, shade = int(rng.integers(32, 257)), int(rng.integers(200, 256))
    return np.full((side, side, 3), shade, np.uint8)


def _black(rng: np.random.Generator) -> np.ndarray:
    return np.full((64, 64, 3), int(rng.integers(0, 12)), np.uint8)


def _white_noise(rng: np.random.Generator) -> np.ndarray:
    seconds, level = rng.uniform(1.0, 4.0), 10 ** rng.uniform(-2.0, -0.5)
    return np.clip(level * rng.standard_normal(int(seconds * _RATE)), -1, 1).astype(np.float32)


def _silence(rng: np.random.Generator) -> np.ndarray:
    return np.zeros(int(rng.uniform(1.0, 4.0) * _RATE), np.float32)


def _cloud(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((2048, 3)).astype(np.float32)


def _wall(rng: np.random.Generator) -> np.ndarray:
    return np.full((64, 64), rng.uniform(0.5, 4.0), np.float32)


def _depth_noise(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.5, 4.0, (64, 64)).astype(np.float32)


def _even_warmth(rng: np.random.Generator) -> np.ndarray:
    return (rng.uniform(15.0, 35.0) + 0.05 * rng.standard_normal((64, 64))).astype(np.float32)


def _heat_noise(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(15.0, 35.0, (64, 64)).astype(np.float32)


def _at_rest(rng: np.random.Generator) -> np.ndarray:
    still = np.tile(np.array([0.0, 9.81, 0.0, 0.0, 0.0, 0.0]), (2000, 1))
    return (still + 0.02 * rng.standard_normal((2000, 6))).astype(np.float32)


def _shaking(rng: np.random.Generator) -> np.ndarray:
    still = np.array([0.0, 9.81, 0.0, 0.0, 0.0, 0.0])
    return (still + rng.standard_normal((2000, 6)) * [3, 3, 3, 1, 1, 1]).astype(np.float32)


def _noise_film(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)


def _empty_film(rng: np.random.Generator) -> np.ndarray:
    return np.full((20, 64, 64, 3), int(rng.integers(0, 256)), np.uint8)


PLAIN: dict[str, tuple[Modality, Make]] = {
    "image: noise": (Modality.IMAGE, _noise_picture),
    "image: blank page": (Modality.IMAGE, _page),
    "image: black": (Modality.IMAGE, _black),
    "audio: white noise": (Modality.AUDIO, _white_noise),
    "audio: silence": (Modality.AUDIO, _silence),
    "point: cloud": (Modality.POINT, _cloud),
    "depth: wall": (Modality.DEPTH, _wall),
    "depth: noise": (Modality.DEPTH, _depth_noise),
    "thermal: even": (Modality.THERMAL, _even_warmth),
    "thermal: noise": (Modality.THERMAL, _heat_noise),
    "imu: at rest": (Modality.IMU, _at_rest),
    "imu: shaking": (Modality.IMU, _shaking),
    "video: noise": (Modality.VIDEO, _noise_film),
    "video: empty": (Modality.VIDEO, _empty_film),
}
"""Name → modality and a maker of raw media as ``load_media`` takes them."""


def out_of_distribution_sets(world: World, seed: int, copies: int = COPIES) -> Iterator[RawSet]:
    """Plain noise and emptiness for every modality, drawn far-off pictures, and other animals' calls.

    Args:
        world: the test split.
        seed: of everything random.
        copies: items of each plain kind, and most items of the other sets' share (see the module).
    """

    def made(name: str, modality: Modality, sources: list[Any]) -> RawSet:
        tensors = [load_media(modality, source, world.settings) for source in sources]
        return RawSet(name, modality, np.full(len(tensors), UNCLEAR, np.int64), tensors)

    for number, (name, (modality, make)) in enumerate(PLAIN.items()):
        rng = np.random.default_rng((seed, 100 + number))
        yield made(name, modality, [make(rng) for _ in range(copies)])
    rng = np.random.default_rng((seed, 99))
    drawn = unclear_images(rng, min(_DRAWN, copies * 10), world.images.pixels)
    yield made("image" + UNKNOWN_SUFFIX, Modality.IMAGE, list(drawn))
    yield made(OTHER_ANIMALS, Modality.AUDIO, load_other_sounds(world.root, world.split).waves)
