"""Drawings, judged: right, and right by chance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.metrics import Score
from imagebind_llm.skills.generation.contract import Generator, Pictures, Settings, Wish

DRAWS = 1000
"""Of the bootstrap."""
EXCHANGES = 20
"""How often the control arm is repeated."""
TOGETHER = 20
"""Things that are drawn from the same noise. The next ones have another, so that a result is not that of one
lucky seed."""


@dataclass(frozen=True)
class Asked:
    """What is to be drawn: unit ``embeddings [n, D]``, and the ``labels [n, k]`` that are right, in any order
    (more than one: for a mixture of several things)."""

    embeddings: Tensor
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def draw(
    asked: Asked, generator: Generator, settings: Settings, advance: Callable[[int], object] = lambda _: None
) -> np.ndarray:
    """A drawing of each thing, uint8 ``[n, H, W, 3]``.

    Args:
        asked: what to draw, once each.
        generator: draws.
        settings: of the drawing; ``count`` 1. Its seed is that of the first noise.
        advance: is told how many more are drawn.

    Raises:
        UserError: nothing is asked for.
    """
    if not len(asked):
        raise UserError("there is nothing to draw; the data hold none of these")
    pixels: np.ndarray | None = None
    for number, rows in enumerate(_groups(len(asked), settings.seed)):
        wishes = [Wish(asked.embeddings[row]) for row in rows.tolist()]
        made = generator.make("picture", wishes, replace(settings, seed=settings.seed + number))
        assert isinstance(made, Pictures), "pictures were asked for"
        if pixels is None:
            pixels = np.empty((len(asked), *made.pixels.shape[1:]), np.uint8)
        pixels[rows] = made.pixels
        advance(len(rows))
    assert pixels is not None, "there was something to draw"
    return pixels


def _groups(count: int, seed: int) -> Iterator[np.ndarray]:
    """Rows that are drawn together; which, has nothing to do with what they are."""
    order = np.random.default_rng(seed).permutation(count)
    for start in range(0, count, TOGETHER):
        yield order[start : start + TOGETHER]


def score(labels: np.ndarray, seen: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """How often what was seen in drawings is what was asked for, and how often it is in the control arm.

    In the control arm each drawing is held against what another thing was asked to be, as if the embeddings
    had been exchanged among the things before drawing: whatever the drawings show, it then has nothing to do
    with what was asked for.

    Args:
        labels: ``[n, k]``, those that are right.
        seen: ``[n]``, what the judge sees.
        seed: of the exchanges and the bootstrap.

    Returns:
        ``right``: a score with Wilson's 95 % interval; ``control``: ``accuracy``, ``low`` and ``high`` (95 %,
        bootstrap over things), the mean of :data:`EXCHANGES` exchanges; ``chance``: how often one of the
        right labels is that of a thing drawn at random.
    """
    right = (seen[:, None] == labels).any(1)
    exchanged = np.mean([_exchanged(labels, seen, (seed, number)) for number in range(EXCHANGES)], axis=0)
    low, high = interval(exchanged, seed)
    values, counts = np.unique(labels, return_counts=True)
    shares = dict(zip(values.tolist(), (counts / labels.size).tolist(), strict=True))
    chance = float(np.mean([sum(shares[label] for label in set(row)) for row in labels.tolist()]))
    return {
        "right": Score.of(right).to_dict(),
        "control": {
            "accuracy": round(float(exchanged.mean()), 5),
            "low": round(low, 5),
            "high": round(high, 5),
        },
        "chance": round(chance, 5),
    }


def _exchanged(labels: np.ndarray, seen: np.ndarray, seed: tuple[int, int]) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(len(seen))
    found: np.ndarray = (seen[order][:, None] == labels).any(1)
    return found


def interval(outcomes: np.ndarray, seed: int) -> tuple[float, float]:
    """The middle 95 % of the means of draws with replacement (Efron's bootstrap)."""
    rng = np.random.default_rng(seed)
    means = [rng.choice(outcomes, len(outcomes)).mean() for _ in range(DRAWS)]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
