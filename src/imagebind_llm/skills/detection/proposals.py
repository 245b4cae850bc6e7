"""What may propose boxes: the contract, and what it gives."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from imagebind_llm.skills.detection.boxes import Floats, areas, clipped, suppress

LEAST_SIDE = 3.0
"""Pixels; a box that is smaller on either side shows nothing."""
SAME = 0.9
"""Two proposals that overlap more (intersection over union) are one."""


@dataclass(frozen=True)
class Proposals:
    """Boxes that may hold a thing, of whatever kind.

    Attributes:
        boxes: ``[n, 4]`` pixels (x0, y0, x1, y1), inside of the picture.
        objectness: ``[n]``, 0 … 1, not increasing.
    """

    boxes: Floats
    objectness: Floats

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def of(cls, boxes: Floats, objectness: Floats, size: tuple[int, int]) -> "Proposals":
        """Clip to a picture of ``size`` (width, height), drop slivers, join equal ones, sort.

        Raises:
            ValueError: numbers that are not finite, or other shapes.
        """
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        objectness = np.asarray(objectness, dtype=np.float64).reshape(-1)
        if len(boxes) != len(objectness) or not (np.isfinite(boxes).all() and np.isfinite(objectness).all()):
            raise ValueError(f"{len(boxes)} boxes, {len(objectness)} values; expected as many, all finite")
        boxes = clipped(boxes, *size)
        sides = boxes[:, 2:] - boxes[:, :2]
        whole = (sides >= np.minimum(LEAST_SIDE, size)).all(axis=1) & (areas(boxes) > 0)
        boxes, objectness = boxes[whole], np.clip(objectness[whole], 0.0, 1.0)
        kept = suppress(boxes, objectness, SAME)
        return cls(boxes[kept], objectness[kept])

    def first(self, count: int) -> "Proposals":
        """Those with the highest objectness."""
        return Proposals(self.boxes[:count], self.objectness[:count])


class Proposer(Protocol):
    """Finds places where something is, without knowing what."""

    def propose(self, picture: Image.Image, most: int) -> Proposals:
        """At most ``most`` boxes of an RGB picture, best first; there may be none."""
        ...
