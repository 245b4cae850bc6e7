"""Which sample comes when: every sample of a source once in each pass over it, in another order each time.

The order is a function of the seed and the number of the draw. Nothing has to be remembered, so a run goes on
exactly where it stopped, and any process can make any batch.
"""

import math
from collections.abc import Sequence

import numpy as np

from imagebind_llm.common.errors import ConfigError

_BITS = 32
_SPREAD = 256
"""Draws in which each source has its share (to the nearest sample). The sources come in a random order."""
_TOGETHER = 4
"""Blocks whose samples are mixed. A source should keep as many in memory."""
_ROUNDS = 4
_MASK = (1 << 64) - 1


def shuffled(place: int, length: int, key: int) -> int:
    """Where ``place`` goes in a permutation of ``0 … length-1`` that ``key`` chooses.

    A Feistel network on numbers of an even count of bits; those that come out too large go through it again.
    """
    half = max(1, ((length - 1).bit_length() + 1) // 2)
    low = (1 << half) - 1
    while True:
        left, right = place >> half, place & low
        for number in range(_ROUNDS):
            left, right = right, left ^ (_mixed(right, key, number) & low)
        place = left << half | right
        if place < length:
            return place


def _mixed(*values: int) -> int:
    """A 64-bit hash of whole numbers (the finalizer of splitmix64, Steele et al. 2014)."""
    state = 0
    for value in values:
        state = (state + value + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ state >> 27) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


class SourceOrder:
    """The samples of one source, pass after pass.

    Args:
        length: of the source.
        blocks: ``[0, …, length]``: where blocks of samples start that are read at once; None: there are none.
            Then a few blocks at a time are mixed, so that a block has to be read once a pass.
        key: chooses the order.
    """

    def __init__(self, length: int, blocks: Sequence[int] | None, key: int) -> None:
        self._length, self._key = length, key
        self._blocks = None if blocks is None or len(blocks) <= _TOGETHER + 1 else np.asarray(blocks)
        self._layout: tuple[int, np.ndarray, np.ndarray] = (-1, np.zeros(0), np.zeros(0))

    def at(self, number: int) -> int:
        """The sample of draw ``number`` (from 0)."""
        turn, place = divmod(number, self._length)
        key = _mixed(self._key, turn)
        if self._blocks is None:
            return shuffled(place, self._length, key)
        order, ends = self._laid(turn, key)
        window = int(np.searchsorted(ends[_TOGETHER - 1 :: _TOGETHER], place, side="right"))
        first = window * _TOGETHER
        start = int(ends[first - 1]) if first else 0
        stop = int(ends[min(first + _TOGETHER, len(ends)) - 1])
        place = start + shuffled(place - start, stop - start, _mixed(key, window))
        block = int(np.searchsorted(ends, place, side="right"))
        within = place - (int(ends[block - 1]) if block else 0)
        return int(self._blocks[order[block]]) + within

    def _laid(self, turn: int, key: int) -> tuple[np.ndarray, np.ndarray]:
        """The blocks in the order of a pass, and where each ends in it."""
        laid = self._layout
        if laid[0] != turn:
            assert self._blocks is not None
            order = np.random.default_rng(key).permutation(len(self._blocks) - 1)
            laid = self._layout = (turn, order, np.cumsum(np.diff(self._blocks)[order]))
        return laid[1], laid[2]


class MixedOrder:
    """The samples of several sources, each with its share of the draws.

    Args:
        shares: one for each source, in any unit; some may be 0.
        orders: one for each source.
        key: chooses how the sources take turns.

    Raises:
        ConfigError: all shares are 0, or they are negative, infinite or no numbers.
    """

    def __init__(self, shares: Sequence[float], orders: Sequence[SourceOrder], key: int) -> None:
        if not (min(shares, default=-1) >= 0 and 0 < sum(shares) < math.inf):
            raise ConfigError(
                f"the shares of the sources are {list(shares)}; expected 0 or more each, and a finite sum "
                "above 0"
            )
        self._drawn = [number for number, share in enumerate(shares) if share > 0]
        left = [sum(shares[number] for number in self._drawn[place:]) for place in range(len(self._drawn))]
        self._ratios = [
            round(shares[number] / rest * (1 << _BITS))
            for number, rest in zip(self._drawn, left, strict=True)
        ]
        self._orders, self._key = orders, key
        self._turn: tuple[int, list[tuple[int, int]]] = (-1, [])

    def at(self, number: int) -> tuple[int, int]:
        """Source and sample of draw ``number`` (from 0)."""
        turn, place = divmod(number, _SPREAD)
        if self._turn[0] != turn:
            self._turn = (turn, self._taken(turn))
        source, count = self._turn[1][place]
        return source, self._orders[source].at(count)

    def _taken(self, turn: int) -> list[tuple[int, int]]:
        """For each of the draws of a turn its source, and how often that was drawn before."""
        start = turn * _SPREAD
        before, after = self._counts(start), self._counts(start + _SPREAD)
        sources = np.repeat(self._drawn, [stop - first for first, stop in zip(before, after, strict=True)])
        drawn = dict(zip(self._drawn, before, strict=True))
        found = []
        for source in np.random.default_rng(_mixed(self._key, turn)).permutation(sources).tolist():
            found.append((source, drawn[source]))
            drawn[source] += 1
        return found

    def _counts(self, draws: int) -> list[int]:
        """How many of the first draws each source has, in whole numbers that grow by at most one a draw."""
        found = []
        for ratio in self._ratios:
            found.append(draws * ratio >> _BITS)
            draws -= found[-1]
        return found
