"""Intervals and tests from sums over items: hand-computed cases, and what they promise on simulated data."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from imagebind_llm.evaluation.bootstrap import EXCHANGES, Sums, changes, estimates, holm
from imagebind_llm.evaluation.metrics import wilson
from imagebind_llm.evaluation.suite import Item, Sample, ratio


def sums_of(records: Sequence[dict[str, float]], units: Sequence[str] | None = None) -> Sums:
    items = [Item(f"item {n}", {}, unit=units[n] if units else "") for n in range(len(records))]
    return Sums.of(items, [Sample(record) for record in records])


def outcomes(right: Sequence[float], units: Sequence[str] | None = None) -> Sums:
    return sums_of([{"n": 1, "right": float(value)} for value in right], units)


def accuracy(sums):
    return {"accuracy": ratio(sums["right"], sums["n"])}


def precision(sums):
    return {"precision": ratio(sums.get("true", 0.0 * sums["n"]), sums.get("yes", 0.0 * sums["n"]))}


def test_units_are_added_up_in_the_order_of_their_first_item() -> None:
    items = [Item("a", {}, unit="x"), Item("b", {}), Item("c", {}, unit="x"), Item("x", {}), Item("d", {})]
    samples = [Sample({"n": 1, "right": 1}), Sample({"n": 1}), Sample({"n": 1, "right": 1}),
               Sample({"n": 1}), Sample({})]  # fmt: skip
    sums = Sums.of(items, samples)
    # the item "x" stands alone: it is not of the unit "x"; "d" is not counted; "b" and "x" add the same
    assert (sums.names, sums.units) == (("n", "right"), 3)
    assert sums.values[sums.rows].tolist() == [[2, 2], [1, 0], [1, 0]]
    assert len(sums.values) == 2
    assert {name: float(value) for name, value in sums.total().items()} == {"n": 4, "right": 2}


def test_a_sum_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        outcomes([1.0, math.inf])


def test_every_draw_has_as_many_units_and_any_may_come_twice() -> None:
    drawn = outcomes([1, 0, 0, 1, 1]).drawn(seed=3, draws=4000)
    assert (drawn[:, 0] == 5).all()
    expected = [math.comb(5, k) * 0.6**k * 0.4 ** (5 - k) for k in range(6)]
    found = np.bincount(drawn[:, 1].astype(int), minlength=6) / 4000
    assert found == pytest.approx(expected, abs=0.03)


def test_the_interval_of_a_mean_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(5).normal(3, 2, 400)
    found = estimates(sums_of([{"n": 1, "x": x} for x in values]), lambda s: {"mean": s["x"] / s["n"]})
    half = 1.96 * values.std() / 20
    assert found["mean"].value == pytest.approx(values.mean())
    assert (found["mean"].low, found["mean"].high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.04
    )


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for seed in range(400):
        found = estimates(outcomes(generator.random(150) < 0.7), accuracy, seed, 400)["accuracy"]
        covered += found.low <= 0.7 <= found.high
    assert 0.92 <= covered / 400 <= 0.97  # 0.95, less a little for a percentile interval; ± 2 errors


def test_intervals_of_units_cover_it_where_those_of_items_do_not() -> None:
    generator = np.random.default_rng(2)
    names = [f"picture {n // 5}" for n in range(300)]
    covered = {"units": 0, "items": 0}
    for seed in range(200):
        right = np.repeat(generator.random(60) < 0.6, 5)  # all five questions alike
        for kind, units in (("units", names), ("items", None)):
            found = estimates(outcomes(right, units), accuracy, seed, 300)["accuracy"]
            covered[kind] += found.low <= 0.6 <= found.high
    assert covered["units"] >= 0.9 * 200
    assert covered["items"] < 0.75 * 200


def test_units_that_agree_within_widen_the_interval_by_the_root_of_their_size() -> None:
    right = np.repeat(np.arange(100) % 3 > 0, 4)
    apart = estimates(outcomes(right), accuracy)["accuracy"]
    together = estimates(outcomes(right, [f"u{n // 4}" for n in range(400)]), accuracy)["accuracy"]
    assert together.value == apart.value
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_where_all_agree_the_interval_is_wilsons(right) -> None:
    found = estimates(outcomes([right] * 30), accuracy)["accuracy"]
    assert (found.value, found.low, found.high) == (right, *wilson(round(30 * right), 30))
    # two items a unit: 15 units speak, not 30
    found = estimates(outcomes([right] * 30, [f"u{n // 2}" for n in range(30)]), accuracy)["accuracy"]
    assert (found.low, found.high) == wilson(round(15 * right), 15)


def test_wilsons_interval_is_over_the_units_that_the_metric_is_about() -> None:
    records = [{"n": 1, "yes": 1, "true": 1}] * 3 + [{"n": 1.0}] * 97
    found = estimates(sums_of(records), precision)["precision"]
    assert (found.value, found.low, found.high) == (1, *wilson(3, 3))


def test_points_and_other_values_that_cannot_vary_have_no_interval() -> None:
    sums = sums_of([{"n": 1, "score": 0.0, "half": 0.5}] * 10)

    def metrics(s):
        return {"score": s["score"] / s["n"], "half": s["half"] / s["n"]}

    found = estimates(sums, metrics, points=("score",))
    assert found["score"].to_dict() == {"value": 0.0, "low": None, "high": None}
    assert found["half"].to_dict() == {"value": 0.5, "low": None, "high": None}


def test_a_metric_without_a_value_has_none_and_no_interval() -> None:
    found = estimates(sums_of([{"n": 1}] * 8), precision)["precision"]
    assert found.to_dict() == {"value": None, "low": None, "high": None}


def test_a_metric_that_many_draws_lack_has_a_value_but_no_interval() -> None:
    records = [{"n": 1, "yes": 1, "true": 1}, {"n": 1, "yes": 1}] + [{"n": 1.0}] * 30
    found = estimates(sums_of(records), precision)["precision"]  # (1 - 2/32)**32 = 13 % of draws have no yes
    assert found.to_dict() == {"value": 0.5, "low": None, "high": None}


def test_without_units_there_is_nothing_to_report() -> None:
    empty = sums_of([{}, {}])
    assert (empty.units, empty.total()) == (0, {})
    assert estimates(empty, accuracy) == {}
    assert changes(empty, empty, accuracy) == {}


def test_draws_are_the_same_for_the_same_seed_and_differ_for_others() -> None:
    sums = outcomes([0, 1] * 40)
    assert estimates(sums, accuracy) == estimates(sums, accuracy)
    assert not (sums.drawn(0) == sums.drawn(1)).all()


def test_a_small_difference_has_the_p_value_that_one_can_count() -> None:
    # three items differ, all for the second: of 8 exchanges two give ± 3, so p = 1/4
    found = changes(outcomes([0, 0, 0, 1, 1, 0]), outcomes([1, 1, 1, 1, 1, 0]), accuracy)["accuracy"]
    assert (found.first, found.second) == pytest.approx((2 / 6, 5 / 6))
    assert found.p == pytest.approx(0.25, abs=0.02)
    assert found.low <= 0.5 <= found.high


def test_units_are_exchanged_whole() -> None:
    units = ["u", "u", "u", "v", "w", "x"]  # the three that differ are one unit: any exchange gives ± 3
    found = changes(outcomes([0, 0, 0, 1, 1, 0], units), outcomes([1, 1, 1, 1, 1, 0], units), accuracy)
    assert found["accuracy"].p == 1.0


def test_runs_are_compared_on_the_same_draws() -> None:
    generator = np.random.default_rng(4)
    first = generator.random(400) < 0.5
    second = first.copy()
    second[:20] = True
    found = changes(outcomes(first), outcomes(second), accuracy)["accuracy"]
    # McNemar's variance, far below that of two independent samples
    share = (second.astype(float) - first).mean()
    half = 1.96 * math.sqrt((share - share**2) / 400)
    assert (found.low, found.high) == pytest.approx((share - half, share + half), abs=0.004)


def test_the_p_value_is_uniform_where_there_is_no_difference() -> None:
    generator = np.random.default_rng(6)
    found = []
    for seed in range(120):
        scores = generator.normal(size=(2, 60))
        one, other = (sums_of([{"n": 1, "right": x} for x in run]) for run in scores)
        found.append(changes(one, other, accuracy, seed)["accuracy"].p)
    ranked = np.sort(found)
    steps = (np.arange(120) + 1) / 120
    distance = max((steps - ranked).max(), (ranked - steps + 1 / 120).max())
    assert distance < 1.63 / math.sqrt(120)  # Kolmogorov and Smirnov at 1 %
    assert 0.01 <= np.mean(ranked <= 0.05) <= 0.1


def test_a_clear_difference_has_the_smallest_p_value() -> None:
    found = changes(outcomes([0] * 40 + [1] * 40), outcomes([1] * 80), accuracy)["accuracy"]
    assert found.p == 1 / (EXCHANGES + 1)
    assert found.low > 0.35


def test_equal_runs_differ_by_nothing() -> None:
    sums = outcomes([0, 1, 1, 0, 1])
    found = changes(sums, sums, accuracy)["accuracy"].to_dict()
    assert found == {"first": 0.6, "second": 0.6, "difference": 0, "low": None, "high": None, "p": 1.0}


def test_exchanges_that_differ_by_rounding_are_counted() -> None:
    first = sums_of([{"n": 1, "right": x} for x in (0.1, 0.2, 0.3)])
    second = sums_of([{"n": 1, "right": x} for x in (0.4, 0.5, 0.6)])
    found = changes(first, second, lambda s: {"points": 1e6 * s["right"] / s["n"]})["points"]
    assert found.p == pytest.approx(0.25, abs=0.02)


def test_sums_that_one_run_lacks_count_as_nothing() -> None:
    first = sums_of([{"n": 1, "yes": 1, "true": 1}, {"n": 1, "yes": 1}, {"n": 1.0}])
    second = sums_of([{"n": 1.0}] * 3)
    found = changes(first, second, precision)["precision"].to_dict()
    assert found == dict.fromkeys(("second", "difference", "low", "high", "p"), None) | {"first": 0.5}


def test_other_numbers_of_units_are_refused() -> None:
    with pytest.raises(ValueError, match="3 and 2 units"):
        changes(outcomes([1, 0, 1]), outcomes([1, 0]), accuracy)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    adjusted = holm([0.5, math.nan, 0.9])
    assert (adjusted[0], adjusted[2]) == (1.0, 1.0)
    assert math.isnan(adjusted[1])
    assert holm([]) == []
