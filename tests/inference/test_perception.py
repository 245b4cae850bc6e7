"""From media to conditions: errors stay with their items, what was seen is remembered, one rule holds."""

import numpy as np
import pytest
import torch

from imagebind_llm import Assistant, UserError
from imagebind_llm.cache import CacheError, build_cache
from imagebind_llm.common.modality import Modality
from imagebind_llm.inference import perception as module
from imagebind_llm.media.batch import MediaBatch, MediaPart


@pytest.fixture
def own_bot(tiny_model_folder):
    """One that remembers nothing yet."""
    return Assistant.from_pretrained(tiny_model_folder, device="cpu", cache=False)


@pytest.fixture(scope="module")
def small_cache(bot):
    """Fewer pictures than the model blends by default."""
    vectors = np.random.default_rng(2).normal(size=(5, 28)).astype(np.float32)
    return build_cache(vectors, "exact", encoder_fingerprint=bot.encoder_fingerprint)


@pytest.mark.parametrize(
    "failure", [MemoryError("no memory: 41"), RuntimeError("out of memory: tried to allocate 41 GiB")]
)
def test_a_medium_that_cannot_be_encoded_harms_no_other(
    own_bot, media_folder, tmp_path, monkeypatch, failure
):
    depths = []
    for number in range(3):
        depths.append(tmp_path / f"{number}.npy")
        np.save(depths[-1], np.full((20, 30), 1.0 + number, np.float32))
    requests = [
        "just words",
        {"question": "what?", "image": str(media_folder / "red.png")},
        *[{"question": "what?", "depth": str(path)} for path in depths],
        {"question": "what?", "depth": [str(depths[0]), str(depths[1])]},
        "other words",
    ]
    expected = [answer.text for answer in own_bot.ask_batch(requests)]
    fresh = Assistant(own_bot.model, own_bot.processor)
    bad = own_bot.processor.media.load(Modality.DEPTH, str(depths[1]), own_bot.processor.limits)
    real, batches = own_bot.model.encoder.encode, []

    def encode(modality, batch):
        batches.append(len(batch))
        if modality == Modality.DEPTH and any(torch.equal(row, bad) for row in batch):
            raise failure
        return real(modality, batch)

    monkeypatch.setattr(own_bot.model.encoder, "encode", encode)
    found = fresh.ask_batch(requests)
    assert found[3] is failure
    assert found[5] is failure
    assert [found[i].text for i in (0, 1, 2, 4, 6)] == [expected[i] for i in (0, 1, 2, 4, 6)]
    assert sorted(batches) == [1, 1, 1, 1, 3]  # one batch of three, then each alone
    with pytest.raises(type(failure), match="41"):
        fresh.embed(depth=str(depths[1]))


def test_what_was_used_last_is_remembered_longest(own_bot, media_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_REMEMBERED", 3)
    paths = []
    for number in range(4):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes((media_folder / "red.png").read_bytes() + bytes(number))
    opened = []
    load = own_bot.processor.media.load

    class Watched:
        def load(self, modality, source, limits):
            opened.append(source)
            return load(modality, source, limits)

    own_bot.processor.media, original = Watched(), own_bot.processor.media
    try:
        for number in (0, 1, 2, 0, 3, 0, 2, 1):  # 3 pushes 1 out, because 0 was used again; then 1 pushes 3
            own_bot.embed(image=str(paths[number]))
    finally:
        own_bot.processor.media = original
    assert opened == [str(paths[number]) for number in (0, 1, 2, 3, 1)]


def test_generate_and_ask_move_towards_a_small_cache_in_the_same_way(bot, small_cache, media_folder):
    tone = media_folder / "tone.wav"
    cached = Assistant(bot.model, bot.processor, small_cache)
    messages = [{"role": "user", "content": [{"type": "audio", "audio": str(tone)}, "what?"]}]
    inputs = bot.processor.apply_chat_template(messages, add_generation_prompt=True)
    for options in ({}, {"k": 3, "temperature": 2.0, "weight": 0.9}):
        answer = cached.ask("what?", audio=tone, **{f"cache_{key}": value for key, value in options.items()})
        out = bot.model.generate(**inputs, cache=small_cache, cache_options=options, do_sample=False)
        text = bot.processor.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert answer.text == text.strip()
        assert answer.cached
    assert answer.text != bot.ask("what?", audio=tone).text
    for refused in (
        lambda: cached.ask("what?", audio=tone, cache_k=6),
        lambda: bot.model.generate(**inputs, cache=small_cache, cache_options={"k": 6}),
    ):
        with pytest.raises(CacheError, match="cache k is 6"):
            refused()


def test_media_that_cancel_out_are_refused_in_the_same_way(bot, small_cache):
    cached = Assistant(bot.model, bot.processor, small_cache)
    tensor = bot.processor.media.load(Modality.TEXT, "dog", bot.processor.limits)
    media = MediaBatch.collate([[MediaPart(Modality.TEXT, tensor, weight) for weight in (1.0, -1.0)]])
    for refused in (
        lambda: cached.ask("what?", text=[("dog", 1.0), ("dog", -1.0)]),
        lambda: bot.model.generate(torch.tensor([[5, 6]]), media=media, cache=small_cache),
    ):
        with pytest.raises(UserError, match="cancel each other out"):
            refused()
