"""Calibration: errors that are known, intervals that hold them, and a temperature that was put in."""

import json

import numpy as np
import pytest

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.evaluation.calibration import (
    AnswerLogits,
    calibration,
    calibration_error,
    fit_temperature,
    reliability,
    separation,
)
from imagebind_llm.evaluation.engine import Said
from imagebind_llm.evaluation.kept import KeptAnswers
from imagebind_llm.evaluation.page import page
from imagebind_llm.evaluation.report import markdown
from imagebind_llm.evaluation.runner import run_suite
from imagebind_llm.evaluation.suite import Item, Suite

IDENTITY = {"schema": 2, "task": "x", "model": {}, "settings": {}}


def test_errors_that_are_known():
    sure = np.repeat([0.25, 0.75], 40)
    right = np.tile([1.0, 0.0, 0.0, 0.0], 20)
    right[40:] = 1 - right[40:]
    assert calibration_error(sure, right) == pytest.approx(0)
    assert calibration_error(sure, 1 - right) == pytest.approx(0.5)
    assert calibration_error(np.ones(30), np.zeros(30)) == 1
    table = reliability(sure, right)
    assert [one.n for one in table] == [8] * 10
    assert [one.confidence for one in table] == [0.25] * 5 + [0.75] * 5
    assert all(one.low < one.right < one.high for one in table)


def test_how_well_right_and_wrong_are_told_apart():
    right = np.array([1.0, 0.0, 1.0, 0.0])
    assert separation(np.array([0.9, 0.1, 0.8, 0.2]), right) == 1
    assert separation(np.array([0.1, 0.9, 0.2, 0.8]), right) == 0
    assert separation(np.full(4, 0.5), right) == 0.5
    assert separation(np.array([0.9, 0.5, 0.5, 0.1]), right) == pytest.approx(0.875)
    assert separation(np.array([0.1, 0.2]), np.ones(2)) is None


def drawn(seed, count=2000, shift=0.0):
    generator = np.random.default_rng(seed)
    truth = generator.beta(4, 1, count)
    return np.clip(truth + shift, 0, 1), (generator.random(count) < truth).astype(float)


def test_the_interval_holds_the_error():
    held = 0
    for seed in range(20):
        sure, right = drawn(seed, 1000, shift=-0.2)
        found = calibration(sure.tolist(), right.tolist(), [str(n) for n in range(1000)])
        held += found["error"]["low"] <= 0.1994 <= found["error"]["high"]
        assert found["error"]["low"] < found["error"]["value"] < found["error"]["high"]
    assert held >= 16
    sure, right = drawn(0)
    calibrated = calibration(sure.tolist(), right.tolist(), [str(n) for n in range(2000)])
    assert calibrated["error"]["value"] < 0.03
    assert calibrated["error"]["low"] < 0.01


def test_units_are_drawn_together():
    sure, right = drawn(3, 400, shift=-0.2)
    alone = calibration(sure.tolist(), right.tolist(), [str(n) for n in range(400)])
    twice = calibration(
        np.repeat(sure, 4).tolist(), np.repeat(right, 4).tolist(), [str(n // 4) for n in range(1600)]
    )
    wide, narrow = (
        one["error"]["high"] - one["error"]["low"]
        for one in (
            twice,
            calibration(
                np.repeat(sure, 4).tolist(), np.repeat(right, 4).tolist(), [str(n) for n in range(1600)]
            ),
        )
    )
    assert wide > 1.5 * narrow
    assert wide == pytest.approx(alone["error"]["high"] - alone["error"]["low"], rel=0.3)


def test_few_answers_say_nothing():
    assert calibration([0.5] * 19, [1.0] * 19, ["a"] * 19) is None
    assert calibration([0.5] * 20, [1.0] * 20, list("abcdefghijklmnopqrst"))["error"]["value"] == 0.5


def test_a_temperature_that_was_put_in_is_found():
    generator = np.random.default_rng(0)
    answers, right = [], []
    for _ in range(1500):
        logits = generator.normal(0, 2, (1, 6))
        shares = np.exp(logits[0]) / np.exp(logits[0]).sum()
        token = int(shares.argmax())
        right.append(bool(generator.random() < shares[token]))
        answers.append(AnswerLogits("", [token], (2.5 * logits).astype(np.float32)))
    found = fit_temperature(answers, right)
    assert found == pytest.approx(2.5, rel=0.15)
    before, after = (
        calibration_error(np.array([one.confidence(t) for one in answers]), np.array(right, float))
        for t in (1.0, found)
    )
    assert after < 0.05 < before
    with pytest.raises(ValueError, match="expected as many"):
        fit_temperature(answers, right[1:])


# --- in evaluations


class Named(Suite):
    name = "named"

    def items(self, data):
        for number in range(60):
            yield Item(f"i{number}", {"question": f"{number}?"}, "yes", unit=f"u{number // 2}")

    def right(self, item, answer):
        return answer == item.expected


class Engine:
    modalities = None

    def __init__(self, told=True, least=0):
        self.told, self.least = told, least

    def answers(self, requests):
        for request in requests:
            number = int(request["question"].rstrip("?"))
            text = "no" if number % 4 == 0 else "yes"
            yield Said(text, 0.4 + 0.01 * number) if self.told and number >= self.least else text


def test_results_tell_of_calibration(tmp_path):
    outcome = run_suite(Named(), Engine(), out=tmp_path / "a")
    found = outcome.results["calibration"]
    assert (found["n"], found["right"]) == (60, 0.75)
    assert found["confidence"] == pytest.approx(0.695)
    assert outcome.samples[5]["confidence"] == 0.45
    again = run_suite(Named(), Engine(told=False), out=tmp_path / "a")  # nothing is asked again
    assert again.results == outcome.results
    line = json.loads((tmp_path / "a" / "answers.jsonl").read_text().splitlines()[5])
    assert line == {"key": "i5", "answer": "yes", "confidence": 0.45}
    html = page(outcome.results, outcome.samples)
    assert "<h2>Calibration</h2>" in html
    assert html.count("<circle") == 10
    assert "confidence 0.40" in html
    assert "expected calibration error" in markdown(outcome.results)


def test_answers_without_a_confidence_are_left_out(tmp_path):
    outcome = run_suite(Named(), Engine(told=False))
    assert "calibration" not in outcome.results
    assert "confidence" not in outcome.samples[0]
    assert "Calibration" not in page(outcome.results, outcome.samples)
    assert run_suite(Named(), Engine(least=20)).results["calibration"]["n"] == 40
    assert "calibration" not in run_suite(Named(), Engine(least=45)).results


class Scored(Named):
    def judge(self, items, answers):
        from imagebind_llm.evaluation.suite import Sample

        return [Sample({"n": 1, "right": 0.5}, None, 0.5) for _ in items]


def test_scores_between_right_and_wrong_have_none():
    assert "calibration" not in run_suite(Scored(), Engine()).results


@pytest.mark.parametrize(
    "line",
    [
        '{"key": "a", "answer": "b", "confidence": 1.5}',
        '{"key": "a", "answer": "b", "confidence": "1"}',
        '{"key": "a", "answer": "b", "confidence": true}',
        '{"key": "a", "answer": "b", "confidence": null}',
        '{"key": "a", "error": "b", "confidence": 0.5}',
        '{"key": "a", "confidence": 0.5}',
    ],
)
def test_damaged_confidences_are_refused(tmp_path, line):
    with KeptAnswers(tmp_path, IDENTITY).opened():
        pass
    (tmp_path / "answers.jsonl").write_text(line + "\n")
    with (
        pytest.raises(ConfigError, match="line 1 is no answer") as caught,
        KeptAnswers(tmp_path, IDENTITY).opened(),
    ):
        pass
    assert "\n" not in str(caught.value)
