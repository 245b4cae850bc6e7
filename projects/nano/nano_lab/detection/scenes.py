"""Scenes: two to five digits and photographs at random places on a ground, with their boxes.

A digit is drawn in a colour of its own, without its paper; its box is that of its ink. A photograph is a
square patch. Boxes do not touch. Nothing here is trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from nano_lab.world.images import ImageSet

Floats = NDArray[np.float64]
SIDES = (144, 224)
"""Least and largest side of a scene in pixels."""
THINGS = (2, 5)
"""Least and largest number of things."""
_SIZES = (32, 68)
"""Least and largest side of a thing in pixels: its own 32, and about twice that."""
_GAP = 5
"""Least pixels between two boxes, and between a box and the border."""
_TRIES = 60
_INKED = 0.25
"""Coverage from which a pixel belongs to a digit's box."""
_CONTRAST = 0.35
"""Least difference in brightness of a digit and the ground under it, 0 … 1."""
_GREY = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Scene:
    """A picture whose things are known.

    Attributes:
        picture: RGB.
        boxes: ``[n, 4]`` pixels (x0, y0, x1, y1).
        labels: ``[n]`` concept ids.
        rows: ``[n]`` which pictures of the image set were placed.
        ground: which kind of ground.
    """

    picture: Image.Image
    boxes: Floats
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]
    ground: str


def compose(images: ImageSet, rng: np.random.Generator, ground: str | None = None) -> Scene:
    """A scene of pictures drawn at random, half of them digits.

    Args:
        images: digits and photographs of one split.
        rng: the only source of randomness.
        ground: one of :data:`GROUNDS`; None: any.
    """
    kind = ground or tuple(GROUNDS)[int(rng.integers(len(GROUNDS)))]
    height, width = (int(side) for side in rng.integers(SIDES[0], SIDES[1] + 1, 2))
    pixels = GROUNDS[kind](images, rng, height, width).clip(0, 1)
    wanted = int(rng.integers(THINGS[0], THINGS[1] + 1))
    boxes: list[tuple[int, int, int, int]] = []
    rows: list[int] = []
    for _ in range(_TRIES):
        if len(rows) == wanted:
            break
        row = int(rng.choice(images.rows_of("mnist" if rng.random() < 0.5 else "cifar10")))
        side = int(rng.integers(_SIZES[0], _SIZES[1] + 1))
        thing = np.asarray(
            Image.fromarray(images.pixels[row]).resize((side, side), Image.Resampling.BICUBIC), np.float64
        )
        digit = images.source[row] == "mnist"
        cover = thing[..., 0] / 255 if digit else np.ones((side, side))
        inked = cover >= _INKED
        down, across = np.flatnonzero(inked.any(1)), np.flatnonzero(inked.any(0))
        if not len(down):
            continue
        thing, cover = (one[down[0] : down[-1] + 1, across[0] : across[-1] + 1] for one in (thing, cover))
        tall, wide = cover.shape
        top = int(rng.integers(_GAP, height - tall - _GAP + 1))
        left = int(rng.integers(_GAP, width - wide - _GAP + 1))
        box = (left, top, left + wide, top + tall)
        if any(_near(box, other) for other in boxes):
            continue
        under = pixels[top : top + tall, left : left + wide]
        colour = _ink(rng, under.mean(axis=(0, 1))) if digit else thing / 255
        under[:] = under + (colour - under) * cover[..., None]
        boxes.append(box)
        rows.append(row)
    return Scene(
        Image.fromarray((pixels * 255).round().astype(np.uint8)),
        np.array(boxes, np.float64).reshape(-1, 4),
        images.labels[rows],
        np.array(rows, np.int64),
        kind,
    )


def _near(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return (
        one[0] < other[2] + _GAP
        and other[0] < one[2] + _GAP
        and one[1] < other[3] + _GAP
        and other[1] < one[3] + _GAP
    )


def _ink(rng: np.random.Generator, ground: Floats) -> Floats:
    """A colour ``[3]`` whose brightness differs enough from the ground's."""
    for _ in range(200):
        colour = rng.random(3)
        if abs(float((colour - ground) @ _GREY)) >= _CONTRAST:
            return colour
    return np.zeros(3) if float(ground @ _GREY) > 0.5 else np.ones(3)


def _plain(images: ImageSet, rng: np.random.Generator, height: int, width: int) -> Floats:
    colour = rng.choice([np.zeros(3), np.ones(3), rng.random(3)])
    return np.tile(colour, (height, width, 1)).astype(np.float64)


def _slope(images: ImageSet, rng: np.random.Generator, height: int, width: int) -> Floats:
    """One colour in uneven light."""
    light = np.linspace(-1, 1, height)[:, None] * rng.uniform(-0.2, 0.2)
    light = light + np.linspace(-1, 1, width)[None, :] * rng.uniform(-0.2, 0.2)
    return np.asarray(rng.uniform(0.15, 0.85, 3) + light[..., None])


def _grain(images: ImageSet, rng: np.random.Generator, height: int, width: int) -> Floats:
    """Paper with grain."""
    grain = rng.normal(0, rng.uniform(0.02, 0.08), (height, width, 1))
    return np.asarray(rng.uniform(0.2, 0.9, 3) + grain)


def _clouds(images: ImageSet, rng: np.random.Generator, height: int, width: int) -> Floats:
    """Soft spots of two colours."""
    spots = Image.fromarray((rng.random((6, 6)) * 255).astype(np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    share = np.asarray(spots, np.float64)[..., None] / 255
    first = rng.uniform(0.2, 0.8, 3)
    return np.asarray(first + share * rng.uniform(-0.25, 0.25, 3))


def _blurred(images: ImageSet, rng: np.random.Generator, height: int, width: int) -> Floats:
    """A photograph out of focus, with half its contrast: colours, but nothing to recognise."""
    row = int(rng.choice(images.rows_of("cifar10")))
    photo = Image.fromarray(images.pixels[row]).filter(ImageFilter.GaussianBlur(3))
    pixels = np.asarray(photo.resize((width, height), Image.Resampling.BICUBIC), np.float64) / 255
    return np.asarray(pixels * 0.5 + 0.25)


GROUNDS: dict[str, Callable[[ImageSet, np.random.Generator, int, int], Floats]] = {
    "plain": _plain,
    "slope": _slope,
    "grain": _grain,
    "clouds": _clouds,
    "blurred": _blurred,
}
"""Kinds of ground: ``[height, width, 3]`` in about 0 … 1."""
