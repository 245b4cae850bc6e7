"""Average precision of boxes, by COCO's own scorer (pycocotools), with bootstrap intervals.

AP50 counts a box as right that overlaps its thing by half (intersection over union); AP is the mean over the
overlaps 0.5, 0.55 … 0.95. Both are means over categories. Intervals come from drawing pictures with
replacement.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagebind_llm.common.errors import require
from imagebind_llm.evaluation.bootstrap import Estimate

DRAWS = 300
"""Of the bootstrap. Each draw sorts all boxes anew, so that they are fewer than those of other metrics."""


def box_scores(
    truth: Mapping[str, Any], found: Sequence[Mapping[str, Any]], draws: int = DRAWS, seed: int = 0
) -> dict[str, Any]:
    """Score boxes.

    Args:
        truth: COCO's ``images``, ``annotations`` and ``categories``.
        found: COCO's results: ``image_id``, ``category_id``, ``bbox`` (x, y, width, height), ``score``.
        draws: of the bootstrap.
        seed: of the draws.

    Returns:
        ``AP50`` and ``AP`` (:class:`~imagebind_llm.evaluation.bootstrap.Estimate`; NaN where no category has
        a thing), ``by_category`` (name → AP50, None for one without a thing), ``images``, ``things``.

    Raises:
        MissingExtraError: pycocotools is not installed.
    """
    module = require("pycocotools.cocoeval", "eval", "average precision")
    per_image, images = _matched(module, truth, found)
    categories = [category["id"] for category in truth["categories"]]
    whole = _precision(module, per_image, categories, np.arange(images))
    random = np.random.default_rng(seed)
    drawn = np.array(
        [
            _means(_precision(module, per_image, categories, random.integers(0, images, images)))
            for _ in range(draws)
        ]
    ).reshape(-1, 2)
    at_half, mean = _means(whole)
    names = {category["id"]: category["name"] for category in truth["categories"]}
    return {
        "AP50": _estimate(at_half, drawn[:, 0]),
        "AP": _estimate(mean, drawn[:, 1]),
        "by_category": {
            names[category]: None if np.isnan(whole[0, place]) else float(whole[0, place])
            for place, category in enumerate(categories)
        },
        "images": images,
        "things": len(truth["annotations"]),
    }


def _matched(
    module: Any, truth: Mapping[str, Any], found: Sequence[Mapping[str, Any]]
) -> tuple[list[list[Any]], int]:
    """What COCO's scorer matches: for each category a list over images."""
    coco = require("pycocotools.coco", "eval", "average precision").COCO
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of each of its steps
        things = coco()
        things.dataset = {"info": {}, **truth}
        things.createIndex()
        boxes = coco()
        annotations = [
            {
                **one,
                "id": number,
                "area": float(one["bbox"][2]) * float(one["bbox"][3]),
                "iscrowd": 0,
            }
            for number, one in enumerate(found, 1)
        ]
        boxes.dataset = {"info": {}, **truth, "annotations": annotations}
        boxes.createIndex()
        scorer = module.COCOeval(things, boxes, "bbox")
        _only_all(scorer.params)
        scorer.params.catIds = [category["id"] for category in truth["categories"]]
        scorer.params.imgIds = [image["id"] for image in truth["images"]]
        scorer.evaluate()
    # it sorts and dedupes ids, which are unique here; order: category, area, image
    images = len(scorer.params.imgIds)
    flat = scorer.evalImgs
    order = {int(category): place for place, category in enumerate(scorer.params.catIds)}
    rows = [order[category["id"]] for category in truth["categories"]]
    return [flat[row * images : (row + 1) * images] for row in rows], images


def _only_all(params: Any) -> None:
    """Things of all sizes alike, at most a hundred boxes of a category in a picture."""
    params.areaRng, params.areaRngLbl, params.maxDets = [[0, 1e10]], ["all"], [100]


def _precision(
    module: Any, per_image: list[list[Any]], categories: Sequence[int], chosen: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Average precision ``[overlaps, categories]`` over chosen images; NaN for a category without things."""
    scorer = module.COCOeval(iouType="bbox")
    _only_all(scorer.params)
    scorer.params.catIds = list(categories)
    scorer.params.imgIds = list(range(len(chosen)))
    scorer.evalImgs = [row[image] for row in per_image for image in chosen]
    scorer._paramsEval = scorer.params
    with contextlib.redirect_stdout(io.StringIO()):
        scorer.accumulate()
    precision = scorer.eval["precision"][:, :, :, 0, 0]  # [overlaps, recalls, categories], -1: no things
    return np.where(precision[:, 0] < 0, np.nan, precision.mean(axis=1))


def _means(precision: NDArray[np.float64]) -> tuple[float, float]:
    """AP50 and AP."""
    known = precision[:, ~np.isnan(precision[0])]
    return (float(known[0].mean()), float(known.mean())) if known.size else (np.nan, np.nan)


def _estimate(value: float, drawn: NDArray[np.float64]) -> Estimate:
    known = drawn[~np.isnan(drawn)]
    if not len(known) or np.isclose(known.min(), known.max()):
        return Estimate(value, np.nan, np.nan)
    low, high = np.quantile(known, [0.025, 0.975])
    return Estimate(value, float(low), float(high))
