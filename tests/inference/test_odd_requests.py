"""Requests that ask for too much, for nothing, or in another library's types."""

import json

import numpy as np
import pytest
import torch

from imagebind_llm import Assistant, UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.media.batch import MediaBatch, MediaPart
from imagebind_llm.model.configuration import read_model_config
from imagebind_llm.model.generation import MOST_BEAMS

ALIKE = [
    {"text": [("dog", 1.0), ("dog", -1.0)]},
    {"text": [("dog", 0.5), ("dog", 0.5), ("dog", -1)]},
]


@pytest.mark.parametrize("media", ALIKE)
def test_media_that_cancel_out_are_refused_with_and_without_a_cache(bot, tiny_cache_folder, media):
    cached = Assistant(bot.model, bot.processor, tiny_cache_folder)
    said = set()
    for one, options in ((bot, {}), (cached, {"cache": False}), (cached, {"cache": True})):
        with pytest.raises(UserError, match="cancel each other out") as caught:
            one.ask("what?", **media, **options)
        said.add(str(caught.value))
    assert len(said) == 1
    with pytest.raises(UserError, match="cancel each other out"):
        bot.condition(**media)
    tensor = bot.processor.media.load(Modality.TEXT, "dog", bot.processor.limits)
    batch = MediaBatch.collate([[MediaPart(Modality.TEXT, tensor, weight) for weight in (1.0, -1.0)]])
    with pytest.raises(UserError, match="cancel each other out"):
        bot.model.generate(torch.tensor([[5, 6]]), media=batch)
    assert bot.ask("what?", text=[("dog", 1.0), ("cat", -1.0)]).text  # weights may cancel, media may not


def test_an_empty_text_is_refused_with_and_without_a_cache(bot, tiny_cache_folder):
    cached = Assistant(bot.model, bot.processor, tiny_cache_folder)
    for one, options in ((bot, {}), (cached, {"cache": False}), (cached, {"cache": True})):
        with pytest.raises(UserError, match="the text is empty"):
            one.ask("what?", text="", **options)
        with pytest.raises(UserError, match="without words"):
            one.ask("what?", text="&nbsp;", **options)


def test_a_waveform_with_its_rate(bot):
    wave = np.sin(np.arange(32_000) / 20).astype(np.float32)
    with pytest.raises(UserError, match=r"\{'array': …, 'sampling_rate': 32000\}"):
        bot.ask("what?", audio=(wave, 32_000))
    rated = bot.embed(audio={"array": wave, "sampling_rate": 32_000})
    assert torch.equal(rated, bot.embed(audio={"array": wave, "sampling_rate": np.int64(32_000)}))
    assert torch.equal(rated, bot.embed(audio={"array": wave, "sampling_rate": 32_000.0}))
    assert not torch.equal(rated, bot.embed(audio=wave))
    for rate in ("16000", None, [16000], float("nan"), True, 10**400, 16000.5, {}, -1):
        with pytest.raises(UserError, match="a sample rate of") as caught:
            bot.embed(audio={"array": wave, "sampling_rate": rate})
        assert len(str(caught.value)) < 200


def test_numbers_of_numpy_are_numbers(bot):
    first = bot.ask("what?", seed=3, temperature=0.9, max_new_tokens=4).text
    again = bot.ask(
        "what?",
        seed=np.int64(3),
        temperature=np.float32(0.9),
        max_new_tokens=np.int32(4),
        top_p=np.float64(0.75),
    ).text
    assert bot.ask("what?", seed=torch.tensor(3), temperature=0.9, max_new_tokens=4).text == first
    assert again
    for seed in (np.float64(3), np.bool_(True), "3", -1, 2**64, np.array([1, 2])):
        with pytest.raises(UserError, match="seed is"):
            bot.ask("what?", seed=seed)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            {"max_new_tokens": 10**400},
            r"max_new_tokens is 1000.*; expected a whole number from 1 to 2147483647",
        ),
        ({"cache_k": 10**400}, "cache_k is 1000"),
        ({"seed": 10**400}, "seed is 1000"),
        ({"temperature": 10**400}, "temperature is 1000"),
        ({"cache_weight": 10**400}, "cache_weight is 1000"),
        ({"top_p": -(10**400)}, "top_p is -1000"),
        ({"cache": 1}, "cache is 1; expected true, false"),
        ({"num_beams": 10**6}, "unknown request setting 'num_beams'"),
    ],
)
def test_absurd_numbers_are_one_short_line(bot, options, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        bot.ask("what?", **options)
    said, _, known = str(caught.value).partition("; use one of ")
    assert len(said) < 200
    assert len(known) < 40 * len(list(Modality))  # sensors that other tests declared are among them


def test_batches_and_beams_have_a_limit(bot):
    for size in (0, True, 2.0, 4097, 10**6, 10**400):
        with pytest.raises(UserError, match="batch_size is"):
            Assistant(bot.model, bot.processor, batch_size=size)
    for name in ("num_beams", "num_return_sequences"):
        for value in (10**6, 0, "many"):
            said = rf"{name} is .*; expected a whole number from 1 to {MOST_BEAMS}"
            with pytest.raises(UserError, match=said):
                bot.model.generate(torch.tensor([[5, 6]]), **{name: value})
    assert bot.model.generate(torch.tensor([[5, 6]]), num_beams=2, max_new_tokens=2).shape[0] == 1


def test_an_endless_answer_ends_with_the_context(bot):
    assert bot.ask("what?", max_new_tokens=2**31 - 1).new_tokens <= bot.context_length


def test_a_question_beyond_the_context_is_not_tokenised(bot, monkeypatch):
    longest = []
    encode = type(bot.processor.tokenizer).encode

    def watched(self, text, **settings):
        longest.append(len(text))
        return encode(self, text, **settings)

    monkeypatch.setattr(type(bot.processor.tokenizer), "encode", watched)
    with pytest.raises(UserError, match="has 3000000 characters, and the model's context is"):
        bot.ask("ab " * 1_000_000)
    assert max(longest) <= 8 * bot.context_length


@pytest.mark.parametrize("words", [5, None, "", "  ", ["x"], b"x", {"a": 1}])
def test_a_chat_is_told_words(bot, words):
    chat = bot.chat()
    for say in (chat.send, chat.stream):
        with pytest.raises(UserError, match=r"the question is (empty|.*; expected some words)"):
            say(words)
    assert chat.messages == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_new_tokens", "12"),
        ("max_new_tokens", 0),
        ("max_new_tokens", 10**30),
        ("num_beams", 10**6),
        ("eos_token_id", "end"),
        ("eos_token_id", [1, None]),
        ("repetition_penalty", 0),
        ("repetition_penalty", [1.0]),
        ("no_repeat_ngram_size", -1),
        ("bad_words_ids", [1]),
        ("bad_words_ids", [[]]),
        ("suppress_tokens", 5),
        ("temperature", "hot"),
        ("top_p", 10**400),
    ],
)
def test_odd_generation_settings_are_one_line(tiny_model_folder, tmp_path, name, value):
    for file in tiny_model_folder.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    file = tmp_path / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))
    with pytest.raises(UserError, match=rf"generation_config.json' has {name} .*; expected") as caught:
        read_model_config(tmp_path)
    assert "\n" not in str(caught.value)
    file.write_text(json.dumps({**json.loads(file.read_text()), name: None}))
    read_model_config(tmp_path)


def test_whole_numbers_do_for_a_penalty(bot, monkeypatch):
    monkeypatch.setattr(bot.model.generation_config, "repetition_penalty", 2)
    assert bot.ask("what?").new_tokens >= 1


def test_what_was_read_before_a_source_fails_is_answered(bot):
    def source():
        yield "hello"
        yield {"question": "what?"}
        raise UserError("no more")

    batch, answers = bot.iter_batch(source()), []
    for _ in range(2):
        answers.append(next(batch))
    with pytest.raises(UserError, match="no more"):
        next(batch)
    assert [answer.text for answer in answers] == [bot.ask("hello").text, bot.ask("what?").text]
