"""Intervals and tests for any metric that is made from sums over items.

Items of one unit (the questions about one picture) are added up first. Then units are drawn with replacement
(Efron's bootstrap), the sums of each draw are made into metrics, and the middle 95 % are the interval. Two
runs over the same items are compared on the same draws. The p-value is that of a permutation test, which
exchanges the two runs' outcomes unit by unit (approximate randomisation, Noreen 1989).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imagebind_llm.evaluation.metrics import wilson
from imagebind_llm.evaluation.suite import Floats, Item, Sample

Metrics = Callable[[Mapping[str, Floats]], Mapping[str, Floats]]

DRAWS = 1000
"""Of the bootstrap: the ends of its intervals are then known to about a tenth of their width."""
EXCHANGES = 10_000
"""Of the permutation test: the smallest p-value is 1 / 10,001."""
_AT_ONCE = 4_000_000
"""Numbers of a block of draws, about 32 MB."""


@dataclass(frozen=True)
class Sums:
    """What each unit adds to each sum.

    Attributes:
        names: of the sums.
        values: ``[units, sums]``.
    """

    names: tuple[str, ...]
    values: Floats

    @classmethod
    def of(cls, items: Sequence[Item], samples: Sequence[Sample]) -> Sums:
        """Add up the samples of each unit, units in the order of their first item. Samples without sums are
        left out.

        Raises:
            ValueError: other numbers of items and samples, or a sum that is not finite.
        """
        counted = [(item, sample) for item, sample in zip(items, samples, strict=True) if sample.sums]
        names = tuple(sorted({name for _, sample in counted for name in sample.sums}))
        place = {name: number for number, name in enumerate(names)}
        units: dict[tuple[bool, str], int] = {}
        rows = [units.setdefault((not item.unit, item.unit or item.key), len(units)) for item, _ in counted]
        values = np.zeros((len(units), len(names)))
        for row, (_, sample) in zip(rows, counted, strict=True):
            for name, value in sample.sums.items():
                values[row, place[name]] += value
        if not np.isfinite(values).all():
            raise ValueError("a sum over items is not finite")
        return cls(names, values)

    @property
    def units(self) -> int:
        """How many there are."""
        return len(self.values)

    def total(self) -> dict[str, Floats]:
        """Sums over all units, as arrays without axes."""
        return self.by_name(self.values.sum(0))

    def by_name(self, sums: Floats) -> dict[str, Floats]:
        """``[…, sums]`` → name → ``[…]``."""
        return {name: sums[..., number] for number, name in enumerate(self.names)}

    def drawn(self, seed: int, draws: int = DRAWS) -> Floats:
        """Sums of ``draws`` samples of units drawn with replacement: ``[draws, sums]``."""
        generator = np.random.default_rng(seed)
        block = max(1, _AT_ONCE // self.units)
        share = np.full(self.units, 1 / self.units)
        found = [
            generator.multinomial(self.units, share, min(block, draws - start)) @ self.values
            for start in range(0, draws, block)
        ]
        return np.concatenate(found)


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % interval. ``low`` and ``high`` are NaN where there is none."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """``value``, ``low``, ``high``; None for NaN."""
        return {
            name: None if np.isnan(value) else round(float(value), 5)
            for name, value in (("value", self.value), ("low", self.low), ("high", self.high))
        }


def estimates(sums: Sums, metrics: Metrics, seed: int = 0, draws: int = DRAWS) -> dict[str, Estimate]:
    """Every metric with its interval.

    Where all units agree, a bootstrap cannot vary. The interval of a share of 0 or 1 is then Wilson's over
    the units, and there is none for other values.
    """
    values = metrics(sums.total())
    drawn = metrics(sums.by_name(sums.drawn(seed, draws)))
    found = {}
    for name, value in values.items():
        estimate = float(value)
        low, high = _middle(np.broadcast_to(drawn[name], (draws,)))
        if low == high:
            low, high = np.nan, np.nan
            if estimate in (0.0, 1.0):
                low, high = wilson(round(estimate * sums.units), sums.units)
        found[name] = Estimate(estimate, low, high)
    return found


def _middle(values: Floats) -> tuple[float, float]:
    """The middle 95 % of draws; NaN if more than one draw in twenty has no value."""
    known = values[~np.isnan(values)]
    if len(known) < 0.95 * len(values):
        return np.nan, np.nan
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class Change:
    """How a metric differs between two runs over the same items.

    Attributes:
        first: the metric of the first run.
        second: that of the second.
        low: 95 % interval of ``second - first``.
        high: its other end.
        p: two-sided; how often a difference at least as large comes by exchanging the runs at random.
    """

    first: float
    second: float
    low: float
    high: float
    p: float

    def to_dict(self) -> dict[str, float | None]:
        """``first``, ``second``, ``difference``, ``low``, ``high``, ``p``; None for NaN."""
        values = {
            "first": self.first,
            "second": self.second,
            "difference": self.second - self.first,
            "low": self.low,
            "high": self.high,
            "p": self.p,
        }
        return {name: None if np.isnan(value) else round(float(value), 5) for name, value in values.items()}


def changes(first: Sums, second: Sums, metrics: Metrics, seed: int = 0) -> dict[str, Change]:
    """Compare two runs, metric by metric.

    Args:
        first: of one run.
        second: of the other, over the same units in the same order.
        metrics: of both.
        seed: of draws and exchanges.

    Raises:
        ValueError: other numbers of units.
    """
    if first.units != second.units:
        raise ValueError(f"{first.units} and {second.units} units; expected the same ones")
    names = tuple(sorted({*first.names, *second.names}))
    before, after = (_aligned(sums, names) for sums in (first, second))
    one, other = metrics(before.total()), metrics(after.total())
    drawn = {
        name: np.asarray(value) - metrics(before.by_name(before.drawn(seed)))[name]
        for name, value in metrics(after.by_name(after.drawn(seed))).items()
    }
    exchanged = _exchanged(before, after, seed)
    mirrored = before.values.sum(0) + after.values.sum(0) - exchanged
    by_chance = metrics(before.by_name(exchanged)), metrics(before.by_name(mirrored))
    found = {}
    for name in one:
        low, high = _middle(np.broadcast_to(drawn[name], (DRAWS,)))
        a, b = float(one[name]), float(other[name])
        chance = np.broadcast_to(np.abs(by_chance[1][name] - by_chance[0][name]), (EXCHANGES,))
        p = np.nan
        if not np.isnan(b - a):
            p = (1 + int((chance >= abs(b - a) - 1e-12).sum())) / (EXCHANGES + 1)
        found[name] = Change(a, b, low, high, p)
    return found


def _aligned(sums: Sums, names: tuple[str, ...]) -> Sums:
    values = np.zeros((sums.units, len(names)))
    values[:, [names.index(name) for name in sums.names]] = sums.values
    return Sums(names, values)


def _exchanged(first: Sums, second: Sums, seed: int) -> Floats:
    """Sums ``[exchanges, sums]`` of runs that take each unit from the first or the second by a coin."""
    generator = np.random.default_rng(seed + 1)
    difference = second.values - first.values
    block = max(1, _AT_ONCE // first.units)
    parts = [
        generator.integers(0, 2, (min(block, EXCHANGES - start), first.units)) @ difference
        for start in range(0, EXCHANGES, block)
    ]
    return first.values.sum(0) + np.concatenate(parts)
