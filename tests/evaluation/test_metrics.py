"""Intervals against values from the literature and from SciPy."""

import pytest

from imagebind_llm.evaluation.metrics import Difference, Score, wilson


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
    ],
)
def test_wilson_gives_published_intervals(correct, count, low, high) -> None:
    assert wilson(correct, count) == pytest.approx((low, high), abs=5e-5)


def test_wilson_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    found = stats.binomtest(437, 500).proportion_ci(method="wilson")
    assert wilson(437, 500) == pytest.approx((found.low, found.high), abs=1e-9)


@pytest.mark.parametrize(("correct", "count"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(correct, count) -> None:
    with pytest.raises(ValueError, match=f"{correct} correct of {count}"):
        Score(correct, count)


def test_score_of_outcomes() -> None:
    score = Score.of([True, False, True, True])
    assert score.to_dict() == {
        "n": 4,
        "correct": 3,
        "accuracy": 0.75,
        "low": pytest.approx(0.3006, abs=1e-4),
        "high": pytest.approx(0.9544, abs=1e-4),
    }


def test_difference_counts_only_what_changed() -> None:
    first = [True, True, False, False, True]
    second = [True, False, True, True, True]
    found = Difference.of(first, second)
    assert (found.gained, found.lost, found.count) == (2, 1, 5)
    assert found.value == pytest.approx(0.2)


def test_difference_interval() -> None:
    # b = 12.5, c = 53.5 of N = 322 after adding a half to each cell (Agresti and Min 2005, section 4).
    found = Difference(53, 12, 320)
    low, high = found.interval
    centre = (53.5 - 12.5) / 322
    assert (low + high) / 2 == pytest.approx(centre)
    assert (high - low) / 2 == pytest.approx(1.959964 * (66 - 41**2 / 322) ** 0.5 / 322)
    assert low > 0
    unchanged = Difference.of([True] * 50, [True] * 50)
    assert unchanged.interval[0] < 0 < unchanged.interval[1]


def test_unpaired_outcomes_are_refused() -> None:
    with pytest.raises(ValueError, match="3 and 2"):
        Difference.of([True] * 3, [True] * 2)
