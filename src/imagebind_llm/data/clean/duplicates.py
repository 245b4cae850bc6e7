"""Duplicates, in the order of the source: a sample is dropped if it is like an earlier one that is kept.

What is kept is the first of each group, and no two kept samples are alike; a chain of slowly changing
pictures is not taken for one group. Pairs are proposed by an index that holds kept samples only, and
confirmed by a second look. Memory: hashes are held for all samples (some 40 bytes each); signatures and
embeddings lie in unnamed temporary files, and of embeddings one part at a time is indexed.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from imagebind_llm.data.clean.rules import correlations
from imagebind_llm.data.clean.settings import EmbeddingBounds, HashBounds

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
        locked = np.concatenate(self._held)
        self._held = [locked]
        return [locked[found[ends[row] : ends[row + 1]]] for row in range(len(positions))]

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
        locked = np.concatenate(self._held)
        self._held = [locked]
        return [locked[found[ends[row] : ends[row + 1]]] for row in range(len(positions))]

    def within(self, positions: np.ndarray) -> np.ndarray:
        """See :class:`Proposer`."""
        rows = self._vectors(positions)
        return rows @ rows.T > self._cosine

    def add(self, positions: np.ndarray) -> None:
        """See :class:`Proposer`."""
        if len(positions):
            self._index.add(self._vectors(positions))
            self._held.append(positions)


PART_ROWS = 50_000
"""Embeddings compared with each other exactly; more are divided first (100 MB at D = 1024 in float16, and 200
MB in the index)."""

_TRAINING_ROWS = 64
"""Vectors for each part that set the division."""
_SEED = 1234


class RowFile:
    """Rows of equal length in a temporary file that disappears with the process.

    Args:
        folder: on the disk to use.
        count: rows; those never written are zero.
        width: values in a row.
    """

    def __init__(self, folder: Path, count: int, width: int, dtype: type[np.generic]) -> None:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(max(1, count * width * np.dtype(dtype).itemsize))
            self.rows = np.memmap(file, dtype, "r+", shape=(count, width)) if count else np.empty((0, width))


def exact_leaders(keys: np.ndarray) -> np.ndarray:
    """The first place of the same key, or -1 at the first place itself: ``int64 [n]`` for ``uint64 [n]``."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    leader = first[inverse].astype(np.int64)
    leader[leader == np.arange(len(keys))] = -1
    return leader


def near_leaders(
    hashes: np.ndarray,
    signatures: Callable[[np.ndarray], np.ndarray],
    texts: np.ndarray | None,
    settings: HashBounds,
) -> Leaders:
    """Near duplicates by perceptual hash.

    Args:
        hashes: ``uint64 [n]``, in the order of the source.
        signatures: positions to ``uint8 [k, 768]``.
        texts: ``bytes [n]``; only samples with the same are duplicates. None = whatever they say.
    """
    proposer = HashProposer(hashes, settings.bits)
    return find_leaders(len(hashes), proposer, _confirm(signatures, texts), settings.correlation)


def similar_leaders(
    vectors: np.ndarray,
    signatures: Callable[[np.ndarray], np.ndarray] | None,
    texts: np.ndarray | None,
    settings: EmbeddingBounds,
    part_rows: int = PART_ROWS,
) -> Leaders:
    """Near duplicates by embedding.

    Up to ``part_rows`` vectors are all compared. More are divided around k-means centres, each vector into
    the two nearest parts, and compared within the parts: pairs that share neither part are missed.

    Args:
        vectors: ``float16 [n, D]`` unit rows, possibly on disk, in the order of the source.
        signatures: as in :func:`near_leaders`; None = there are no pixels, the cosine itself is the likeness.
        part_rows: largest number compared all with all, on average.
    """
    count = len(vectors)
    leader = np.full(count, -1, np.int64)
    score = np.full(count, np.nan, np.float32)
    for members in _parts(vectors, part_rows):
        found = _within_part(members, vectors, signatures, texts, settings)
        score[members] = np.fmax(score[members], found.score)
        hit = found.leader >= 0
        new, old = members[found.leader[hit]], leader[members[hit]]
        leader[members[hit]] = np.where(old < 0, new, np.minimum(old, new))
    return Leaders(leader, score)


def _within_part(
    members: np.ndarray,
    vectors: np.ndarray,
    signatures: Callable[[np.ndarray], np.ndarray] | None,
    texts: np.ndarray | None,
    settings: EmbeddingBounds,
) -> Leaders:
    def rows(places: np.ndarray) -> np.ndarray:
        return _unit(vectors[members[places]])

    def by_pixels(place: int, others: np.ndarray) -> np.ndarray:
        return pixels(int(members[place]), members[others])

    def by_cosine(place: int, others: np.ndarray) -> np.ndarray:
        likeness = rows(others) @ rows(np.array([place]))[0]
        return likeness if texts is None else _same(likeness, texts, int(members[place]), members[others])

    proposer = VectorProposer(rows, vectors.shape[1], settings.cosine)
    if signatures is None:
        return find_leaders(len(members), proposer, by_cosine, settings.cosine)
    pixels = _confirm(signatures, texts)
    return find_leaders(len(members), proposer, by_pixels, settings.correlation)


def roots(leader: np.ndarray) -> np.ndarray:
    """Follow leaders (always earlier, -1 = kept) to the sample that is kept: ``int64 [n]``, -1 = itself."""
    root = leader.copy()
    for position in np.flatnonzero(leader >= 0):  # in order, so the leader's own root is known
        above = root[leader[position]]
        root[position] = above if above >= 0 else leader[position]
    return root


def _confirm(signatures: Callable[[np.ndarray], np.ndarray], texts: np.ndarray | None) -> Confirm:
    def confirm(position: int, others: np.ndarray) -> np.ndarray:
        likeness = correlations(signatures(np.array([position]))[0], signatures(others))
        return likeness if texts is None else _same(likeness, texts, position, others)

    return confirm


def _same(likeness: np.ndarray, texts: np.ndarray, position: int, others: np.ndarray) -> np.ndarray:
    """NaN where the words differ."""
    return np.where(texts[others] == texts[position], likeness, np.nan)


def _unit(rows: np.ndarray) -> np.ndarray:
    """float32 unit rows; rows of zeros stay zero."""
    wide = np.ascontiguousarray(rows, np.float32)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)


def _parts(vectors: np.ndarray, part_rows: int) -> list[np.ndarray]:
    """Positions of each part, in order."""
    count = len(vectors)
    if count <= part_rows:
        return [np.arange(count)]
    import faiss

    parts = -(-2 * count // part_rows)
    step = max(1, count // (_TRAINING_ROWS * parts))
    division = faiss.Kmeans(vectors.shape[1], parts, niter=10, seed=_SEED, spherical=True)
    division.train(_unit(vectors[::step]))
    nearest = np.empty((count, 2), np.int64)
    for start in range(0, count, part_rows):
        block = slice(start, start + part_rows)
        nearest[block] = division.index.search(_unit(vectors[block]), 2)[1]
    return [np.flatnonzero((nearest == part).any(1)) for part in range(parts)]
