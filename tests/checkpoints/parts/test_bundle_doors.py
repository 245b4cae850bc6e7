"""A bundle like mini goes through every door: Python, the command line, fewer bits, export, the Auto classes,
the server. The model is a tiny one of the real classes: Llama, EfficientNet-lite, Whisper, BERT and
points."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.live_server import live, picture, words
from support.llm_folders import run_cli
from support.model_folders import change_tensors, copy_folder, shift
from support.tiny_bundle import write_tiny_bundle

from imagebind_llm import Assistant
from imagebind_llm.checkpoints.doctor import diagnose
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
from imagebind_llm.model.processing import ImageBindLLMProcessor

LONGEST = 6


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle"), cache_rows=20)


@pytest.fixture(scope="module")
def bot(bundle):
    return Assistant.from_pretrained(bundle.folder, device="cpu", dtype="float32")


@pytest.fixture
def media(media_folder):
    return {
        "image": str(media_folder / "red.png"),
        "audio": str(media_folder / "tone.wav"),
        "text": "a dog",
        "point": str(media_folder / "cloud.npy"),
    }


def test_only_what_was_trained_is_in_the_trained_folder(bundle):
    from safetensors import safe_open

    with safe_open(bundle.trained / "heads/model.safetensors", "pt") as opened:
        names = list(opened.keys())
    assert any(".head." in name for name in names)
    assert all(name.split(".")[1] == "point" for name in names if ".backbone." in name)
    assert sorted(path.name for path in bundle.trained.iterdir()) == ["adapter", "heads"]
    assert (bundle.folder / "backbones/audio/source.json").is_file()


def test_python(bundle, bot, media):
    assert bot.modalities == ("audio", "image", "point", "text", "video")
    assert bot.cache is not None
    alone = {bot.ask("What?", max_new_tokens=LONGEST).text}
    said = {
        name: bot.ask("What?", **{name: source}, max_new_tokens=LONGEST) for name, source in media.items()
    }
    assert all(answer.new_tokens > 0 for answer in said.values())
    assert len(alone | {answer.text for answer in said.values()}) > 1  # media change the answer
    assert said["audio"].cached  # as the configuration has it: all but pictures
    assert not said["image"].cached
    rows = bot.embed(**{name: [source] for name, source in media.items()})
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(4))


def test_the_command_line(bundle, bot, media, capsys):
    asked = ["ask", "What?", "--model", bundle.folder, "--max-new-tokens", LONGEST, "--json"]
    for name, source in media.items():
        assert run_cli(*asked, f"--{name}", source) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["answer"] == bot.ask("What?", **{name: source}, max_new_tokens=LONGEST).text
    assert run_cli("chat", "--help") == 0
    assert "--model" in capsys.readouterr().out
    assert run_cli("doctor", bundle.folder) == 0


def test_the_encoder_is_compared_with_what_is_recorded(bundle, tmp_path):
    own = diagnose(str(bundle.folder), self_test=False)
    prints = own.facts["fingerprints"]["encoder"]
    assert prints["found"] == prints["recorded"] is not None
    folder = copy_folder(bundle.folder, tmp_path / "other")
    heads = folder / "encoder" / "model.safetensors"
    change_tensors(heads, shift(next(name for name in load_file(heads) if name.endswith("weight"))))
    report = diagnose(str(folder), self_test=False)
    assert {finding.part for finding in report.findings} == {"encoder"}
    assert report.facts["fingerprints"]["encoder"]["found"] != prints["found"]


def test_fewer_bits(bundle, media, capsys):
    pytest.importorskip("torchao")
    asked = (
        "ask",
        "What?",
        "--model",
        bundle.folder,
        "--image",
        media["image"],
        "--max-new-tokens",
        3,
        "--json",
    )
    assert run_cli(*asked, "--quantize", "int8") == 0
    assert json.loads(capsys.readouterr().out)["new_tokens"] > 0


@pytest.mark.parametrize("form", ["full", "merged", "adapter-only"])
def test_export(bundle, bot, media, tmp_path, form):
    out = tmp_path / "out"
    assert run_cli("export", bundle.folder, out, f"--{form}", "--dtype", "float32") == 0
    again = Assistant.from_pretrained(out, device="cpu", dtype="float32", cache=False)
    ids = torch.tensor([[5, 90, 30, 200, 7]])
    row = bot.embed(image=media["image"])
    with torch.inference_mode():
        own, exported = (one.model(ids, conditions=row).logits for one in (bot, again))
    torch.testing.assert_close(exported, own, atol=1e-4, rtol=1e-4)
    assert again.encoder_fingerprint == bot.encoder_fingerprint
    torch.testing.assert_close(again.embed(audio=media["audio"]), bot.embed(audio=media["audio"]))


def test_auto_classes(bundle, bot, media):
    from transformers import AutoModelForMultimodalLM, AutoProcessor

    from imagebind_llm import register

    register()
    processor = AutoProcessor.from_pretrained(bundle.folder)
    model = AutoModelForMultimodalLM.from_pretrained(bundle.folder, dtype=torch.float32).eval()
    assert type(processor) is ImageBindLLMProcessor
    assert type(model) is ImageBindLLMForConditionalGeneration
    content = [{"type": "image", "path": media["image"]}, {"type": "text", "text": "What?"}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=True, return_dict=True, add_generation_prompt=True
    )
    made = model.generate(**inputs, max_new_tokens=LONGEST, do_sample=False)
    new = made[0, inputs["input_ids"].shape[1] :]
    said = bot.ask("What?", image=media["image"], max_new_tokens=LONGEST)
    assert processor.decode(new, skip_special_tokens=True).strip() == said.text


def test_serve(bot):
    with live(bot) as running:
        body = {
            "messages": [{"role": "user", "content": [picture("dog.jpg"), words("What is this?")]}],
            "max_tokens": LONGEST,
            "temperature": 0,
        }
        status, found = running.request("/v1/chat/completions", body)
    assert status == 200, found
    assert isinstance(found["choices"][0]["message"]["content"], str)
    assert found["usage"]["completion_tokens"] > 0


def test_it_may_be_moved(bundle, bot, media, tmp_path):
    """Without the parts that it was put together from."""
    import shutil

    moved = shutil.copytree(bundle.folder, tmp_path / "moved")
    again = Assistant.from_pretrained(moved, device="cpu", dtype="float32")
    for name in ("image", "text"):
        np.testing.assert_array_equal(again.embed(**{name: media[name]}), bot.embed(**{name: media[name]}))
