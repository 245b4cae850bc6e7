"""Reports, pictures and the model card, from results of an oracle."""

import json
import re
from pathlib import Path

import pytest
import yaml
from eval_worlds import Guesser, whole_results

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.report import percent, points
from nano_lab.evaluation.card import model_card, read_results, write_card
from nano_lab.evaluation.readme import END, START, readme_block, write_readme
from nano_lab.evaluation.sets import SENSES
from nano_lab.evaluation.tables import report

SECTIONS = (
    "Intended use", "Its world", "How it was trained", "Training data and licences", "Results", "Cautions",
    "Limitations", "How to reproduce",
)  # fmt: skip


def test_card_has_front_matter_and_every_section(oracle_results) -> None:
    card = model_card(oracle_results)
    assert card.startswith("---\n")
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front["license"], front["license_name"]) == ("other", "research-only")
    assert "research only" in card
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
    from nano_lab.evaluation.plots import draw_all

    made = draw_all(oracle_results, tmp_path)
    assert len(made) == len(SENSES) + 1
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in made)
    assert (tmp_path / "confusion-imu-digits.png") in made


def test_a_readme_gets_the_same_numbers_and_keeps_the_rest(oracle_results, tmp_path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"# Mine\n\n{START}\nold\n{END}\n\nMore.\n")
    write_readme(oracle_results, path)
    write_readme(oracle_results, path)
    text = path.read_text()
    assert text == f"# Mine\n\n{START}\n{readme_block(oracle_results)}\n{END}\n\nMore.\n"
    assert (
        "| spoken digits | 80 FSDD (speakers known from training) (real) | 100.0 (95–100) | **100.0**" in text
    )
    assert "100.0 % of 20 met with doubt, 0.0 % with an invention" in text


def test_a_readme_of_a_model_that_guesses_without_a_cache() -> None:
    block = readme_block(whole_results(Guesser()))
    assert re.search(r"handwriting \| 80 MNIST \(real\) \| \*\*\d+\.\d\*\* \(\d+–\d+\) \| – \|", block)
    assert "0.0 % of 20 met with doubt, 100.0 % with an invention" in block


@pytest.mark.parametrize("text", ["nothing", START, f"{END}\n{START}", f"{START}\n{START}\n{END}", None])
def test_a_readme_without_its_marks_is_left_alone(oracle_results, tmp_path, text) -> None:
    path = tmp_path / "README.md"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=r"needs a line|cannot read"):
        write_readme(oracle_results, path)
    assert text is None or path.read_text() == text


def cells_of(text: str) -> dict[str, list[str]]:
    """The first table of a text by its first column."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def test_the_readme_and_the_model_card_tell_the_same() -> None:
    """Both are made from one file of results; whoever renews one must renew the other."""
    root = Path(__file__).parents[4]
    card = (root / "MODEL_CARD.md").read_text(encoding="utf-8")
    readme = (root / "README.md").read_text(encoding="utf-8").split(START)[1].split(END)[0]
    rows = cells_of(card.split("## Results")[1].split("### ")[0])
    shown = cells_of(readme)
    for sense in SENSES:
        count, encoder, off, on, _, default = rows[f"{sense.name} ({sense.origin})"][:6]
        data, told_off, told_on, told_encoder = shown[sense.name]
        assert data.startswith(f"{count} ")
        assert data.endswith(f"({sense.origin})")
        assert told_encoder == encoder.split(" ")[0]
        for told, known, mode in ((told_off, off, "off"), (told_on, on, "on")):
            share, low, high = re.fullmatch(r"([\d.]+) \(([\d.]+)–([\d.]+)\)", known).groups()
            assert told.startswith(f"**{share}** (" if mode == default else f"{share} ("), sense.name
            ends = re.search(r"\((\d+)–(\d+)\)", told).groups()
            assert abs(float(ends[0]) - float(low)) <= 0.55
            assert abs(float(ends[1]) - float(high)) <= 0.55
    doubted = re.search(r"at the defaults: ([\d.]+) \([^)]+\) of (\d+) doubted", card)
    assert doubted is not None
    assert f"{doubted[1]} % of {doubted[2]} met with doubt" in readme
    mixed = cells_of(card.split("### Mixtures")[1].split("### ")[0])["picture and speech, different digits"]
    assert f"both named in {mixed[2].split(' ')[0]} % (cache {mixed[4]}," in readme
