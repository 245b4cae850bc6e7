"""Numbers of the modality gap, against values worked out by hand and by going through all pairs."""

import numpy as np
import pytest

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.gap import modality_gap, plane, separability


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_of_four_vectors_in_a_plane():
    # first: along x and y; second: along -x and y
    gap = modality_gap([[1, 0], [0, 1]], [[-1, 0], [0, 1]], paired=True)
    assert (gap.n, gap.m) == (2, 2)
    assert gap.gap == pytest.approx(1)  # means (½, ½) and (-½, ½)
    assert gap.centroid_cosine == pytest.approx(0)
    assert gap.within_first == pytest.approx(1)  # right angles
    assert gap.within_second == pytest.approx(1)
    assert gap.matched == pytest.approx(1)  # 2 and 0
    assert gap.unmatched == pytest.approx(1)  # right angles
    assert gap.between == pytest.approx(1)


def test_distances_are_means_over_all_pairs():
    rng = np.random.default_rng(5)
    one, other = unit(rng.normal(size=(7, 4)) + 1), unit(rng.normal(size=(7, 4)) - 0.5)
    gap = modality_gap(one, other, paired=True)
    apart = [(i, j) for i in range(7) for j in range(7) if i != j]
    assert gap.within_first == pytest.approx(np.mean([1 - one[i] @ one[j] for i, j in apart]))
    assert gap.within_second == pytest.approx(np.mean([1 - other[i] @ other[j] for i, j in apart]))
    assert gap.unmatched == pytest.approx(np.mean([1 - one[i] @ other[j] for i, j in apart]))
    assert gap.matched == pytest.approx(np.mean([1 - one[i] @ other[i] for i in range(7)]))
    assert gap.between == pytest.approx(np.mean(1 - one @ other.T))
    assert gap.gap == pytest.approx(np.linalg.norm(one.mean(0) - other.mean(0)))


def test_sets_of_different_size_are_no_pairs():
    rng = np.random.default_rng(1)
    gap = modality_gap(unit(rng.normal(size=(5, 3))), unit(rng.normal(size=(9, 3))))
    assert gap.matched is gap.unmatched is None
    assert (gap.n, gap.m) == (5, 9)
    single = modality_gap([[1.0, 0]], [[0, 1.0]])
    assert single.gap == pytest.approx(np.sqrt(2))
    assert single.separability is None
    assert single.to_dict()["within_first"] is None


@pytest.mark.parametrize("width", [3, 40])
def test_separability_tells_cones_apart_and_not_one_cloud(width):
    rng = np.random.default_rng(0)
    base = np.zeros(width)
    base[0] = 3
    apart = separability(
        unit(rng.normal(size=(60, width)) + 3 * base), unit(rng.normal(size=(60, width)) - 3 * base)
    )
    same = separability(rng.normal(size=(400, width)), rng.normal(size=(400, width)))
    assert apart == 1
    assert same == pytest.approx(0.5, abs=0.06)


def test_separability_counts_both_sets_the_same():
    rng = np.random.default_rng(2)
    assert separability(rng.normal(size=(600, 4)), rng.normal(size=(30, 4))) == pytest.approx(0.5, abs=0.15)


def test_separability_is_of_rows_not_seen():
    # more columns than rows: a rule that is judged on its own rows would be right always
    rng = np.random.default_rng(3)
    assert separability(rng.normal(size=(40, 500)), rng.normal(size=(40, 500))) < 0.75


def test_both_ways_to_solve_give_one_rule():
    # 60 rows a set, 48 seen of each: fewer rows than 100 columns, of which only three are used
    rng = np.random.default_rng(4)
    one, other = rng.normal(size=(60, 3)) + 0.4, rng.normal(size=(60, 3))
    turned = np.linalg.qr(rng.normal(size=(100, 100)))[0][:3]
    wide = separability(one @ turned, other @ turned)
    assert wide == pytest.approx(separability(one, other), abs=0.03)


def test_the_plane_keeps_distances_of_flat_data():
    rng = np.random.default_rng(6)
    flat = rng.normal(size=(12, 2)) @ np.linalg.qr(rng.normal(size=(5, 5)))[0][:2] + 7
    one, other = plane(flat[:8], flat[8:])
    assert one.shape == (8, 2)
    assert other.shape == (4, 2)
    whole = np.concatenate([one, other])
    expected = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    assert np.linalg.norm(whole[:, None] - whole[None], axis=2) == pytest.approx(expected)
    assert whole.var(axis=0)[0] >= whole.var(axis=0)[1]
    assert plane([[1.0], [2.0]])[0].shape == (2, 2)


@pytest.mark.parametrize(
    ("one", "other", "paired", "words"),
    [
        ([[1.0, 0]], [[1.0, 0, 0]], False, "one encoder"),
        ([[2.0, 0]], [[1.0, 0]], False, "length 2"),
        ([[np.nan, 0]], [[1.0, 0]], False, "length nan"),
        ([1.0, 0], [[1.0, 0]], False, "one embedding a row"),
        ([[1.0, 0]], np.zeros((0, 2)), False, "at least one"),
        ([[1.0, 0], [0, 1.0]], [[1.0, 0]], True, "equally many"),
    ],
)
def test_what_is_no_set_of_unit_rows_is_refused(one, other, paired, words):
    with pytest.raises(UserError, match=words):
        modality_gap(one, other, paired)


def test_separability_needs_rows():
    with pytest.raises(UserError, match="two or more rows"):
        separability([[1.0, 0]], [[0, 1.0], [1.0, 0]])
    with pytest.raises(UserError, match="no rows"):
        plane(np.zeros((0, 2)))
    with pytest.raises(UserError, match="one width"):
        plane([[1.0, 0]], [[1.0]])
