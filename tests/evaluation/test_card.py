"""Reports, pictures and the model card, from results of an oracle."""

import json

import pytest
import yaml
from eval_worlds import Guesser, whole_results

from imagebind_llm.errors import UserError
from imagebind_llm.evaluation.card import model_card, read_results, write_card
from imagebind_llm.evaluation.sets import SENSES
from imagebind_llm.evaluation.tables import percent, points, report

SECTIONS = (
    "Intended use", "Its world", "How it was trained", "Training data and licences", "Results", "Cautions",
    "Limitations", "How to reproduce",
)  # fmt: skip


def test_card_has_front_matter_and_every_section(oracle_results) -> None:
    card = model_card(oracle_results)
    assert card.startswith("---\n")
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == "apache-2.0"
    assert front["language"] == ["en", "zh"]
    found = front["model-index"][0]["results"]
    assert len(found) == len(SENSES)
    assert found[0]["metrics"][0]["value"] == 100.0
    for section in SECTIONS:
        assert f"## {section}\n" in card
    assert "$" not in card
    assert "CC BY-SA 4.0" in card
    assert "not shipped" in card


def test_card_says_which_model_and_how(oracle_results) -> None:
    card = model_card(oracle_results)
    for fact in (
        "00c0ffee00c0ffee",
        "0badcafe0badcafe",
        "ab" * 32,
        "10,000,001",
        "f00dfeed",
        "--seed 17",
        "torch 2.99",
    ):
        assert fact in card
    assert "4,321 training pictures" in card
    assert "**on** for audio" in card
    for sense in SENSES:
        assert f"| {sense.name} ({sense.origin}) |" in card


def test_card_of_a_model_without_cache() -> None:
    card = model_card(whole_results(Guesser()))
    assert "without a cache" in card
    assert "**no**" in card


def test_card_round_trip(oracle_results, tmp_path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(oracle_results))
    write_card(read_results(path), tmp_path / "out" / "MODEL_CARD.md")
    assert (tmp_path / "out" / "MODEL_CARD.md").read_text() == model_card(oracle_results)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ('{"schema": 77}', "schema 77; expected 1"),
        ('{"schema": 1, "task": "nano"}', "lacks model"),
        (None, "cannot read"),
    ],
)
def test_unusable_results_are_one_clear_line(tmp_path, text, message) -> None:
    path = tmp_path / "results.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_results(path)
    assert "\n" not in str(caught.value)


def test_numbers_as_they_are_printed() -> None:
    assert percent({"accuracy": 0.9719, "low": 0.964, "high": 0.979}) == "97.2 (96.4–97.9)"
    assert points({"difference": 0.021, "low": -0.003, "high": 0.039}) == "+2.1 (-0.3…+3.9)"
    assert percent(None) == points(None) == "–"


def test_report_and_pictures(oracle_results, tmp_path) -> None:
    assert "| spoken digits (real) | 80 | 100.0" in report(oracle_results)
    pytest.importorskip("matplotlib")
    from imagebind_llm.evaluation.plots import draw_all

    made = draw_all(oracle_results, tmp_path)
    assert len(made) == len(SENSES) + 1
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in made)
    assert (tmp_path / "confusion-imu-digits.png") in made
