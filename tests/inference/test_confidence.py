"""How sure the model is: the same however an answer is made, and what a loop over the model gives."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from imagebind_llm import Assistant
from imagebind_llm.common.errors import ConfigError
from imagebind_llm.evaluation.calibration import answer_logits
from imagebind_llm.inference.confidence import confidence_of
from imagebind_llm.inference.sampler import Choice, Sampler, Sampling
from imagebind_llm.model.configuration import ImageBindLLMConfig, read_model_config

INPUTS = Path(__file__).parents[2] / "examples" / "inputs"
QUESTIONS = [
    {"question": "What is this?", "image": str(INPUTS / "bird.jpg")},
    {"question": "What do you hear?", "audio": str(INPUTS / "dog.ogg")},
    {"question": "Describe this picture.", "image": str(INPUTS / "car.jpg")},
    {"question": "Is seven odd?"},
    {"question": "What do you see?", "image": str(INPUTS / "seven.png"), "max_new_tokens": 3},
]


@pytest.fixture(scope="module")
def nano():
    return Assistant.from_pretrained("nano", device="cpu")


def test_it_is_the_product_of_the_probabilities(nano):
    for request in QUESTIONS:
        answer = nano.ask(**request)
        read = answer_logits(nano, request)
        logprobs = torch.from_numpy(read.logits).double().log_softmax(-1)
        by_hand = math.exp(sum(float(row[token]) for row, token in zip(logprobs, read.tokens, strict=True)))
        assert read.text == answer.text
        assert answer.confidence == pytest.approx(by_hand, abs=1e-4)
        assert read.confidence() == pytest.approx(by_hand, abs=1e-6)
        assert 0 < answer.confidence <= 1


def test_it_is_the_same_alone_together_streamed_and_sampled(nano):
    alone = [nano.ask(**request).confidence for request in QUESTIONS]
    together = [answer.confidence for answer in nano.ask_batch(QUESTIONS)]
    small = Assistant(nano.model, nano.processor, nano.cache, batch_size=2)
    in_twos = [answer.confidence for answer in small.ask_batch(QUESTIONS)]
    streamed = []
    for request in QUESTIONS:
        stream = nano.stream(**request)
        text = "".join(stream)
        assert stream.answer.text == text.strip()
        streamed.append(stream.answer.confidence)
    for found in (together, in_twos, streamed):
        assert found == pytest.approx(alone, abs=1e-4)
    for temperature, top_p in ((0.1, 1.0), (1e-4, 0.5)):  # cold enough for the likeliest answer
        answer = nano.ask(**QUESTIONS[0], temperature=temperature, top_p=top_p, seed=0)
        assert answer.text == nano.ask(**QUESTIONS[0]).text
        assert answer.confidence == pytest.approx(alone[0], abs=1e-4)


def test_an_unlikely_answer_has_its_own(nano):
    likely = nano.ask(**QUESTIONS[2])
    drawn = [nano.ask(**QUESTIONS[2], temperature=4.0, top_p=1.0, seed=seed) for seed in range(12)]
    other = [answer for answer in drawn if answer.text != likely.text]
    assert other
    assert (
        max(answer.confidence for answer in other) <= 1 - likely.confidence + 1e-4
    )  # it is one or the other
    same = [
        answer for answer in drawn if answer.text == likely.text and answer.new_tokens == likely.new_tokens
    ]
    assert all(answer.confidence == pytest.approx(likely.confidence, abs=1e-4) for answer in same)


def test_a_temperature_of_the_model_changes_it_alone(nano, monkeypatch):
    answer = nano.ask(**QUESTIONS[0])
    monkeypatch.setattr(nano.model.config, "confidence_temperature", 2.0)
    warmer = nano.ask(**QUESTIONS[0])
    assert warmer.text == answer.text
    assert warmer.confidence == pytest.approx(answer_logits(nano, QUESTIONS[0]).confidence(2.0), abs=1e-4)
    assert warmer.confidence < answer.confidence


def test_rows_that_ask_and_rows_that_do_not():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 40, generator=generator)
    settings = [
        Sampling(),
        Sampling(confidence=1.0),
        Sampling(confidence=0.5),
        Sampling(confidence=1.0, logprobs=2),
        Sampling(confidence=0.5, logprobs=0),
    ]
    told = Sampler().choose(logits, [Choice.start(one, [1]) for one in settings])
    best = logits.argmax(-1).tolist()
    plain, sharp = (
        [float(row.log_softmax(-1)[token]) for row, token in zip(logits / t, best, strict=True)]
        for t in (1, 0.5)
    )
    assert [one.token for one in told] == best
    assert told[0].sure is None
    assert [told[1].sure, told[3].sure] == pytest.approx([plain[1], plain[3]], abs=1e-6)
    assert [told[2].sure, told[4].sure] == pytest.approx([sharp[2], sharp[4]], abs=1e-6)
    assert [one.logprob for one in told[:3]] == [None] * 3
    assert [told[3].logprob, told[4].logprob] == pytest.approx([plain[3], plain[4]], abs=1e-6)
    logits[1, 3] = math.nan
    broken = Sampler().choose(logits, [Choice.start(one, [1]) for one in settings])
    assert broken[1] is None
    assert [one.sure for one in broken[2:]] == pytest.approx([one.sure for one in told[2:]])


def test_unknown_ones():
    assert confidence_of([]) is None
    assert confidence_of([-0.1, None]) is None
    assert confidence_of([-0.1, math.nan]) is None
    assert confidence_of([0.0, 0.0]) == 1
    assert confidence_of([-1e4]) == 0
    assert confidence_of([-0.5, -0.25]) == pytest.approx(math.exp(-0.75))


def test_in_json_small_ones_stay_and_unknown_ones_are_null(nano):
    answer = nano.ask(**QUESTIONS[3])
    values = json.loads(json.dumps(replace(answer, confidence=1.23456e-7).to_dict()))
    assert values["confidence"] == 1.235e-7
    assert values["nearest"] is None
    assert replace(answer, confidence=None).to_dict()["confidence"] is None


# --- nearest


def test_nearest_is_that_of_the_media_before_they_are_moved(nano):
    sound = INPUTS / "dog.ogg"
    expected = float(nano.cache.search(nano.embed(audio=sound), 1).similarities[0, 0])
    answer = nano.ask("What do you hear?", audio=sound)
    assert answer.cached
    assert answer.nearest == pytest.approx(expected, abs=1e-5)
    assert nano.ask("What do you hear?", audio=sound, explain=True).nearest == pytest.approx(
        expected, abs=1e-5
    )
    assert nano.ask("What do you hear?", audio=sound, cache=False).nearest is None


def test_nearest_opens_no_cache(nano):
    fresh = Assistant.from_pretrained("nano", device="cpu")
    picture = INPUTS / "bird.jpg"
    assert fresh.ask("What is this?", image=picture).nearest is None
    assert isinstance(fresh._cache._cache, Path)  # still a folder
    assert fresh.ask("Is seven odd?").nearest is None
    found = fresh.ask("What is this?", image=picture, explain=True)
    assert not found.cached
    assert found.nearest == pytest.approx(found.retrieved[0].similarity)
    assert fresh.ask("What is this?", image=picture).nearest is None  # whatever was asked before
    without = Assistant(nano.model, nano.processor)
    assert without.ask("What do you hear?", audio=INPUTS / "dog.ogg").nearest is None


# --- the setting


@pytest.mark.parametrize("value", [0, 0.001, 101, math.nan, math.inf, "1", True, None, [1]])
def test_an_impossible_temperature_is_refused(value, tmp_path):
    with pytest.raises(
        ConfigError, match=r"confidence_temperature is .*; expected a number from 0.01 to 100"
    ):
        ImageBindLLMConfig(confidence_temperature=value)


def test_the_temperature_is_saved_and_read(tiny_model_folder, tmp_path):
    values = json.loads((tiny_model_folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, "confidence_temperature": 1.5}))
    assert read_model_config(tmp_path).confidence_temperature == 1.5
    (tmp_path / "config.json").write_text(json.dumps({**values, "confidence_temperature": -1}))
    with pytest.raises(ConfigError, match="confidence_temperature is -1"):
        read_model_config(tmp_path)
    del values["confidence_temperature"]
    (tmp_path / "config.json").write_text(json.dumps(values))  # of folders from before
    assert read_model_config(tmp_path).confidence_temperature == 1.0
