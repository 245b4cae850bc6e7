"""Asking, streaming, embedding, through a tiny random model."""

import io
import wave
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest

import numpy as np
import pytest
import torch
from PIL import Image

from imagebind_llm import Answer, Assistant, Request, UserError
from imagebind_llm.cache import CacheError
from imagebind_llm.common import modality
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.modality import Modality


@pytest.fixture(scope="module")
def cached_bot(tiny_model_folder, tiny_cache_folder):
    return Assistant.from_pretrained(tiny_model_folder, device="cpu", cache=tiny_cache_folder)


def test_text_only_is_the_language_model_alone(bot):
    answer = bot.ask("hello")
    prompt = bot.processor.apply_chat_template(
        [{"role": "user", "content": "hello"}], add_generation_prompt=True
    )
    ids = bot.model.language_model.generate(
        input_ids=prompt["input_ids"],
        attention_mask=prompt["attention_mask"],
        max_new_tokens=12,
        do_sample=False,
    )
    expected = bot.processor.decode(ids[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    assert answer.text == str(answer) == expected.strip()
    assert answer.media == ()
    assert answer.prompt_tokens == prompt["input_ids"].shape[1]
    assert 1 <= answer.new_tokens <= 12


def test_media_change_the_answer_and_cost_no_token(bot, media_folder):
    plain = bot.ask("what?")
    red = bot.ask("what?", image=media_folder / "red.png")
    assert red.text != plain.text
    assert red.prompt_tokens == plain.prompt_tokens
    assert red.to_dict()["media"] == [
        {"modality": "image", "source": str(media_folder / "red.png"), "weight": 1.0}
    ]


def test_every_kind_of_source_is_the_same_medium(bot, media_folder):
    path = media_folder / "red.png"
    picture = Image.open(path).convert("RGB")
    answers = {
        bot.ask("what?", image=source).text
        for source in (path, str(path), path.read_bytes(), picture, np.array(picture))
    }
    assert len(answers) == 1


def test_the_condition_is_the_weighted_sum(bot, media_folder):
    red, tone = media_folder / "red.png", media_folder / "tone.wav"
    rows = bot.embed(image=red, audio=[tone])
    assert rows.shape == (2, 28)
    torch.testing.assert_close(torch.linalg.vector_norm(rows, dim=1), torch.ones(2))
    mixed = bot.condition(image=(red, 0.5), audio=(tone, -1.5))
    torch.testing.assert_close(mixed, (0.5 * rows[0] - 1.5 * rows[1]) / (2.0 + 1e-6))


def test_embed_keeps_the_order_of_its_arguments(bot, media_folder):
    tone, red = media_folder / "tone.wav", media_folder / "red.png"
    one = bot.embed(audio=tone, image=[red], text=["a dog", "a cat"])
    two = bot.embed(text=["a dog"], image=red, audio=tone)
    torch.testing.assert_close(one[[2, 1, 0]], two)


def mixed_requests(folder):
    red, blue, tone = (str(folder / name) for name in ("red.png", "blue.png", "tone.wav"))
    return [
        "just words",
        {"question": "what?", "image": red},
        {"question": "a much longer question about the same picture?", "image": red},
        {"question": "what?", "image": [red, 0.7], "audio": [tone, -0.3]},
        {"question": "what?", "image": [[red, 0.5], blue], "max_new_tokens": 5},
        {"question": "what?", "point": str(folder / "cloud.npy")},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "dog", "as_media": True}]}]},
        Request.make("sampled", {"image": blue}, temperature=1.0, seed=3),
    ]


def test_a_batch_gives_what_single_questions_give(bot, media_folder):
    requests = mixed_requests(media_folder)
    together = bot.ask_batch(requests)
    assert all(isinstance(answer, Answer) for answer in together), together
    for request, answer in zip(requests, together, strict=True):
        (alone,) = bot.ask_batch([request])
        assert alone.text == answer.text
        assert alone.media == answer.media


def test_small_windows_change_nothing(tiny_model_folder, bot, media_folder):
    small = Assistant.from_pretrained(tiny_model_folder, device="cpu", cache=False, batch_size=1)
    requests = mixed_requests(media_folder) * 2
    assert [a.text for a in small.iter_batch(iter(requests))] == [a.text for a in bot.ask_batch(requests)]


def test_an_error_disturbs_no_other_request(bot, media_folder):
    red = str(media_folder / "red.png")
    bad = [
        {"question": "x", "image": "nowhere.png"},
        {"question": "x", "image": str(media_folder / "broken.png")},
        {"question": "x", "image": red, "weight": 2},
        {"picture": red},
        {"question": " "},
        {"question": "x", "image": [red, 0]},
        {"question": "x" * 300},
        {"question": "x", "image": red, "cache": True},
        {"question": "x", "max_new_tokens": 0},
        {"question": "x", "image": "https://example.org/a.png"},
        7,
    ]
    good = {"question": "what?", "image": red}
    results = bot.ask_batch([item for request in bad for item in (request, good)])
    expected = bot.ask("what?", image=red).text
    assert [answer.text for answer in results[1::2]] == [expected] * len(bad)
    assert all(isinstance(error, UserError) for error in results[::2]), results[::2]
    assert all("\n" not in str(error) for error in results[::2])


def test_streams_are_answers_in_pieces(bot, media_folder):
    for question in ("what?", "hello", "tell me"):
        for image in (None, media_folder / "red.png"):
            pieces = list(bot.stream(question, image=image))
            assert "".join(pieces) == bot.ask(question, image=image).text
            assert all(pieces)


def test_a_stream_that_is_left_early_stops_the_model(bot):
    steps = []
    handle = bot.model.register_forward_hook(lambda *_: steps.append(1))
    stream = bot.stream("hello", max_new_tokens=200)
    next(stream)
    stream.close()
    handle.remove()
    assert len(steps) < 200


def test_errors_in_a_stream_reach_the_reader(bot, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no memory left: 731")

    monkeypatch.setattr(bot.model, "forward", fail)
    with pytest.raises(RuntimeError, match="731"):
        list(bot.stream("hello"))


def test_sampling_follows_the_seed(bot):
    texts = [bot.ask("hello", temperature=5.0, top_p=1.0, seed=seed).text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    torch.manual_seed(0)
    before = torch.rand(1)
    torch.manual_seed(0)
    bot.ask("hello", temperature=5.0, seed=1)
    assert torch.equal(torch.rand(1), before)  # nobody else's random numbers are touched


def test_the_answer_never_outgrows_the_context(bot):
    answer = bot.ask("x" * 200, max_new_tokens=500)
    assert answer.prompt_tokens + answer.new_tokens <= 256
    with pytest.raises(UserError, match="context is 256"):
        bot.ask("x" * 256)


def test_files_are_opened_once_and_again_when_they_change(bot, tmp_path, media_folder, monkeypatch):
    import imagebind_llm.media.image

    opened = []
    real = imagebind_llm.media.image.load_image
    monkeypatch.setattr(
        imagebind_llm.media.image, "load_image", lambda *a, **k: (opened.append(a[0]), real(*a, **k))[1]
    )
    path = tmp_path / "changing.png"
    path.write_bytes((media_folder / "red.png").read_bytes())
    bot.ask_batch([{"question": q, "image": str(path)} for q in ("a", "b", "c")])
    first = bot.ask("what?", image=path)
    assert len(opened) == 1
    path.write_bytes((media_folder / "blue.png").read_bytes())
    assert bot.ask("what?", image=path).text != first.text
    assert len(opened) == 2


def test_the_cache_is_used_for_all_but_images_unless_told(cached_bot, bot, media_folder):
    tone, red = media_folder / "tone.wav", media_folder / "red.png"
    assert cached_bot.ask("what?", audio=tone).cached
    assert not cached_bot.ask("what?", audio=tone, cache=False).cached
    assert not cached_bot.ask("what?", image=red).cached
    assert cached_bot.ask("what?", image=red, cache=True).cached
    assert cached_bot.ask("what?", image=red, audio=tone).cached
    assert cached_bot.ask("what?", audio=tone, cache=False).text == bot.ask("what?", audio=tone).text


def test_the_cache_blends_as_it_says(cached_bot, media_folder, monkeypatch):
    seen = []
    real = cached_bot.model.condition_deltas
    monkeypatch.setattr(
        cached_bot.model, "condition_deltas", lambda given: (seen.append(given), real(given))[1]
    )
    tone = media_folder / "tone.wav"
    cached_bot.ask("what?", audio=tone, cache_k=3, cache_temperature=7.0, cache_weight=0.9)
    expected = cached_bot.cache.enhance(cached_bot.embed(audio=tone), k=3, temperature=7.0, weight=0.9)
    torch.testing.assert_close(seen[0], expected)


def test_more_neighbours_than_the_cache_holds_are_refused_only_if_asked_for(cached_bot, media_folder):
    size, tone = cached_bot.cache.size, media_folder / "tone.wav"
    with pytest.raises(UserError, match=f"{size + 1}.*{size}"):
        cached_bot.ask("what?", audio=tone, cache_k=size + 1)
    cached_bot.model.config.cache["k"] = size + 1
    try:
        assert cached_bot.ask("what?", audio=tone).text is not None
    finally:
        cached_bot.model.config.cache["k"] = 10


def test_retrieve_and_explain_show_the_same(cached_bot, media_folder):
    tone = media_folder / "tone.wav"
    found = cached_bot.retrieve(k=4, audio=tone)
    assert [hit.rank for hit in found] == [1, 2, 3, 4]
    assert found[0].caption.startswith("picture ")
    answer = cached_bot.ask("what?", audio=tone, cache_k=4, explain=True)
    assert [hit.index for hit in answer.retrieved] == [hit.index for hit in found]
    assert answer.to_dict()["retrieved"][0]["caption"] == found[0].caption


def test_a_cache_of_another_encoder_is_refused(tiny_model_folder, tmp_path):
    from imagebind_llm.cache import build_cache

    vectors = np.random.default_rng(1).normal(size=(5, 28)).astype(np.float32)
    build_cache(vectors, encoder_fingerprint="0123456789abcdef").save(tmp_path / "other")
    bot = Assistant.from_pretrained(tiny_model_folder, cache=tmp_path / "other", device="cpu")
    with pytest.raises(CacheError, match=f"0123456789abcdef.*{bot.encoder_fingerprint}"):
        bot.ask("what?", text="dog")


def test_extreme_settings_do_no_harm(cached_bot):
    """What is allowed must not overflow: a not-a-number condition would answer as if nothing were wrong."""
    plain = cached_bot.ask("what?", text="dog", cache=True, cache_k=1)
    sharp = cached_bot.ask(
        "what?", text=("dog", 100.0), cache=True, cache_temperature=1e300, temperature=1e-6
    )
    assert sharp.text == plain.text  # the nearest picture alone
    cached_bot.ask("what?", text=("dog", 1e-3), temperature=1e300, seed=2**64 - 1, max_new_tokens=3)


def test_media_that_cancel_out_cannot_be_looked_up(cached_bot):
    with pytest.raises(UserError, match="cancel each other out"):
        cached_bot.ask("what?", text=[("dog", 1.0), ("dog", -1.0)])


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"temperature": -1}, "temperature is -1"),
        ({"top_p": 0}, "top_p is 0"),
        ({"temperature": 1e-40}, "temperature is 1e-40"),
        ({"seed": "x"}, "seed is 'x'"),
        ({"seed": 2**64}, "seed is 18446744073709551616"),
        ({"seed": -1}, "seed is -1"),
        ({"explain": "no"}, "explain is 'no'"),
        ({"cache_k": 0}, "cache_k is 0"),
        ({"cache_weight": 2}, "cache_weight is 2"),
        ({"smell": "rose"}, "unknown request setting 'smell'"),
        ({"image": ("a.png", float("inf"))}, "the weight is inf"),
        ({"image": ("a.png", -1e39)}, "the weight is -1e\\+39"),
        ({"text": ("a dog", 1e-7)}, "1 media have a total weight of 1e-07"),
        ({"image": 5}, "image is 5; expected a path"),
        ({"image": [{"path": "a.png"}]}, "image is {'path': 'a.png'}"),
        ({"text": b"dog"}, "text is bytes"),
        ({"messages": [{"role": "user", "content": "x"}]}, "give one way only"),
    ],
)
def test_impossible_settings_are_refused(bot, settings, complaint):
    with pytest.raises(UserError, match=complaint):
        bot.ask("what?", **settings)


def test_what_may_be_given_is_listed_without_sensors_of_other_models(bot, monkeypatch):
    monkeypatch.setattr(modality, "_declared", {})
    Modality.declare("tactile")  # as loading another model did
    wrong = {"question": "what?", "smell": "rose"}
    said = [str(bot.ask_batch([wrong])[0]), str(bot.ask_batch([{"smell": "rose"}])[0])]
    for ask in (bot.ask, bot.stream):
        with pytest.raises(UserError) as refused:
            ask(**wrong)
        said.append(str(refused.value))
    for one in said:
        assert one.startswith("unknown request setting 'smell'; use one of question, messages, system")
        assert "thermal" in one
        assert "tactile" not in one


def test_models_that_are_not_there(tmp_path):
    with pytest.raises(CheckpointError, match="no model 'nowhere'"):
        Assistant.from_pretrained("nowhere")
    with pytest.raises(CheckpointError, match="run: imagebind-llm pull mini"):
        Assistant.from_pretrained("mini")
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        Assistant.from_pretrained(tmp_path)
    with pytest.raises(UserError, match="no device 'tpu9'"):
        Assistant.from_pretrained(device="tpu9")
    with pytest.raises(UserError, match="unknown dtype 'int3'"):
        Assistant.from_pretrained(dtype="int3")


def test_a_missing_nano_says_how_to_make_it(monkeypatch, tmp_path):
    from imagebind_llm.common import locate

    monkeypatch.setattr(locate, "nano_folder", lambda: tmp_path)
    with pytest.raises(CheckpointError, match="make nano DATA="):
        Assistant.from_pretrained("nano")


def test_a_hub_that_fails_says_so(monkeypatch):
    import huggingface_hub

    def fail(*_, **__):
        raise OSError("the cable is cut\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(CheckpointError, match=r"'some/model'.*the cable is cut$"):
        Assistant.from_pretrained("some/model")


def test_unknown_modalities_of_the_encoder(bot, monkeypatch):
    monkeypatch.setattr(type(bot.model.encoder), "modalities", frozenset({Modality.IMAGE}))
    with pytest.raises(UserError, match="has no audio; it knows image"):
        bot.ask("what?", audio=np.zeros((1, 16000), np.float32))


def test_open_files_and_sounds_of_datasets(bot, media_folder):
    red, tone = media_folder / "red.png", media_folder / "tone.wav"
    with open(red, "rb") as file:
        both = bot.embed(image=[file, io.BytesIO(red.read_bytes()), str(red)])
    assert torch.equal(both[0], both[2])
    assert torch.equal(both[1], both[2])
    with wave.open(str(tone)) as sound:
        samples = np.frombuffer(sound.readframes(-1), np.int16)
    rows = bot.embed(audio=[{"array": samples, "sampling_rate": 16_000, "path": None}, str(tone)])
    assert torch.allclose(rows[0], rows[1], atol=1e-5)
    messages = [
        {"role": "user", "content": [{"type": "image", "image": io.BytesIO(red.read_bytes())}, "what?"]}
    ]
    assert bot.ask(messages=messages).text == bot.ask("what?", image=red).text


@pytest.mark.parametrize(
    ("media", "complaint"),
    [
        ({"image": io.StringIO("x")}, "open it in binary mode"),
        (
            {"image": ("a",)},
            r"image is \('a',\); expected a path, bytes or an array, \(one of these, weight\)",
        ),
        ({"image": {"array": np.zeros(9)}}, "image is {'array'"),
        ({"audio": {"array": np.zeros(10**5)}}, "a mapping with array; expected 'array' and 'sampling_rate'"),
    ],
)
def test_sources_of_the_wrong_kind(bot, media, complaint):
    with pytest.raises(UserError, match=complaint) as refused:
        bot.ask("what?", **media)
    assert len(str(refused.value)) < 200


def test_a_batch_is_not_a_string(bot):
    for wrong in ("abc", {"question": "a"}):
        with pytest.raises(UserError, match="expected a list of requests"):
            bot.ask_batch(wrong)


def test_a_stream_checks_its_request_at_once_and_ends_with_the_answer(bot, media_folder):
    for wrong in (
        {"image": "nowhere.png"},
        {"smell": 1},
        {"max_new_tokens": 0},
        {"cache": True, "text": "dog"},
    ):
        with pytest.raises(UserError):
            bot.stream("what?", **wrong)
    with pytest.raises(UserError, match="context is 256"):
        bot.stream("x" * 256)
    stream = bot.stream("what?", image=media_folder / "red.png", max_new_tokens=5)
    assert stream.answer is None
    text = "".join(stream)
    whole = bot.ask("what?", image=media_folder / "red.png", max_new_tokens=5)
    assert stream.answer.text == text == whole.text
    assert stream.answer.finish_reason == whole.finish_reason == "length"
    assert stream.answer.prompt_tokens == whole.prompt_tokens
    assert stream.answer.new_tokens == whole.new_tokens == 5
    assert stream.answer.media == whole.media


def test_seeds_repeat_in_threads_and_in_interleaved_streams(bot, media_folder):
    red = media_folder / "red.png"

    def settings(number):
        return {"temperature": 2.0, "top_p": 0.9, "seed": number, "image": red if number % 2 else None}

    expected = {number: bot.ask("hello", **settings(number)).text for number in range(8)}
    assert len(set(expected.values())) > 4
    with ThreadPoolExecutor(8) as threads:
        for _ in range(2):
            answers = threads.map(lambda number: bot.ask("hello", **settings(number)).text, range(8))
            assert dict(enumerate(answers)) == expected
    streams = [bot.stream("hello", **settings(number)) for number in (0, 1)]
    pieces = list(zip_longest(*streams, fillvalue=""))
    assert ["".join(column) for column in zip(*pieces, strict=True)] == [expected[0], expected[1]]
    requests = [
        {"question": "hello", "temperature": 0.5 * number, "top_p": 0.9, "seed": number}
        for number in range(6)
    ]
    together = [answer.text for answer in bot.ask_batch(requests)]
    assert together == [bot.ask_batch([request])[0].text for request in requests]


def test_what_it_says_about_itself(bot, cached_bot):
    assert bot.device == torch.device("cpu")
    assert set(bot.modalities) == {"image", "video", "audio", "text", "point", "depth", "thermal", "imu"}
    assert "llama" in repr(bot)
    assert "float32 on cpu" in repr(bot)
    assert "without cache" in repr(bot)
    assert "with a cache" in repr(cached_bot)
    assert all(name in repr(bot) for name in bot.modalities)
    assert bot.to("cpu") is bot
    with pytest.raises(UserError, match="no device 'tpu9'"):
        bot.to("tpu9")


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda bot: bot.ask("what?", temperatur=1), "temperatur'; did you mean 'temperature'?"),
        (lambda bot: bot.ask("what?", max_tokens=1), "did you mean 'max_new_tokens'"),
        (lambda bot: bot.ask("what?", imgae="a.png"), "did you mean 'image'"),
        (lambda bot: bot.chat(max_new_token=1), "did you mean 'max_new_tokens'"),
        (lambda bot: Assistant.from_pretrained("nano", devise="cpu"), "devise'; did you mean 'device'?"),
        (lambda bot: Assistant.from_pretrained("nano", batchsize=3), "did you mean 'batch_size'"),
    ],
)
def test_misspelt_settings_say_what_was_meant(bot, call, meant):
    with pytest.raises(UserError) as refused:
        call(bot)
    assert meant in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("size", [0, -1, True, 2.5])
def test_a_batch_has_at_least_one_row(bot, size):
    with pytest.raises(UserError, match="batch_size is"):
        Assistant(bot.model, bot.processor, batch_size=size)


def test_what_was_read_before_a_source_breaks_is_answered(bot):
    def requests():
        yield from ("one?", "two?")
        raise OSError("the disk is gone")

    answered = []
    small = Assistant(bot.model, bot.processor, batch_size=1)
    with pytest.raises(OSError, match="gone"):
        answered.extend(small.iter_batch(requests()))
    assert [str(answer) for answer in answered] == [bot.ask(q).text for q in ("one?", "two?")]


def test_embeddings_given_out_are_the_callers_own(bot, media_folder):
    from imagebind_llm.model.messages import media_items

    path = media_folder / "red.png"
    before = bot.embed(image=path)
    for row in bot.iter_embed(media_items({"image": path})):
        row.zero_()
    assert torch.equal(bot.embed(image=path), before)
