"""What is named when two things are mixed, from all of the first to all of the second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.metrics import Score

if TYPE_CHECKING:
    from torch import Tensor

Outcome = Literal["first", "second", "both", "other"]
OUTCOMES: tuple[Outcome, ...] = ("first", "second", "both", "other")
WEIGHTS = tuple(number / 10 for number in range(11))
"""Of the second thing: 0, 0.1 … 1."""


def outcome(said: Collection[Hashable], first: Hashable, second: Hashable) -> Outcome:
    """What an answer makes of a mixture of ``first`` and ``second``.

    Args:
        said: everything that the answer names.
        first: one thing.
        second: another.

    Returns:
        ``first``, ``second`` or ``both`` if exactly that is named; ``other`` for anything else: nothing, a
        third thing, or a third beside a right one.
    """
    names: dict[frozenset[Hashable], Outcome] = {
        frozenset({first}): "first",
        frozenset({second}): "second",
        frozenset({first, second}): "both",
    }
    return names.get(frozenset(said), "other")


def mixed(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """Row by row ``(1 - weight) · first + weight · second``, as a request with these weights mixes media.

    Args:
        first: ``[N, D]`` unit rows.
        second: ``[N, D]`` unit rows.
        weight: of the second, 0 … 1.

    Returns:
        ``[N, D]``, not renormalised.
    """
    import torch

    from imagebind_llm.model.conditioning import mix

    count = len(first)
    rows = torch.stack((first, second), 1).flatten(0, 1)
    weights = torch.tensor([1 - weight, weight]).repeat(count)
    return mix(rows, weights, torch.arange(count).repeat_interleave(2), count)


@dataclass(frozen=True)
class Point:
    """How ``n`` pairs were named at one weight: the number of each outcome."""

    weight: float
    counts: dict[Outcome, int]

    @classmethod
    def of(cls, weight: float, outcomes: Iterable[Outcome]) -> Point:
        """Count the outcomes at a weight."""
        found = Counter(outcomes)
        return cls(weight, {name: found[name] for name in OUTCOMES})

    @property
    def n(self) -> int:
        """Pairs."""
        return sum(self.counts.values())

    def to_dict(self) -> dict[str, Any]:
        """``weight``, ``n``, and for each outcome ``n``, ``correct``, ``accuracy``, ``low``, ``high`` (95 %
        Wilson interval of its share)."""
        shares: dict[str, Any] = {name: Score(n, self.n).to_dict() for name, n in self.counts.items()}
        return {"weight": self.weight, "n": self.n, **shares}


def curve(
    first: Tensor,
    second: Tensor,
    ask: Callable[[Tensor], Sequence[Outcome]],
    weights: Sequence[float] = WEIGHTS,
) -> list[Point]:
    """Mix pairs at every weight and ask about them.

    Args:
        first: ``[N, D]`` unit rows.
        second: ``[N, D]`` unit rows, one partner each.
        ask: conditions ``[N, D]`` → what was named of each pair.
        weights: of the second thing, in ascending order.

    Raises:
        UserError: no pairs, or other numbers of first and second things.
    """
    if len(first) != len(second) or not len(first):
        raise UserError(f"{len(first)} and {len(second)} things to mix; expected equally many, at least one")
    return [Point.of(weight, ask(mixed(first, second, weight))) for weight in weights]


def crossing(points: Sequence[Point]) -> float | None:
    """The weight at which the second thing begins to be named as often as the first, alone or with the other.

    Between two measured weights the shares are taken to change evenly. None: they never meet.
    """
    lead = [(point.weight, (point.counts["first"] - point.counts["second"]) / point.n) for point in points]
    for (left, before), (right, after) in pairwise(lead):
        if before > 0 >= after:
            return left + (right - left) * before / (before - after)
    return None
