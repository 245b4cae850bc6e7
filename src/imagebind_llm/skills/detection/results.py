"""What a detection found."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image


@dataclass(frozen=True)
class Detection:
    """One box.

    Attributes:
        number: 1 is the best; questions may name it ("box 2").
        box: x0, y0, x1, y1 in pixels of the picture.
        prompt: which prompt it answers, counted from 0.
        label: of that prompt.
        score: 0 … 1, how well it fits (:mod:`.scoring`); less where little speaks for the box.
        similarity: cosine of the box's embedding and the prompt's.
        objectness: 0 … 1, how sure the proposer was that something is there.
        margin: side of the square in which it was most like its prompt, of the box's longer side.
    """

    number: int
    box: tuple[float, float, float, float]
    prompt: int
    label: str
    score: float
    similarity: float
    objectness: float
    margin: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "number": self.number,
            "box": [round(value, 2) for value in self.box],
            "prompt": self.prompt,
            "label": self.label,
            "score": round(self.score, 4),
            "similarity": round(self.similarity, 4),
            "objectness": round(self.objectness, 4),
        }


@dataclass(frozen=True)
class Detections:
    """The boxes of one picture, best first.

    Attributes:
        picture: upright RGB; boxes are in its pixels.
        labels: of all prompts, in their order.
        found: the boxes.
        proposed: how many boxes were looked at.
    """

    picture: Image.Image
    labels: tuple[str, ...]
    found: tuple[Detection, ...]
    proposed: int

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Detection]:
        return iter(self.found)

    def __getitem__(self, place: int) -> Detection:
        return self.found[place]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "width": self.picture.width,
            "height": self.picture.height,
            "prompts": list(self.labels),
            "proposed": self.proposed,
            "detections": [one.to_dict() for one in self.found],
        }
