"""Finding duplicates: exactly what comparing every pair would find."""

import numpy as np
import pytest

from imagebind_llm.data.clean.duplicates import (
    HashProposer,
    exact_leaders,
    find_leaders,
    roots,
    similar_leaders,
)
from imagebind_llm.data.clean.settings import EmbeddingBounds


@pytest.mark.parametrize("bits", [0, 3, 4, 8, 11, 15])
def test_hash_lookup_equals_comparing_every_pair(bits):
    rng = np.random.default_rng(bits)
    hashes = rng.integers(0, 2**63, 900, dtype=np.uint64)
    for row in range(600, 900):  # copies that differ in 0 to 17 bits
        copy = int(hashes[row - 600])
        for bit in rng.choice(64, rng.integers(0, 18), replace=False):
            copy ^= 1 << int(bit)
        hashes[row] = copy
    proposer = HashProposer(hashes, bits)
    proposer.add(np.arange(600))
    distance = np.bitwise_count(hashes[600:, None] ^ hashes[None, :600])
    found = proposer.kept(np.arange(600, 900))
    for row, expected in zip(found, distance <= bits, strict=True):
        assert np.array_equal(np.sort(row), np.flatnonzero(expected))
    block = np.arange(500, 700)
    near = np.bitwise_count(hashes[block][:, None] ^ hashes[block][None]) <= bits
    assert np.array_equal(proposer.within(block), near)
    assert sum(map(len, found)) > 0


class _Line:
    """Points on a line; those less than 1.5 apart are proposed."""

    def __init__(self, places: np.ndarray) -> None:
        self.places, self.locked = places, np.empty(0, np.int64)

    def kept(self, positions: np.ndarray) -> list[np.ndarray]:
        return [self.locked[abs(self.places[self.locked] - self.places[p]) < 1.5] for p in positions]

    def within(self, positions: np.ndarray) -> np.ndarray:
        return abs(self.places[positions][:, None] - self.places[positions][None]) < 1.5

    def add(self, positions: np.ndarray) -> None:
        self.locked = np.concatenate([self.locked, positions])


def test_a_chain_is_not_one_group():
    """0-1-2-3-…: each is like its neighbours only, so every second one is kept."""
    places = np.arange(1000.0)
    found = find_leaders(1000, _Line(places), lambda p, o: 1 - abs(places[o] - places[p]) / 10, 0.85)
    assert np.array_equal(np.flatnonzero(found.leader < 0), np.arange(0, 1000, 2))
    assert np.array_equal(found.leader[1::2], np.arange(0, 1000, 2))


def test_the_first_of_a_group_is_kept_across_blocks():
    places = np.repeat(np.arange(5) * 100.0, 200)
    order = np.random.default_rng(0).permutation(1000)
    places = places[order]
    found = find_leaders(1000, _Line(places), lambda p, o: 1 - abs(places[o] - places[p]), 0.9)
    firsts = {float(places[i]): i for i in reversed(range(1000))}
    assert set(np.flatnonzero(found.leader < 0)) == set(firsts.values())
    assert all(found.leader[i] in (-1, firsts[float(places[i])]) for i in range(1000))


def test_exact_leaders_and_roots():
    leader = exact_leaders(np.array([5, 7, 5, 5, 9, 7], np.uint64))
    assert leader.tolist() == [-1, -1, 0, 0, -1, 1]
    assert roots(np.array([-1, 0, -1, 1, 3])).tolist() == [-1, 0, -1, 0, 0]


def test_divided_embeddings_find_what_undivided_ones_find():
    rng = np.random.default_rng(3)
    base = rng.normal(size=(1500, 16))
    copies = base[rng.integers(0, 1500, 500)] + rng.normal(0, 0.01, (500, 16))
    rows = np.concatenate([base, copies])[rng.permutation(2000)]
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    bounds = EmbeddingBounds(cosine=0.995, correlation=-1)
    whole = similar_leaders(rows, None, None, bounds)
    parts = similar_leaders(rows, None, None, bounds, part_rows=300)
    dropped, again = set(np.flatnonzero(whole.leader >= 0)), set(np.flatnonzero(parts.leader >= 0))
    assert len(dropped) == 500
    assert again <= dropped
    assert len(again) >= 0.99 * len(dropped)
    assert (parts.leader < np.arange(2000)).all()


def test_other_words_make_other_samples():
    rows = np.tile(np.eye(4, dtype=np.float16)[0], (4, 1))
    bounds = EmbeddingBounds(cosine=0.9, correlation=-1)
    texts = np.array([1, 2, 1, 2], np.uint64)
    assert similar_leaders(rows, None, None, bounds).leader.tolist() == [-1, 0, 0, 0]
    assert similar_leaders(rows, None, texts, bounds).leader.tolist() == [-1, -1, 0, 1]
