"""The order of draws: each sample once a pass, shares kept, blocks read once, a function of the number."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.data.order import MixedOrder, SourceOrder, shuffled


@pytest.mark.parametrize("length", [1, 2, 3, 17, 256, 1000])
def test_a_permutation_point_by_point(length: int) -> None:
    orders = [[shuffled(place, length, key) for place in range(length)] for key in range(3)]
    assert all(sorted(order) == list(range(length)) for order in orders)
    if length > 16:
        assert orders[0] != orders[1] != orders[2]
        steps = np.diff(orders[0])
        assert abs(np.corrcoef(orders[0], range(length))[0, 1]) < 0.5
        assert len(set(steps.tolist())) > length / 3  # no stride


def test_every_sample_comes_once_a_pass_in_another_order() -> None:
    order = SourceOrder(101, None, 5)
    passes = [[order.at(turn * 101 + place) for place in range(101)] for turn in range(3)]
    assert all(sorted(found) == list(range(101)) for found in passes)
    assert passes[0] != passes[1] != passes[2]
    assert [SourceOrder(101, None, 5).at(150 + n) for n in range(9)] == passes[1][49:58]  # nothing remembered
    assert [SourceOrder(101, None, 6).at(n) for n in range(101)] != passes[0]


def test_few_blocks_at_a_time() -> None:
    starts = [0, *np.cumsum(np.random.default_rng(0).integers(5, 40, 30)).tolist()]
    order = SourceOrder(starts[-1], starts, 3)
    for turn in range(2):
        found = [order.at(turn * starts[-1] + place) for place in range(starts[-1])]
        assert sorted(found) == list(range(starts[-1]))
        blocks = np.searchsorted(starts, found, side="right") - 1
        first = {block: int(np.flatnonzero(blocks == block)[0]) for block in range(30)}
        last = {block: int(np.flatnonzero(blocks == block)[-1]) for block in range(30)}
        for place in range(starts[-1]):  # a cache of four blocks is enough
            assert sum(first[block] <= place <= last[block] for block in range(30)) <= 4
        assert (np.diff(blocks) != 0).mean() > 0.5  # they are mixed


def test_shares_are_kept_exactly() -> None:
    orders = [SourceOrder(length, None, length) for length in (40, 1000, 7)]
    mixed = MixedOrder([3, 0, 1], orders, 1)
    drawn = [mixed.at(number) for number in range(1024)]
    assert Counter(source for source, _ in drawn) == {0: 768, 2: 256}
    counts = Counter(drawn)
    assert {counts[0, index] for index in range(40)} <= {19, 20}  # 768 draws are 19 passes and a bit
    assert {counts[2, index] for index in range(7)} <= {36, 37}
    by_chunk = [Counter(source for source, _ in drawn[at : at + 32])[2] for at in range(0, 1024, 32)]
    assert len(set(by_chunk)) > 2  # at random places
    assert mixed.at(777) == MixedOrder([3, 0, 1], orders, 1).at(777)


@pytest.mark.parametrize(
    "shares", [[0, 0], [0.0, -0.0], [], [-1, 2], [float("nan"), 1], [float("inf"), 1], [1e308] * 2]
)
def test_shares_of_nothing_are_refused(shares: list[float]) -> None:
    orders = [SourceOrder(5, None, 1) for _ in shares]
    with pytest.raises(ConfigError, match="expected 0 or more each, and a finite sum above 0"):
        MixedOrder(shares, orders, 1)


def test_training_reads_a_row_group_once_a_pass(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from imagebind_llm.data.mixture import SourceMixture
    from imagebind_llm.data.sources import SourceSettings, open_source

    rows = [{"image": f"{number}.jpg", "caption": f"caption {number}"} for number in range(300)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=10)
    source = open_source(SourceSettings("parquet", str(tmp_path / "a.parquet")), tmp_path / "index")
    reads = []
    usual = pq.ParquetFile.read_row_group

    def read(file: pq.ParquetFile, group: int, *more: object) -> pa.Table:
        reads.append(group)
        return usual(file, group, *more)

    order = SourceMixture([source], [1.0], seed=4)._order
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pq.ParquetFile, "read_row_group", read)
        keys = [source.read(order.at(number)[1]).key for number in range(300)]  # type: ignore[union-attr]
    assert len(set(keys)) == 300
    assert sorted(reads) == list(range(30))
