"""Arithmetic of boxes ``[n, 4]`` (x0, y0, x1, y1; pixels; x1 and y1 are the first column and row outside)."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]


def areas(boxes: Floats) -> Floats:
    """``[n]`` in square pixels; 0 for boxes that are turned inside out."""
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None)
    return np.asarray(sides[:, 0] * sides[:, 1])


def overlaps(first: Floats, second: Floats) -> Floats:
    """Intersection over union of each pair, ``[n, m]``, 0 … 1; 0 for two boxes without area."""
    common = intersections(first, second)
    union = areas(first)[:, None] + areas(second)[None, :] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def intersections(first: Floats, second: Floats) -> Floats:
    """The area that each pair shares, ``[n, m]``."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.clip(high - low, 0.0, None)
    return np.asarray(sides[..., 0] * sides[..., 1])


def suppress(boxes: Floats, scores: Floats, most: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: the rows that stay, best first.

    Args:
        boxes: ``[n, 4]``.
        scores: ``[n]``. Of equal ones the earlier row goes first.
        most: a box goes if its overlap with a better one that stays is larger.
    """
    order = np.argsort(-scores, kind="stable")
    overlap = overlaps(boxes, boxes)
    kept: list[int] = []
    gone = np.zeros(len(boxes), dtype=bool)
    for row in order:
        if not gone[row]:
            kept.append(int(row))
            gone |= overlap[row] > most
    return np.array(kept, dtype=np.intp)


def clipped(boxes: Floats, width: int, height: int) -> Floats:
    """The part of each box inside of a picture."""
    edges = np.array([width, height, width, height], dtype=np.float64)
    return np.clip(boxes, 0.0, edges)


def squared(box: Floats, grow: float) -> Floats:
    """The square ``[4]`` around the middle of a box, its side the longer one times ``grow``."""
    middle = (box[:2] + box[2:]) / 2
    half = float((box[2:] - box[:2]).max()) * grow / 2
    return np.concatenate([middle - half, middle + half])


def cut(picture: Image.Image, box: Floats) -> Image.Image:
    """The pixels of a box. Where it reaches outside, the picture's border is continued.

    A box has at least one pixel.
    """
    left, top = (int(value) for value in np.floor(box[:2] + 0.5))
    right, bottom = (int(value) for value in np.floor(box[2:] + 0.5))
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    if left >= 0 and top >= 0 and right <= picture.width and bottom <= picture.height:
        return picture.crop((left, top, right, bottom))
    inside = (
        min(max(left, 0), picture.width - 1),
        min(max(top, 0), picture.height - 1),
        max(min(right, picture.width), 1),
        max(min(bottom, picture.height), 1),
    )
    pixels = np.asarray(picture.crop(inside))
    before = inside[1] - top, inside[0] - left
    after = bottom - inside[3], right - inside[2]
    sides = [(max(0, before[axis]), max(0, after[axis])) for axis in (0, 1)]
    return Image.fromarray(np.pad(pixels, [*sides, (0, 0)], mode="edge"))
