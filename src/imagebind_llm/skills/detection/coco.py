"""Detections as COCO's JSON: images, annotations, categories.

An annotation's ``bbox`` is x, y, width, height. ``score`` is what COCO's results have and its annotations do
not; readers of either ignore what they do not know. Categories are the prompts, ids from 1.
"""

from collections.abc import Sequence
from typing import Any

from imagebind_llm.skills.detection.results import Detections


def to_coco(names: Sequence[str], pictures: Sequence[Detections]) -> dict[str, Any]:
    """One document for pictures that were searched with the same prompts.

    Args:
        names: of the files.
        pictures: what was found in each.

    Raises:
        ValueError: other numbers of both, or other prompts.
    """
    if len(names) != len(pictures) or len({one.labels for one in pictures}) > 1:
        raise ValueError("expected one name a picture, and the same prompts for all pictures")
    labels = pictures[0].labels if pictures else ()
    annotations: list[dict[str, Any]] = []
    for image, found in enumerate(pictures, 1):
        for one in found:
            x0, y0, x1, y1 = (round(value, 2) for value in one.box)
            width, height = round(x1 - x0, 2), round(y1 - y0, 2)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": one.prompt + 1,
                    "bbox": [x0, y0, width, height],
                    "area": round(width * height, 2),
                    "iscrowd": 0,
                    "score": round(one.score, 6),
                }
            )
    return {
        "images": [
            {"id": number, "file_name": name, "width": found.picture.width, "height": found.picture.height}
            for number, (name, found) in enumerate(zip(names, pictures, strict=True), 1)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": label} for number, label in enumerate(labels, 1)],
    }
