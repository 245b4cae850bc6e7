"""The parts of the evaluation beside the standard one: confidence, strange pictures, typing, inputs."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nano_lab.evaluation import typed
from nano_lab.evaluation.confidence import Judged, confidences, curve, separation
from nano_lab.evaluation.doubt import doubt_tables, evaluate_doubt
from nano_lab.evaluation.drawn_inputs import DIGITS, PHOTOGRAPHS, evaluate_inputs, input_tables
from nano_lab.evaluation.imagenet import inside, outside
from nano_lab.evaluation.model import AssistantUnderTest, Question
from nano_lab.evaluation.plots import draw_reliability
from nano_lab.evaluation.strange_pictures import (
    FACES,
    FLICKR,
    IMAGENET,
    IMAGENET_SMALL,
    PRINT,
    strange_pictures,
)
from nano_lab.evaluation.texts import evaluate_texts, text_sets, text_tables
from nano_lab.evaluation.typed import CHECKS, TYPED, _verdict, evaluate_typed, typed_tables
from nano_lab.grammar import LANGUAGES, media_sample, patterns
from nano_lab.grammar.facts import BIRD, CAT, DOG, SHIP
from nano_lab.world.copies import copied
from nano_lab.world.settings import nano_media_settings


def encoded(picture: np.ndarray) -> dict[str, object]:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return {"bytes": file.getvalue(), "path": "x.png"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four digits and four photographs, and as many strange ones."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)

    def write(name: str, **columns: list) -> None:
        (root / name).mkdir()
        pq.write_table(pa.table(columns), root / name / "test.parquet")

    grey = [encoded(rng.integers(0, 256, (28, 28), dtype=np.uint8)) for _ in range(4)]
    colour = [encoded(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(4)]
    large = [encoded(rng.integers(0, 256, (80, 60, 3), dtype=np.uint8)) for _ in range(4)]
    write("mnist", image=grey, label=["one", "two", "three", "four"], index=[0, 1, 2, 3])
    write("cifar10", image=colour, label=["cat", "dog", "ship", "frog"], index=[0, 1, 2, 3])
    write("flickr8k", image=large, captions=[["A man ."], ["A dog ."], ["A girl ."], ["A boat ."]])
    write("imagenet_sample", image=large, class_index=[281, 859, 898, 151])
    return root


@pytest.fixture(scope="module")
def model():
    from imagebind_llm import Assistant

    return AssistantUnderTest(Assistant.from_pretrained("nano", device="cpu"))


def test_the_confidence_of_an_answer_is_its_probability(model, data) -> None:
    turn = media_sample(np.random.default_rng(0), (3,), "train", "en", "name", 0).turns[0]
    (raw,) = [raw for raw in strange_pictures(data, nano_media_settings(), 0, 3) if raw.name == FACES]
    rows = model.embed(raw.modality, raw.tensors)
    questions = [Question.about(turn, row) for row in rows]
    answers = model.answer(questions)
    sure = confidences(model, questions, answers)
    assert ((sure > 0.05) & (sure <= 1.0)).all()
    assert (confidences(model, questions, ["It is a purple elephant."] * 3) < 0.01 * sure).all()
    alone = [confidences(model, [q], [a])[0] for q, a in zip(questions, answers, strict=True)]
    assert sure == pytest.approx(np.array(alone), rel=1e-2)


def test_a_threshold_trades_names_for_doubt() -> None:
    known = Judged(np.array([True, True, False]), np.zeros(3, bool), np.array([0.9, 0.6, 0.3]))
    unknown = Judged(np.zeros(2, bool), np.array([True, False]), np.array([0.99, 0.4]))
    none, half = curve(known, unknown, (0.0, 0.5))
    assert (none["known_right"], none["known_wrong"], none["unknown_doubted"]) == pytest.approx(
        (2 / 3, 1 / 3, 0.5)
    )
    assert (half["known_right"], half["known_wrong"], half["unknown_doubted"]) == pytest.approx((2 / 3, 0, 1))
    assert separation(known, unknown) == pytest.approx((2 + 3) / 6)


def test_imagenet_classes_are_sorted_by_what_nano_knows() -> None:
    assert (inside(281), inside(207), inside(13)) == (CAT, DOG, BIRD)
    assert inside(859) is None
    assert outside(859)  # a toaster
    assert not outside(281)
    assert not outside(269)  # a timber wolf: neither a name nor doubt is wrong
    assert sum(outside(index) for index in range(1000)) > 500


def test_strange_sets_are_those_whose_data_are_there(data, tmp_path) -> None:
    found = {raw.name: raw for raw in strange_pictures(data, nano_media_settings(), 0, 10)}
    assert len(found[FLICKR].tensors) == 2  # without the dog and the boat
    assert len(found[IMAGENET].tensors) == 1
    assert len(found[FACES].tensors) == len(found[PRINT].tensors) == 10
    bare = [raw.name for raw in strange_pictures(tmp_path, nano_media_settings(), 0, 10)]
    assert bare == [FACES, PRINT]


def test_doubt_is_measured_by_source(model, data) -> None:
    results = evaluate_doubt(model, data, 0, 4)
    assert set(results["sources"]) == {FLICKR, IMAGENET, IMAGENET_SMALL, FACES, PRINT}
    assert results["known"] == 5
    assert [row["threshold"] for row in results["curve"]] == sorted(
        row["threshold"] for row in results["curve"]
    )
    doubted = [row["unknown_doubted"] for row in results["curve"]]
    assert doubted == sorted(doubted)
    json.dumps(results)
    assert "| faces, shaded | 4 |" in doubt_tables(results)
    assert results["of_known"]["large photographs (ImageNet)"]["right"]["n"] == 2
    assert "| large photographs (ImageNet) | 2 |" in doubt_tables(results)


def test_doubt_says_whether_confidence_is_the_share_of_right_answers(model, data, tmp_path) -> None:
    results = evaluate_doubt(model, data, 0, 10)
    assert results["calibration"]["known"] is None  # of ten pictures nothing is said
    found = results["calibration"]["unknown"]
    assert found["n"] == sum(row["doubts"]["n"] for row in results["sources"].values()) >= 20
    doubts = sum(row["doubts"]["correct"] for row in results["sources"].values())
    assert found["right"] == pytest.approx(doubts / found["n"], abs=1e-4)
    row = f"| unknown, right: doubted | {found['n']} | {100 * found['confidence']:.1f} |"
    assert row in doubt_tables(results)
    draw_reliability(results, tmp_path / "doubt.png")
    assert Image.open(tmp_path / "doubt.png").width > 300


def test_a_copy_is_small_and_has_blocks() -> None:
    rng = np.random.default_rng(0)
    wide = Image.fromarray(rng.integers(0, 256, (60, 100, 3), dtype=np.uint8))
    small = copied(wide)
    assert small.size == (32, 32)
    middle = wide.crop((20, 0, 80, 60)).resize((32, 32), Image.Resampling.BICUBIC)
    difference = np.abs(np.asarray(small, int) - np.asarray(middle, int))
    assert 1 < difference.mean() < 40


def test_pictures_that_are_not_named_have_no_checks(model, data) -> None:
    results = evaluate_typed(model, data, 0, 4)  # pictures of noise
    assert results["naming"]["correct"] == 0
    assert results["checks"] == {}
    assert "WHAT IS THIS?" in typed_tables(results)


def test_typing_is_compared_with_the_plain_question(model, data, monkeypatch) -> None:
    monkeypatch.setattr(typed, "_concept", lambda names: 7)  # as if all were named
    results = evaluate_typed(model, data, 0, 4)
    assert set(results["differing"]) == set(TYPED)
    assert len(TYPED) == 8
    assert set(results["checks"]) == {pattern for found in CHECKS.values() for pattern in found}
    json.dumps(results)
    assert "WHAT IS THIS?" in typed_tables(results)


def test_a_verdict_is_yes_no_or_neither() -> None:
    assert _verdict("Yes, it is a cat.") is True
    assert _verdict("No, it is a dog.") is False
    assert _verdict("不是，这是一只狗。") is False
    assert _verdict("是的，这是一只狗。") is True
    assert _verdict("It is a dog.") is None
    assert _verdict("Nothing is here.") is None


def test_some_checks_are_held_out_of_training() -> None:
    held = {"en": ("I would say it is X. Is that right", "is X what you see"), "zh": ("你觉得图片里的是X吗",)}
    for language in LANGUAGES:
        known = {
            text.strip("?？").lower()
            for pattern in patterns(language, "is_it", "wide")
            for text in pattern.expand({"x": "X"})
        }
        asked = [pattern.format(x="X").strip("?？") for pattern in CHECKS[language]]
        assert {text for text in asked if text.lower() not in known} >= {
            text for text in asked if text.lower() in {h.lower() for h in held[language]}
        }
        assert any(text.lower() in known for text in asked)


def test_inputs_are_named_in_every_form(model, data) -> None:
    results = evaluate_inputs(model, data, 0, 4)
    assert set(results["digits"]) == set(DIGITS)
    assert set(results["photographs"]) == set(PHOTOGRAPHS)
    assert all(row["right"]["n"] == 4 for row in results["digits"].values())
    assert all(row["right"]["n"] == 2 for row in results["photographs"].values())
    assert "dark on transparent" in input_tables(results)


def test_texts_are_wordings_and_sentences_with_what_they_name(model, data, tmp_path) -> None:
    sets = text_sets(data, 0, 1000)
    assert set(sets["sentences about one thing"]) == {("A dog .", DOG), ("A boat .", SHIP)}
    assert {text for text, _ in sets["sentences about nothing known"]} == {"A man .", "A girl ."}
    assert ("show me a seven", 7) in sets["digits, new wordings, English"]
    assert all(text[0] >= "\u4e00" for text, _ in sets["things, new wordings, Chinese"])
    assert not any("sentences" in name for name in text_sets(tmp_path, 0, 10))
    results = evaluate_texts(model, data, 0, 6)
    assert results["sentences about one thing"]["right"]["correct"] == 2
    assert results["things, known wordings, English"]["right"]["n"] == 6
    assert results["digits, known wordings, English"]["right"]["accuracy"] == 1
    assert results["sentences about nothing known"]["doubted"]["accuracy"] == 1
    assert "| sentences about one thing | 2 |" in text_tables(results)
    wrong = {"some": {**results["sentences about one thing"], "wrong": {"A dog .": "It is a cat."}}}
    assert "“A dog .” → It is a cat." in text_tables(wrong)


def test_the_command_writes_a_part(data, tmp_path, capsys) -> None:
    from imagebind_llm.cli import main

    with pytest.raises(SystemExit) as left:
        main(
            ["eval", "nano", "--data", str(data), "--part", "inputs", "--items", "2", "--out", str(tmp_path)]
        )
    assert left.value.code == 0
    assert json.loads((tmp_path / "inputs.json").read_text())["task"] == "nano-inputs"
    assert (tmp_path / "inputs.md").read_text() in capsys.readouterr().out
