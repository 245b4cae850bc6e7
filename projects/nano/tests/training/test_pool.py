"""Drawing from a pool of images by domain."""

import numpy as np
import pytest

from imagebind_llm.common.errors import ConfigError
from nano_lab.data.bank import EmbeddingBank
from nano_lab.data.pool import ImagePool


def make_pool() -> ImagePool:
    labels = np.arange(30)
    domains = {"a": np.arange(10), "b": np.arange(10, 20), "c": np.arange(20, 30)}
    return ImagePool(np.zeros((30, 1, 1, 3), np.uint8), labels, domains)


def test_shares_hold_for_a_large_draw():
    rows = make_pool().draw(np.random.default_rng(0), 128, {"a": 0.5, "b": 0.4, "c": 0.1})
    assert len(rows) == 128
    assert np.abs(np.bincount(rows // 10) - np.array([64, 51.2, 12.8])).max() <= 1


def test_shares_hold_over_many_draws_of_one():
    pool, rng = make_pool(), np.random.default_rng(0)
    rows = np.concatenate([pool.draw(rng, 1, {"a": 0.5, "b": 0.4, "c": 0.1}) for _ in range(4000)])
    assert np.bincount(rows // 10) / 4000 == pytest.approx([0.5, 0.4, 0.1], abs=0.03)


def test_a_domain_the_pool_lacks_is_refused():
    with pytest.raises(ConfigError, match="'d'"):
        make_pool().draw(np.random.default_rng(0), 4, {"d": 1.0})


def test_clear_rows_are_those_nearest_to_their_own_label() -> None:
    axes = np.eye(3, dtype=np.float16)
    vectors = np.stack([axes[0], axes[0], axes[1], axes[1], axes[1], axes[2]])[None]
    bank = EmbeddingBank(vectors, np.array([0, 0, 0, 1, 1, 2]), "x")
    found = bank.clear_rows(3)
    assert {label: rows.tolist() for label, rows in found.items()} == {0: [0, 1], 1: [3, 4], 2: [5]}


def test_a_label_without_a_clear_row_keeps_all_of_its_rows() -> None:
    bank = EmbeddingBank(np.array([[[1.0, 0.0]] * 3], np.float16), np.array([0, 1, 1]), "x")
    assert {label: rows.tolist() for label, rows in bank.clear_rows(2).items()} == {0: [0], 1: [1, 2]}
