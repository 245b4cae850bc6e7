"""Duplicates in the order of the source: a sample is dropped if it is like an earlier one that is kept.

What is kept is the first of each group, and no two kept samples are alike; a chain of slowly changing
pictures is not taken for one group. Pairs are proposed by an index that holds kept samples only, and
confirmed by a second look.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

BLOCK = 256
"""Samples looked up at a time."""

Confirm = Callable[[int, np.ndarray], np.ndarray]
"""``(position, positions [n]) -> float [n]``: how much alike they are; NaN = they cannot be duplicates."""


class Proposer(Protocol):
    """Finds which kept positions may be like others. Positions count the compared samples from 0."""

    def kept(self, positions: np.ndarray) -> list[np.ndarray]:
        """For each position the positions added so far that may be alike, in any order."""
        ...

    def within(self, positions: np.ndarray) -> np.ndarray:
        """Bool ``[n, n]``: which of these positions may be like each other."""
        ...

    def add(self, positions: np.ndarray) -> None:
        """These positions are kept."""
        ...


@dataclass(frozen=True)
class Leaders:
    """``leader [n]``: the kept position that each position is a duplicate of, -1 = kept. ``score [n]``: the
    best likeness to an earlier kept position that was proposed, NaN = none was."""

    leader: np.ndarray
    score: np.ndarray


def find_leaders(count: int, proposer: Proposer, confirm: Confirm, least: float) -> Leaders:
    """Go through positions ``0 … count-1`` once.

    Args:
        least: the likeness at which a proposed pair is a duplicate.
    """
    leader = np.full(count, -1, np.int64)
    score = np.full(count, np.nan, np.float32)
    for start in range(0, count, BLOCK):
        block = np.arange(start, min(start + BLOCK, count))
        earlier = proposer.kept(block)
        inside = proposer.within(block)
        for row, position in enumerate(block):
            mates = block[:row][inside[row, :row]]
            candidates = np.concatenate([np.sort(earlier[row]), mates[leader[mates] < 0]])
            if len(candidates):
                likeness = confirm(int(position), candidates)
                score[position] = np.fmax.reduce(likeness)
                alike = candidates[likeness >= least]
                if len(alike):
                    leader[position] = alike[0]
        proposer.add(block[leader[block] < 0])
    return Leaders(leader, score)


class HashProposer:
    """Perceptual hashes ``uint64 [n]`` that differ in at most ``bits`` bits. Exact.

    A hash is cut into four pieces of 16 bits: of two hashes that differ in ``bits`` bits, one piece differs
    in at most ``bits // 4``; faiss looks all of those up.
    """

    def __init__(self, hashes: np.ndarray, bits: int) -> None:
        import faiss

        self._codes = np.ascontiguousarray(hashes.astype(">u8")).view(np.uint8).reshape(-1, 8)
        self._bits = bits
        self._index: Any = faiss.IndexBinaryMultiHash(64, 4, 16)
        self._index.nflip = bits // 4
        self._held: list[np.ndarray] = []

    def kept(self, positions: np.ndarray) -> list[np.ndarray]:
        """See :class:`Proposer`."""
        if not self._index.ntotal:
            return [np.empty(0, np.int64)] * len(positions)
        ends, _, found = self._index.range_search(self._codes[positions], self._bits + 1)
        held = np.concatenate(self._held)
        self._held = [held]
        return [held[found[ends[row] : ends[row + 1]]] for row in range(len(positions))]

    def within(self, positions: np.ndarray) -> np.ndarray:
        """See :class:`Proposer`."""
        bits = np.unpackbits(self._codes[positions], axis=1).astype(np.float32) * 2 - 1
        return (64 - bits @ bits.T) / 2 <= self._bits

    def add(self, positions: np.ndarray) -> None:
        """See :class:`Proposer`."""
        if len(positions):
            self._index.add(self._codes[positions])
            self._held.append(positions)


class VectorProposer:
    """Unit vectors, given as ``vectors(positions) -> float32 [n, D]``, whose cosine is at least ``cosine``.
    Exact."""

    def __init__(self, vectors: Callable[[np.ndarray], np.ndarray], dim: int, cosine: float) -> None:
        import faiss

        self._vectors = vectors
        self._cosine = cosine
        self._index: Any = faiss.IndexFlatIP(dim)
        self._held: list[np.ndarray] = []

    def kept(self, positions: np.ndarray) -> list[np.ndarray]:
        """See :class:`Proposer`."""
        if not self._index.ntotal:
            return [np.empty(0, np.int64)] * len(positions)
        ends, _, found = self._index.range_search(self._vectors(positions), self._cosine)
        held = np.concatenate(self._held)
        self._held = [held]
        return [held[found[ends[row] : ends[row + 1]]] for row in range(len(positions))]

    def within(self, positions: np.ndarray) -> np.ndarray:
        """See :class:`Proposer`."""
        rows = self._vectors(positions)
        return rows @ rows.T > self._cosine

    def add(self, positions: np.ndarray) -> None:
        """See :class:`Proposer`."""
        if len(positions):
            self._index.add(self._vectors(positions))
            self._held.append(positions)
