"""What training shows beside nano's things, so that doubt is honest: the far-off pictures and closer ones."""

from __future__ import annotations

import numpy as np

from nano_lab.world.copies import stored
from nano_lab.world.drawings import drawings
from nano_lab.world.images import CANVAS
from nano_lab.world.photographs import crops
from nano_lab.world.unclear import unclear_images

_PHOTOGRAPHS = 0.55
"""Share of real photographs of other things, where there are any: they are what is taken for a cat."""
_DRAWINGS = 0.5
"""Share of drawings in the rest."""


def strange_images(
    rng: np.random.Generator,
    count: int,
    material: np.ndarray | None = None,
    photographs: np.ndarray | None = None,
) -> np.ndarray:
    """``count`` pictures of no known thing, uint8 ``[count, 32, 32, 3]``.

    Args:
        rng: the only source of randomness.
        count: how many.
        material: pictures of known things to cut up and shuffle, see :func:`unclear_images`.
        photographs: photographs of other things, uint8 ``[N, 64, 64, 3]``.
    """
    real = photographs is not None and len(photographs) > 0
    roll = rng.random(count)
    photo = roll < (_PHOTOGRAPHS if real else 0.0)
    drawn = ~photo & (rng.random(count) < _DRAWINGS)
    plain = ~photo & ~drawn
    out = np.empty((count, CANVAS, CANVAS, 3), np.uint8)
    if photo.any() and photographs is not None:
        out[photo] = crops(rng, photographs, rng.integers(0, len(photographs), int(photo.sum())))
    if drawn.any():
        out[drawn] = drawings(rng, int(drawn.sum()))
    if plain.any():
        out[plain] = unclear_images(rng, int(plain.sum()), material)
    return stored(rng, out)
