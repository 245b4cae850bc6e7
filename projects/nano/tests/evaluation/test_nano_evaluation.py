"""The standard evaluation, asked of an oracle, a guesser and a doubter in a world of one-hot embeddings."""

import json

import numpy as np
import pytest
import torch
from eval_worlds import SMALL, Doubter, Guesser, Oracle, tiny_material, tiny_results

from imagebind_llm.common.errors import UserError
from nano_lab.evaluation.model import AssistantUnderTest, Question, user
from nano_lab.evaluation.run import MIXTURES, Caps
from nano_lab.evaluation.sets import SENSES
from nano_lab.evaluation.summary import confusion
from nano_lab.evaluation.variants import naming_variants
from nano_lab.grammar import media_sample


def test_an_oracle_is_right_everywhere(oracle_results) -> None:
    assert len(oracle_results["senses"]) == len(SENSES) == 11
    for row in oracle_results["senses"]:
        assert row["cache_off"]["accuracy"] == row["cache_on"]["accuracy"] == 1.0
        assert row["encoder"]["accuracy"] == 1.0
        assert row["doubt"]["correct"] == 0
    assert len(oracle_results["mixtures"]) == len(MIXTURES) == 5
    assert all(row["cache_off"]["accuracy"] == 1.0 for row in oracle_results["mixtures"])
    assert all(row["accuracy"] == 1.0 for row in oracle_results["kinds"].values())
    assert all(row["accuracy"] == 1.0 for row in oracle_results["dialogs"].values())
    assert all(row["accuracy"] == 1.0 for row in oracle_results["text"].values())
    assert all(row["accuracy"] == 1.0 for row in oracle_results["wordings"]["all"].values())
    assert oracle_results["wordings"]["chinese_minus_english"]["difference"] == 0.0


def test_an_oracle_falls_to_chance_when_embeddings_are_shuffled(oracle_results) -> None:
    for row in oracle_results["senses"]:
        assert row["shuffled"]["low"] - 0.05 <= row["chance"] <= row["shuffled"]["high"] + 0.05
        assert row["shuffled"]["accuracy"] < 0.45
    assert all(row["met"] for row in oracle_results["targets"])


def test_far_off_input_wants_doubt(oracle_results, guesser_results) -> None:
    assert oracle_results["strange_total"]["correct"] == oracle_results["strange_total"]["n"] == 20
    (oracle,), (guesser,) = oracle_results["strange"], guesser_results["strange"]
    assert (oracle["cache_off"]["accuracy"], oracle["invented"]["accuracy"]) == (1.0, 0.0)
    assert (guesser["cache_off"]["accuracy"], guesser["invented"]["accuracy"]) == (0.0, 1.0)


def test_a_guesser_is_at_chance_and_meets_no_sense_target(guesser_results) -> None:
    for row in guesser_results["senses"]:
        assert row["cache_off"]["accuracy"] < 0.15
        assert "cache_on" not in row
    met = {row["name"]: row["met"] for row in guesser_results["targets"]}
    assert not any(met[sense.name] for sense in SENSES if sense.target is not None)


def test_doubt_is_counted_and_right_only_where_nothing_is_known() -> None:
    results = tiny_results(Doubter())
    assert all(row["doubt"]["accuracy"] == 1.0 for row in results["senses"])
    assert all(row["cache_off"]["correct"] == 0 for row in results["senses"])
    assert results["strange"][0]["cache_off"]["accuracy"] == 1.0
    assert results["senses"][0]["confusion"]["columns"][-1] == "doubt"


def test_a_shuffled_answer_key_is_noticed() -> None:
    """A model that ignores its embedding but reads the true answer would not fall: the control can fail."""

    class Cheat(Oracle):
        def answer_one(self, question):
            return question.turn.answer

    results = tiny_results(Cheat())
    assert all(row["shuffled"]["accuracy"] == 1.0 for row in results["senses"])
    assert not results["targets"][-1]["met"]


def test_defaults_decide_what_the_targets_measure(oracle_results) -> None:
    defaults = {row["name"]: row["default"] for row in oracle_results["senses"]}
    assert defaults["spoken digits"] == "on"
    assert defaults["handwriting"] == "off"
    mixtures = {row["name"]: row["default"] for row in oracle_results["mixtures"]}
    assert mixtures["picture and speech, different digits"] == "on"
    assert mixtures["two pictures, different digits"] == "off"


def test_cache_on_and_off_are_asked_the_same_questions_and_seeds_matter() -> None:
    data = tiny_material(Oracle(cache=True)).known["IMU digits"]
    off, on = naming_variants(data, "sense", 5)
    questions = [question.turn.question for question in off.questions]
    assert questions == [question.turn.question for question in on.questions]
    other, _ = naming_variants(data, "sense", 6)
    assert questions != [question.turn.question for question in other.questions]


def test_results_repeat_and_are_plain_json() -> None:
    first, second = tiny_results(Guesser(), seed=4), tiny_results(Guesser(), seed=4)
    assert json.dumps(first) == json.dumps(second)


def test_confusion_counts_labels_doubt_and_the_rest() -> None:
    answers = ["It is a seven.", "It is a one.", "I am not sure.", "A cat and a dog.", "Hm."]
    found = confusion([7, 7, 7, 13, 13], answers)
    assert found["rows"] == ["seven", "cat"]
    assert found["columns"] == ["one", "seven", "cat", "doubt", "something else"]
    assert found["counts"] == [[1, 1, 0, 1, 0], [0, 0, 0, 0, 2]]


def test_items_cap_every_arm() -> None:
    caps = Caps.of(7)
    assert (caps.pictures, caps.recordings, caps.derived, caps.films) == (7, 7, 7, 14)
    assert max(caps.wordings, caps.shuffled, caps.kinds, caps.mixtures, caps.dialogs, caps.text) == 7
    assert Caps.of(10_000).kinds == Caps().kinds != SMALL.kinds
    with pytest.raises(UserError, match="1 items"):
        Caps.of(1)


def test_assistant_is_asked_about_embeddings_and_overlong_dialogs_get_no_answer(bot) -> None:
    turn = media_sample(np.random.default_rng(0), (7,), "heldout", "en", "name", 0).turns[0]
    rows = torch.nn.functional.normalize(torch.randn(3, 28, generator=torch.manual_seed(0)), dim=1)
    model = AssistantUnderTest(bot, batch_size=2, new_tokens=5)
    history = (user("x" * 400, True),)
    questions = [Question.about(turn, rows[0]), Question.about(turn, None), Question(turn, history, rows[2:])]
    first, second, third = model.answer(questions)
    assert third == ""
    assert first == model.answer([Question.about(turn, rows[0])])[0]
    assert second == bot.ask(turn.question, max_new_tokens=5).text
    assert not model.has_cache
