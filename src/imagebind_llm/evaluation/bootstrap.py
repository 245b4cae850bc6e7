"""Intervals and tests for any metric that is made from sums over items.

Items of one unit (the questions about one picture) are added up first. Then units are drawn with replacement
(Efron's bootstrap), the sums of each draw are made into metrics, and the middle 95 % are the interval. Two
runs over the same items are compared on the same draws. The p-value is that of a permutation test, which
exchanges the two runs' outcomes unit by unit (approximate randomisation, Noreen 1989).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    """What each unit adds to each sum. Most units add the same as some others, which is kept once.

    Attributes:
        names: of the sums.
        values: ``[kinds, sums]``: the different things that a unit adds.
        rows: ``[units]``: which of them each unit adds, 0 … kinds - 1.
    """

    names: tuple[str, ...]
    values: Floats
    rows: NDArray[np.intp]

    @classmethod
    def of(cls, items: Sequence[Item], samples: Sequence[Sample]) -> Sums:
        """Add up the samples of each unit, units in the order of their first item. Samples without sums are
        left out.

        Raises:
            ValueError: other numbers of items and samples, or a sum that is not finite.
        """
        units: dict[tuple[bool, str], dict[str, float]] = {}
        for item, sample in zip(items, samples, strict=True):
            if sample.sums:
                unit = units.setdefault((not item.unit, item.unit or item.key), {})
                for name, value in sample.sums.items():
                    unit[name] = unit.get(name, 0.0) + value
        kinds: dict[tuple[tuple[str, float], ...], int] = {}
        rows = [kinds.setdefault(tuple(sorted(unit.items())), len(kinds)) for unit in units.values()]
        names = tuple(sorted({name for unit in units.values() for name in unit}))
        place = {name: number for number, name in enumerate(names)}
        values = np.zeros((len(kinds), len(names)))
        for row, kind in enumerate(kinds):
            for name, value in kind:
                values[row, place[name]] = value
        if not np.isfinite(values).all():
            raise ValueError("a sum over items is not finite")
        return cls(names, values, np.array(rows, dtype=np.intp))

    @property
    def units(self) -> int:
        """How many there are."""
        return len(self.rows)

    @property
    def counts(self) -> NDArray[np.intp]:
        """``[kinds]``: how many units are of each kind."""
        return np.bincount(self.rows, minlength=len(self.values))

    def total(self) -> dict[str, Floats]:
        """Sums over all units, as arrays without axes."""
        return self.by_name(self.counts @ self.values)

    def by_name(self, sums: Floats) -> dict[str, Floats]:
        """``[…, sums]`` → name → ``[…]``."""
        return _by_name(self.names, sums)

    def drawn(self, seed: int, draws: int = DRAWS) -> Floats:
        """Sums of ``draws`` samples of units drawn with replacement: ``[draws, sums]``."""
        return _drawn(self.counts, self.values, seed, draws)


def _by_name(names: Sequence[str], sums: Floats) -> dict[str, Floats]:
    return {name: sums[..., number] for number, name in enumerate(names)}


def _drawn(counts: NDArray[np.intp], values: Floats, seed: int, draws: int) -> Floats:
    """Sums ``[draws, sums]`` of as many units as there are, drawn from kinds with these counts and values."""
    generator = np.random.default_rng(seed)
    units = int(counts.sum())
    found = [
        generator.multinomial(units, counts / units, size).astype(np.float64) @ values
        for size in _blocks(draws, len(counts))
    ]
    return np.concatenate(found)


def _blocks(rows: int, columns: int) -> Iterator[int]:
    """Numbers of rows that add up to ``rows``, none of which makes a block too large."""
    block = max(1, _AT_ONCE // max(1, columns))
    for start in range(0, rows, block):
        yield min(block, rows - start)


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % interval. ``low`` and ``high`` are NaN where there is none."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """``value``, ``low``, ``high``; None for NaN."""
        return {
            name: None if np.isnan(value) else round(float(value), 5) + 0.0
            for name, value in (("value", self.value), ("low", self.low), ("high", self.high))
        }


def estimates(
    sums: Sums, metrics: Metrics, seed: int = 0, draws: int = DRAWS, points: Container[str] = ()
) -> dict[str, Estimate]:
    """Every metric with its interval; none if there are no units.

    Where all units agree, a bootstrap cannot vary. The interval of a share of 0 or 1 is then Wilson's, over
    the units that the metric is about (of precision, those with a positive answer): those for which it is
    defined when it is made from one of them alone. For other values there is none.

    Args:
        sums: of the items.
        metrics: made from sums.
        seed: of the draws.
        draws: how many.
        points: metrics that are no shares, and never have Wilson's interval.
    """
    if not sums.units:
        return {}
    values = metrics(sums.total())
    drawn = metrics(sums.by_name(sums.drawn(seed, draws)))
    alone = metrics(sums.by_name(sums.values))
    found = {}
    for name, value in values.items():
        estimate = float(value)
        low, high = _middle(np.broadcast_to(drawn[name], (draws,)))
        if np.isclose(low, high, rtol=1e-9, atol=0):
            low, high = np.nan, np.nan
            about = int(sums.counts @ ~np.isnan(np.broadcast_to(alone[name], (len(sums.values),))))
            if estimate in (0.0, 1.0) and name not in points and about:
                low, high = wilson(round(estimate * about), about)
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
        return {
            name: None if np.isnan(value) else round(float(value), 5) + 0.0 for name, value in values.items()
        }


def changes(first: Sums, second: Sums, metrics: Metrics, seed: int = 0) -> dict[str, Change]:
    """Compare two runs, metric by metric; nothing if there are no units.

    A difference has no interval where no draw can vary: all units changed alike, or none did.

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
    if not first.units:
        return {}
    names = tuple(sorted({*first.names, *second.names}))
    pairs, counts = np.unique(np.stack([first.rows, second.rows]), axis=1, return_counts=True)
    before, after = _aligned(first, names)[pairs[0]], _aligned(second, names)[pairs[1]]

    def of(sums: Floats) -> Mapping[str, Floats]:
        return metrics(_by_name(names, sums))

    totals = counts @ before, counts @ after
    one, other = of(totals[0]), of(totals[1])
    # one seed: both runs are drawn the same units
    drawn = of(_drawn(counts, before, seed, DRAWS)), of(_drawn(counts, after, seed, DRAWS))
    exchanged = totals[0] + _moved(counts, after - before, seed + 1)
    by_chance = of(exchanged), of(totals[0] + totals[1] - exchanged)
    found = {}
    for name in one:
        a, b = float(one[name]), float(other[name])
        rounding = 1e-9 * max(abs(a), abs(b))  # equal differences come from sums in another order, too
        low, high = _middle(np.broadcast_to(drawn[1][name] - drawn[0][name], (DRAWS,)))
        if high - low <= rounding:
            low, high = np.nan, np.nan
        p = np.nan
        if not np.isnan(b - a):
            chance = np.broadcast_to(np.abs(by_chance[1][name] - by_chance[0][name]), (EXCHANGES,))
            smaller = int((chance < abs(b - a) - rounding).sum())  # one without a value is none of them
            p = (1 + EXCHANGES - smaller) / (EXCHANGES + 1)
        found[name] = Change(a, b, low, high, p)
    return found


def _aligned(sums: Sums, names: Sequence[str]) -> Floats:
    """``[kinds, sums]`` with the sums called ``names``; those that it lacks are 0."""
    values = np.zeros((len(sums.values), len(names)))
    values[:, [names.index(name) for name in sums.names]] = sums.values
    return values


def _moved(counts: NDArray[np.intp], difference: Floats, seed: int) -> Floats:
    """What sums ``[exchanges, sums]`` change by when a coin for each unit moves its difference or not."""
    generator = np.random.default_rng(seed)
    differ = difference.any(axis=1)
    counts, difference = counts[differ], difference[differ]
    parts = [
        generator.binomial(counts, 0.5, (size, len(counts))).astype(np.float64) @ difference
        for size in _blocks(EXCHANGES, len(counts))
    ]
    return np.concatenate(parts)


def holm(values: Sequence[float]) -> list[float]:
    """P-values of several tests, raised so that the chance of any false alarm is what each one says (Holm
    1979). NaN is no test, and stays."""
    order = sorted((number for number, p in enumerate(values) if not np.isnan(p)), key=lambda at: values[at])
    found, highest = list(values), 0.0
    for rank, number in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * values[number]))
        found[number] = highest
    return found
