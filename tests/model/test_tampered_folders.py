"""Settings of wrong types and sizes in the files of a model folder: an answer, or one line, soon."""

import json
import random
import time

import pytest
import torch
from support.model_folders import change_json, copy_folder
from support.tiny import language_model

from imagebind_llm.checkpoints.doctor import diagnose
from imagebind_llm.checkpoints.export import export
from imagebind_llm.checkpoints.summary import summary
from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.encoders.registry import load_encoder
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.model.bases import whole_language_model
from imagebind_llm.model.configuration import read_model_config
from imagebind_llm.model.direct import load_folded
from imagebind_llm.model.generation import check_generation_settings
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration as Model
from imagebind_llm.model.processing import ImageBindLLMProcessor

DEEP: list = []
for _ in range(40):
    DEEP = [DEEP]
ODD = ["x", -1, 0, 1e30, 10**9, None, [], {}, True, DEEP, [1, "x"]]
SECONDS = 8
"""Of processor time, on a slow machine."""


@pytest.fixture(scope="module")
def folder(tiny_model_folder, tmp_path_factory):
    return copy_folder(tiny_model_folder, tmp_path_factory.mktemp("tampered") / "model")


def places(values, depth):
    for key, value in values.items():
        yield (key,)
        if depth > 1 and isinstance(value, dict):
            yield from ((key, *rest) for rest in places(value, depth - 1))


def changed(values, place, value):
    copy = json.loads(json.dumps(values))
    inner = copy
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return copy


def trials(values, depth, count, seed, only=()):
    """``count`` of all pairs of a place and an odd value, the same every time."""
    pairs = [(place, odd) for place in places(values, depth) for odd in ODD if not only or place[0] in only]
    return random.Random(seed).sample(pairs, min(count, len(pairs)))


def fares(file, text, use):
    """Whether ``use`` did; what it refuses it says in one line."""
    file.unlink()
    file.write_text(text)
    started = time.process_time()
    try:
        use()
    except UserError as error:
        assert "\n" not in str(error), str(error)  # noqa: PT017
        assert len(str(error)) < 1000  # noqa: PT017
        return False
    finally:
        assert time.process_time() - started < SECONDS, text[:300]
    return True


def refuse():
    raise UserError("left to the other loader")


def open_and_ask(folder):
    bot = Assistant.from_pretrained(folder, device="cpu", cache=False)
    bot.ask("Hi?", max_new_tokens=1)


MORE = {
    "generation_config.json": {
        "num_beams": 1,
        "no_repeat_ngram_size": 0,
        "bad_words_ids": None,
        "suppress_tokens": None,
        "repetition_penalty": 1.0,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 50,
        "do_sample": False,
    }
}


@pytest.mark.parametrize(
    ("name", "depth", "count"),
    [
        ("config.json", 1, 10),
        ("config.json", 2, 12),
        ("config.json", 4, 6),
        ("generation_config.json", 1, 12),
        ("processor_config.json", 3, 10),
        ("tokenizer_config.json", 1, 8),
    ],
)
def test_odd_values(name, depth, count, folder):
    file = folder / name
    whole = file.read_text()
    values = {**MORE.get(name, {}), **json.loads(whole)}
    found = [
        fares(file, json.dumps(changed(values, place, odd)), lambda: open_and_ask(folder))
        for place, odd in trials(values, depth, count, seed=depth)
    ]
    assert fares(file, whole, lambda: open_and_ask(folder))
    assert False in found


@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "tokenizer.json", "processor_config.json"]
)
def test_other_contents(name, folder):
    file = folder / name
    whole = file.read_text()
    nested = '{"a": ' + "[" * 10**5 + "]" * 10**5 + "}"
    for content in ("", "[]", "null", nested, "\x00" * 99):
        assert not fares(file, content, lambda: ImageBindLLMProcessor.from_pretrained(folder))
    assert fares(file, whole, lambda: ImageBindLLMProcessor.from_pretrained(folder))


HUGE = [
    ("text_config", "num_hidden_layers", 10**9),
    ("text_config", "num_hidden_layers", 4000),
    ("text_config", "hidden_size", 10**9),
    ("text_config", "hidden_size", 40_000),
    ("text_config", "vocab_size", 10**9),
    ("text_config", "intermediate_size", 10**9),
    ("text_config", "num_attention_heads", 10**9),
    ("bind", "depth", 4000),
    ("bind", "hidden", 10**9),
    ("lora", "rank", 10**9),
]


@pytest.mark.parametrize(("group", "key", "value"), HUGE)
def test_sizes_beyond_the_weights(group, key, value, folder):
    file = folder / "config.json"
    whole = file.read_text()
    values = json.loads(whole)
    text = json.dumps({**values, group: {**(values[group] or {}), key: value}})
    try:
        assert not fares(file, text, lambda: load_folded(folder, torch.float32) or refuse())
        assert not fares(file, text, lambda: Model.from_pretrained(folder))
    finally:
        file.unlink()
        file.write_text(whole)


def test_doctor_finds_layers_without_end(folder):
    file = folder / "config.json"
    whole = file.read_text()
    values = json.loads(whole)
    file.unlink()
    file.write_text(
        json.dumps({**values, "text_config": {**values["text_config"], "num_hidden_layers": 4000}})
    )
    started = time.process_time()
    assert diagnose(str(folder), False, False).findings
    assert time.process_time() - started < 60
    file.write_text(whole)


def test_an_encoder_beyond_its_weights(tmp_path):
    from support.tiny_imagebind import tiny_config

    from imagebind_llm.encoders.imagebind import ImageBindModel, save_imagebind

    save_imagebind(ImageBindModel(tiny_config()), tmp_path / "e")
    file = tmp_path / "e" / "config.json"
    values = json.loads(file.read_text())
    for key, value in (("blocks", 10**9), ("blocks", 4000), ("width", 10**9), ("mlp_ratio", 10**6)):
        trunk = {**values["text"]["trunk"], key: value}
        change_json(file, text={**values["text"], "trunk": trunk})
        with pytest.raises(UserError):
            load_encoder(tmp_path / "e")


def test_a_language_model_beyond_its_weights(tmp_path):
    language_model("qwen2").save_pretrained(tmp_path)
    whole = json.loads((tmp_path / "config.json").read_text())
    for key, value in (("num_hidden_layers", 10**9), ("num_hidden_layers", 4000), ("vocab_size", 10**8)):
        change_json(tmp_path / "config.json", **{**whole, key: value})
        with pytest.raises(CheckpointError):
            whole_language_model(str(tmp_path))


def test_beams(tmp_path):
    file = tmp_path / "generation_config.json"
    file.write_text('{"num_beams": 1000000}')
    with pytest.raises(CheckpointError, match="num_beams 1000000; expected a whole number from 1 to 256"):
        check_generation_settings(file, 50)
    file.write_text('{"bad_words_ids": [[3, 50]]}')
    with pytest.raises(CheckpointError, match="expected a list of lists of token ids below 50"):
        check_generation_settings(file, 50)


def test_an_adapter_that_names_itself(tmp_path):
    export("nano", tmp_path / "a", "adapter")
    adapter = tmp_path / "a"
    for part in ("encoder", "language_model"):
        bases = json.loads((adapter / "config.json").read_text())["base_models"]
        change_json(adapter / "config.json", base_models={**bases, part: {"id": ".", "revision": None}})
        with pytest.raises(CheckpointError, match="stands on itself"):
            Model.from_pretrained(adapter)
        assert any("stands on itself" in finding.problem for finding in diagnose(str(adapter)).findings)


def test_tokens_beyond_the_embedding(folder):
    file = folder / "tokenizer.json"
    whole = file.read_text()
    values = json.loads(whole)
    values["model"]["vocab"]["H"] = 5000
    file.unlink()
    file.write_text(json.dumps(values))
    try:
        with pytest.raises(UserError, match=r"token ids .* to 5000, the language model embeds"):
            open_and_ask(folder)
    finally:
        file.unlink()
        file.write_text(whole)


def test_batch_sizes(folder):
    with pytest.raises(UserError, match="4096"):
        Assistant.from_pretrained(folder, device="cpu", batch_size=10**6)


def test_a_summary_of_odd_groups(folder):
    file = folder / "config.json"
    whole = file.read_text()
    for group in ("text_config", "encoder_config"):
        for odd in ODD:
            assert fares(file, json.dumps({**json.loads(whole), group: odd}), lambda: summary(folder))
    file.unlink()
    file.write_text(whole)


@pytest.mark.parametrize("value", [10**90, 1.5, ["float32"], {"a": "float32"}])
def test_an_odd_precision_is_one_line(folder, value):
    change_json(folder / "config.json", dtype=value)
    with pytest.raises(UserError) as caught:
        read_model_config(folder)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 600
