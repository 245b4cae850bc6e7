"""Boxes without a network: regions that differ from the ground they lie on.

For scenes of separate things on a fairly even ground, as nano's are. A smooth surface is fitted to the
picture (its colours may change slowly, as light does), and what differs from it by more than the ground's own
grain is cut into connected regions. It is not known how much a thing differs, nor how wide the gaps inside of
it are, so that several thresholds and gaps are tried, and a box counts the more, the more of them find it
(Matas et al. 2002 call such regions maximally stable). Edges are treated alike, filled where they close: a
photograph on a ground of its own colour has them.

For crowded photographs use a trained detector (:mod:`.zero_shot`).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagebind_llm.common.errors import require
from imagebind_llm.skills.detection.boxes import Floats, areas, overlaps
from imagebind_llm.skills.detection.proposals import Proposals

_SIDE = 256
"""Longer pictures are looked at in this size: things are found by their outlines, not by their detail."""
_ROUNDS = 8
"""Of fitting the ground; each leaves out what differs from the last fit."""
_THRESHOLDS = (2.5, 4.0, 6.0, 10.0, 16.0)
"""In standard deviations of the ground's grain."""
_GAPS = (0, 1, 2, 4)
"""Pixels (of :data:`_SIDE`) that are closed around each region's edge, so that strokes of one sign join."""
_GRAIN = 1.0 / 255
"""Least deviation of a ground: the steps of an 8-bit picture."""
_LEAST, _MOST = 0.0008, 0.5
"""Share of the picture that a region's box may have. More is the ground, less is grain."""
_AGREE = 0.8
"""Overlap (intersection over union) from which two boxes found by different means are the same."""


class RegionProposer:
    """See the module. It needs SciPy (the extra ``detect``).

    Raises:
        MissingExtraError: it is not installed.
    """

    def __init__(self) -> None:
        self._ndimage: Any = require("scipy.ndimage", "detect", "finding regions")

    def propose(self, picture: Image.Image, most: int) -> Proposals:
        """At most ``most`` boxes of an RGB picture; objectness is the share of means that found each."""
        scale = min(1.0, _SIDE / max(picture.size))
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        small = picture if scale == 1.0 else picture.resize(size, Image.Resampling.BOX)
        pixels = np.asarray(small, dtype=np.float64) / 255
        found = [self._boxes(mask) for mask in self._masks(pixels)]
        boxes = np.concatenate(found) if found else np.zeros((0, 4))
        share = areas(boxes) / (small.width * small.height)
        boxes = boxes[(share >= _LEAST) & (share <= _MOST)]
        agree = (overlaps(boxes, boxes) >= _AGREE).sum(axis=1) / max(1, len(found))
        factors = np.array([picture.width / small.width, picture.height / small.height] * 2)
        return Proposals.of(boxes * factors, np.minimum(agree, 1.0), picture.size).first(most)

    def _masks(self, pixels: Floats) -> Iterator[NDArray[np.bool_]]:
        """Where something may be, by each means."""
        difference = self._smooth(np.abs(pixels - ground(pixels)).max(axis=2))
        edges = np.max(
            [self._ndimage.gaussian_gradient_magnitude(pixels[..., one], 1.0) for one in range(3)], axis=0
        )
        for values in (difference, edges):
            middle = float(np.median(values))
            grain = max(1.4826 * float(np.median(np.abs(values - middle))), _GRAIN)
            for threshold in _THRESHOLDS:
                mask = values > middle + threshold * grain
                for gap in _GAPS:
                    yield self._closed(mask, gap)

    def _smooth(self, values: Floats) -> Floats:
        return np.asarray(self._ndimage.gaussian_filter(values, 0.7))

    def _closed(self, mask: NDArray[np.bool_], gap: int) -> NDArray[np.bool_]:
        """Gaps of up to twice ``gap`` pixels joined, holes filled."""
        if gap:
            padded = np.pad(mask, gap)
            size = 2 * gap + 1
            wide = self._ndimage.maximum_filter(padded, size)
            mask = self._ndimage.minimum_filter(wide, size)[gap:-gap, gap:-gap]
        return np.asarray(self._ndimage.binary_fill_holes(mask))

    def _boxes(self, mask: NDArray[np.bool_]) -> Floats:
        """The box of each connected region (diagonals connect), ``[n, 4]``."""
        labels, _ = self._ndimage.label(mask, structure=np.ones((3, 3)))
        found = self._ndimage.find_objects(labels)
        boxes = [(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in found]
        return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def ground(pixels: Floats) -> Floats:
    """The surface ``[H, W, 3]`` of second degree in each colour that most pixels lie near.

    Least squares; in each round pixels that differ from the last surface by more than 2.5 deviations (the
    median's) are left out, but never more than half of them.
    """
    height, width = pixels.shape[:2]
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)
    values = pixels.reshape(-1, 3)
    step = max(1, len(values) // 8192)
    chosen, seen = terms[::step], values[::step]
    fit = np.zeros((6, 3))
    fit[0] = np.median(seen, axis=0)
    for _ in range(_ROUNDS):
        away = np.abs(seen - chosen @ fit).max(axis=1)
        near = away <= max(2.5 * 1.4826 * float(np.median(away)), _GRAIN)
        fit = np.linalg.lstsq(chosen[near], seen[near], rcond=None)[0]
    return np.asarray((terms @ fit).reshape(pixels.shape))
