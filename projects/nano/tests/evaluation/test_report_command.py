"""Nano's report: its arms asked of an oracle, what is kept of a killed run, and the whole command."""

import json
import os
from functools import partial

import pytest
import torch
from eval_worlds import SMALL, Oracle, tiny_material, whole_results

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.work_folder import work_folder
from nano_lab.evaluation.card import model_card
from nano_lab.evaluation.claims.against import compare
from nano_lab.evaluation.claims.arms import CURVES, mixture_curves, without_injection
from nano_lab.evaluation.claims.gaps import gap_maps, sense_gaps
from nano_lab.evaluation.claims.keeping import KeptModel, kept_material
from nano_lab.evaluation.run import Clock, ask_everything
from nano_lab.evaluation.sets import SENSES

DATA = os.environ.get("IMAGEBIND_LLM_DATA")


def test_with_the_injection_off_an_oracle_knows_nothing() -> None:
    model = Oracle(cache=True)
    rows = without_injection(model, tiny_material(model).known, SMALL, 0)
    assert [row["name"] for row in rows] == [sense.name for sense in SENSES]
    for row in rows:
        assert (row["right"]["correct"], row["right"]["n"]) == (0, 80)
        assert row["said_nothing_given"]["correct"] == 80  # "There is nothing here."


def test_a_mixture_is_the_standard_one_at_one_half_and_one_thing_at_the_ends(oracle_results) -> None:
    """The oracle sees what has more than a fifth of a condition."""
    model = Oracle(cache=True)
    found = mixture_curves(model, tiny_material(model).known, SMALL, 0)
    assert [row["name"] for row in found] == [name for name, _, _ in CURVES]
    for row in found:
        named = [
            max(("first", "second", "both", "other"), key=lambda k: p[k]["correct"]) for p in row["points"]
        ]
        assert named == ["first"] * 3 + ["both"] * 5 + ["second"] * 3
        assert all(point["n"] == 24 for point in row["points"])
        assert row["points"][5]["both"]["accuracy"] == 1.0
        assert row["crossing"] == pytest.approx(0.3)  # both are named from there on, neither alone
    standard = {row["name"]: row["cache_off"]["accuracy"] for row in oracle_results["mixtures"]}
    assert all(standard[row["name"]] == 1.0 for row in found)


def test_things_on_the_same_axis_have_no_gap_and_the_cache_is_shown_beside() -> None:
    known = tiny_material(Oracle(cache=True)).known
    rows = {row["name"]: row for row in sense_gaps(known, 0)}
    assert rows.keys() == {sense.name for sense in SENSES}
    for row in rows.values():
        assert row["off"]["n"] == 80
        assert row["off"]["gap"] == row["on"]["gap"] == row["off"]["matched"] == 0.0
        assert row["off"]["low"] == row["off"]["high"] == 0.0
        assert row["off"]["unmatched"] > 0.5
    maps = gap_maps(known)
    assert [name for name, _ in maps["cache off"]][:2] == ["handwriting", "spoken digits"]
    assert gap_maps(tiny_material(Oracle(cache=False)).known) == {}


class Mortal(Oracle):
    """Dies at the n-th list of questions; counts what it was asked."""

    def __init__(self, lives: int) -> None:
        super().__init__(cache=True)
        self.lives, self.asked = lives, 0

    def answer(self, questions):
        if not self.lives:
            raise KeyboardInterrupt
        self.lives -= 1
        self.asked += len(questions)
        return super().answer(questions)


def test_a_killed_run_goes_on_with_the_answers_it_has(tmp_path, oracle_results) -> None:
    def run(model):
        with work_folder(tmp_path / "parts", {"test": 1}, busy="busy") as work:
            material = kept_material(work, lambda: tiny_material(model))
            return ask_everything(KeptModel(model, work), material, SMALL, 0, Clock(), progress=False)

    first, second, third = Mortal(3), Mortal(10**6), Mortal(0)
    with pytest.raises(KeyboardInterrupt):
        run(first)
    results = run(second)
    assert first.asked
    assert second.asked
    whole = ask_everything(Mortal(10**6), tiny_material(first), SMALL, 0, Clock(), progress=False)
    assert json.dumps(results) == json.dumps(whole)
    counted = Mortal(10**6)
    ask_everything(counted, tiny_material(counted), SMALL, 0, Clock(), progress=False)
    assert first.asked + second.asked == counted.asked  # nothing twice
    assert json.dumps(run(third)) == json.dumps(whole)  # nobody is asked again


def test_other_conditions_are_other_questions(tmp_path) -> None:
    from nano_lab.evaluation.variants import about, naming_turns

    data = tiny_material(Oracle()).known["handwriting"]
    turns = naming_turns(0, data.name, data.labels, "en", "heldout")[:4]
    with work_folder(tmp_path / "parts", {"test": 1}, busy="busy") as work:
        model = KeptModel(Oracle(), work)
        seen = model.answer(about(turns, data.plain))
        assert model.answer(about(turns, data.plain.roll(1, 1))) != seen
        assert model.answer(about(turns, data.plain)) == seen


def test_embedded_sets_come_back_as_they_were(tmp_path) -> None:
    model = Oracle(cache=True)
    material = tiny_material(model)
    with work_folder(tmp_path / "parts", {"test": 1}, busy="busy") as work:
        kept_material(work, lambda: material)

        def never():
            raise AssertionError("it was kept")

        found = kept_material(work, never)
    assert list(found.known) == list(material.known)
    assert list(found.unknown) == list(material.unknown)
    for name, data in material.known.items():
        other = found.known[name]
        assert (other.modality, other.default) == (data.modality, data.default)
        assert torch.equal(other.plain, data.plain)
        assert torch.equal(other.cached, data.cached)
        assert other.labels.tolist() == data.labels.tolist()
    assert found.means.source == material.means.source


def test_the_report_agrees_with_a_card_of_the_same_results_only(oracle_results, tmp_path) -> None:
    card = tmp_path / "MODEL_CARD.md"
    text = model_card(oracle_results)
    card.write_text(text)
    same = compare(oracle_results, card, limited=False)
    assert same.says.startswith("**Agrees with the model card**: all ")
    assert same.rows > 60
    old = "| spoken digits (real) | 80 | 100.0"
    assert old in text
    card.write_text(text.replace(old, "| spoken digits (real) | 80 | 99.9"))
    other = compare(oracle_results, card, limited=False)
    assert len(other.differ) == 1
    assert other.differ[0].startswith("Results, spoken digits (real): 80 · 99.9")
    assert other.says.startswith("**Differs from the model card** in 1 of ")
    assert "--items" in compare(oracle_results, card, limited=True).says
    card.write_text(text.replace("ab" * 32, "cd" * 32))
    assert "other weights" in compare(oracle_results, card, limited=False).says
    assert compare(oracle_results, None, limited=False).says.startswith("**Not compared")
    for damaged in ("# Nothing", text.replace("## Cautions", "## Else")):
        card.write_text(damaged)
        with pytest.raises(UserError, match="is no model card of nano"):
            compare(oracle_results, card, limited=False)
    with pytest.raises(UserError, match="cannot read"):
        compare(oracle_results, tmp_path / "none.md", limited=False)


def command(*arguments: object) -> int:
    from imagebind_llm.cli import main

    with pytest.raises(SystemExit) as left:
        main(["eval", "report", *map(str, arguments)])
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.mark.skipif(not DATA, reason="set IMAGEBIND_LLM_DATA to the folder of nano's datasets")
def test_the_command_writes_the_report_and_goes_on_where_it_stopped(
    tiny_model_folder, tmp_path, monkeypatch, capsys
) -> None:
    from nano_lab.evaluation import run
    from nano_lab.evaluation.claims import measure
    from nano_lab.evaluation.model import AssistantUnderTest

    monkeypatch.setattr(run, "means_from_pictures", partial(run.means_from_pictures, each=2))
    given = ("--data", DATA, "--model", tiny_model_folder, "--items", 2, "--out", tmp_path / "report")
    whole = measure.text_ability
    monkeypatch.setattr(measure, "text_ability", lambda *_: 1 / 0)  # a run that dies when most is done
    assert command(*given) != 0
    monkeypatch.setattr(measure, "text_ability", whole)
    monkeypatch.setattr(AssistantUnderTest, "answer", lambda *_: 1 / 0)
    monkeypatch.setattr(AssistantUnderTest, "embed", lambda *_: 1 / 0)
    assert command(*given) == 0
    values = json.loads((tmp_path / "report" / "report.json").read_text())
    assert len(values["standard"]["senses"]) == len(values["without_injection"]) == 11
    assert len(values["mixtures"]) == 3
    assert len(values["mixtures"][0]["points"]) == 11
    assert values["tokens"]["with"] == values["tokens"]["without"]
    assert "milliseconds" not in json.dumps(values)
    assert "seconds" not in values["standard"]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "<strong>Not compared with the model card</strong>" in page
    assert 'src="data:image/png' in page
    assert (tmp_path / "report" / "mixtures.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "report" / "cost.json").read_text())["steps"]["answer with"]["rounds"] == 3
    capsys.readouterr()
    assert command(*given, "--seed", 1) == 2
    error = capsys.readouterr().err
    assert "was measured with seed 0, this run has 1" in error
    assert error.count("\n") == 1


def test_what_cannot_be_reported_is_said_in_a_line(tiny_model_folder, tmp_path, capsys) -> None:
    given = ("--model", tiny_model_folder, "--out", tmp_path / "report")
    for more, words in (
        (("--data", tmp_path / "none"), "there is no folder"),
        (("--data", tmp_path, "--check", tmp_path / "none"), "there is no file"),
        (("--data", tmp_path, "--check", __file__, "--items", 4), "leave it out with --check"),
        (("--data", tmp_path, "--base", tmp_path), "language model"),
    ):
        assert command(*given, *more) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert words in error
        assert error.count("\n") == 1


def test_a_report_that_must_agree_and_does_not_ends_with_2(
    oracle_results, tiny_model_folder, tmp_path, monkeypatch, capsys
) -> None:
    from nano_lab.evaluation.claims import measure
    from nano_lab.evaluation.claims.measure import Measured

    model = Oracle(cache=True)
    known = tiny_material(model).known
    timing = {"median": 1.0, "low": 1.0, "high": 1.0, "rounds": 3}
    cost = {
        "tokens": {"with": 9, "without": 9},
        "new_tokens": 32,
        "steps": {"answer without": timing},
        "differences": {"answer": timing},
    }
    values = {
        "standard": oracle_results,
        "without_injection": without_injection(model, known, SMALL, 0),
        "mixtures": mixture_curves(model, known, SMALL, 0),
        "gaps": sense_gaps(known, 0),
        "text": {"base": {"says": "No base.", "exact": False}, "kinds": []},
    }
    monkeypatch.setattr(measure, "measure", lambda *_: Measured(values, cost, gap_maps(known)))
    card = tmp_path / "card.md"
    given = ("--data", tmp_path, "--model", tiny_model_folder, "--out", tmp_path / "report", "--check", card)
    card.write_text(model_card(whole_results(model)))
    assert command(*given) == 0
    assert "**Agrees with the model card**" in capsys.readouterr().out
    card.write_text(card.read_text().replace("| 80 | 100.0", "| 80 | 99.0", 1))
    assert command(*given) == 2
    shown = capsys.readouterr()
    assert "**Differs from the model card** in 1 of" in shown.out.split("\n")[2]
    assert "- Results, handwriting (real): 80 · 99.0" in shown.out
    assert shown.err.startswith("error: the report differs from ")
    assert "1 of " in shown.err
