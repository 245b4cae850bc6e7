"""Shares of right answers with their uncertainty.

Intervals are 95 %: Wilson's for one share (good also near 0 and 1 and for few items), and Agresti and Min's
adjusted Wald interval for the difference of two shares over the same items.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Z95 = 1.959963984540054
"""97.5 % point of the normal distribution."""


def wilson(correct: int, count: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of ``correct`` out of ``count``, within 0 … 1.

    Raises:
        ValueError: ``count`` is below 1, or ``correct`` is not in 0 … ``count``.
    """
    if count < 1 or not 0 <= correct <= count:
        raise ValueError(f"{correct} correct of {count}; expected 0 … count of at least 1")
    share = correct / count
    scale = 1 + z * z / count
    centre = (share + z * z / (2 * count)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    low = 0.0 if correct == 0 else max(0.0, centre - half)
    high = 1.0 if correct == count else min(1.0, centre + half)
    return low, high


@dataclass(frozen=True)
class Score:
    """``correct`` of ``count`` items, and the 95 % interval of the share."""

    correct: int
    count: int

    def __post_init__(self) -> None:
        wilson(self.correct, self.count)

    @classmethod
    def of(cls, outcomes: Iterable[bool]) -> Score:
        """The score of single outcomes (at least one)."""
        found = [bool(outcome) for outcome in outcomes]
        return cls(sum(found), len(found))

    @property
    def accuracy(self) -> float:
        """The share, 0 … 1."""
        return self.correct / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval."""
        return wilson(self.correct, self.count)

    def to_dict(self) -> dict[str, Any]:
        """``n``, ``correct``, ``accuracy``, ``low``, ``high``."""
        low, high = self.interval
        return {
            "n": self.count,
            "correct": self.correct,
            "accuracy": round(self.accuracy, 5),
            "low": round(low, 5),
            "high": round(high, 5),
        }


@dataclass(frozen=True)
class Difference:
    """How a second way of asking changes the answers to the same items.

    Attributes:
        gained: items that only the second way gets right.
        lost: items that only the first way gets right.
        count: all items.
    """

    gained: int
    lost: int
    count: int

    @classmethod
    def of(cls, first: Sequence[bool], second: Sequence[bool]) -> Difference:
        """Compare outcomes of the same items in the same order.

        Raises:
            ValueError: the two have different lengths, or none.
        """
        if len(first) != len(second) or not first:
            raise ValueError(f"{len(first)} and {len(second)} outcomes; expected equally many, at least one")
        pairs = list(zip(first, second, strict=True))
        return cls(sum(b and not a for a, b in pairs), sum(a and not b for a, b in pairs), len(pairs))

    @property
    def value(self) -> float:
        """Share of the second minus share of the first, -1 … 1."""
        return (self.gained - self.lost) / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval (Agresti and Min 2005: half an item added to each of the four cells)."""
        gained, lost, count = self.gained + 0.5, self.lost + 0.5, self.count + 2
        centre = (gained - lost) / count
        half = Z95 * math.sqrt(max(0.0, gained + lost - (gained - lost) ** 2 / count)) / count
        return max(-1.0, centre - half), min(1.0, centre + half)

    def to_dict(self) -> dict[str, Any]:
        """``n``, ``gained``, ``lost``, ``difference``, ``low``, ``high``."""
        low, high = self.interval
        return {
            "n": self.count,
            "gained": self.gained,
            "lost": self.lost,
            "difference": round(self.value, 5),
            "low": round(low, 5),
            "high": round(high, 5),
        }
