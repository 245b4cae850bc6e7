"""A new model around any language model: what it holds, that it changes nothing yet, and one-line errors."""

import errno
import json
import os
import shutil
import socket
import time
from pathlib import Path

import pytest
import torch
from support.llm_folders import run_cli, write_llm
from support.tiny import KINDS, language_model, tokens
from support.tiny_model import byte_tokenizer
from transformers import AutoModelForCausalLM

from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.encoders.imagebind import ImageBindConfig, ImageBindModel, save_imagebind
from imagebind_llm.model.dialog import ALPACA_TEMPLATE
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
from imagebind_llm.model.processing import ImageBindLLMProcessor


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    import dataclasses

    none = dict.fromkeys(("audio", "depth", "thermal", "imu", "point"))
    torch.manual_seed(1)
    model = ImageBindModel(dataclasses.replace(ImageBindConfig.nano(), embedding_dim=28, **none))
    folder = tmp_path_factory.mktemp("encoder") / "small"
    save_imagebind(model.eval(), folder)
    return folder


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_any_family_answers_as_before(tmp_path, encoder, kind):
    style, layers = ("value", "2") if sorted(KINDS).index(kind) % 2 else ("residual", "0,2")
    llm = write_llm(tmp_path / "llm", kind)
    out = tmp_path / "new"
    assert (
        run_cli("new", "--llm", llm, "--encoder", encoder, "--style", style, "--layers", layers, "--out", out)
        == 0
    )
    model = ImageBindLLMForConditionalGeneration.from_pretrained(out)
    assert model.injection.style == style
    assert model.injection.layers == ((1, 2) if style == "value" else (0, 2))
    ids = tokens(2, 9)
    seen = torch.nn.functional.normalize(torch.randn(2, 28), dim=-1)
    with torch.no_grad():
        base = AutoModelForCausalLM.from_pretrained(llm)(ids).logits
        assert torch.equal(model(ids, conditions=seen).logits, base)
        model.injection.gate.fill_(0.7)
        assert not torch.equal(model(ids, conditions=seen).logits, base)


def test_an_adapter_names_its_parts(tmp_path, encoder):
    llm = write_llm(tmp_path / "llm")
    out = tmp_path / "new"
    assert run_cli("new", "--llm", llm, "--encoder", encoder, "--out", out, "--adapter-only") == 0
    assert not list(out.glob("model*.safetensors"))
    config = json.loads((out / "config.json").read_text())
    names = {part: found["id"] for part, found in config["base_models"].items()}
    assert names["language_model"] == "../llm"
    assert not Path(names["encoder"]).is_absolute()
    assert (out / names["encoder"]).resolve() == encoder.resolve()
    model = ImageBindLLMForConditionalGeneration.from_pretrained(out)
    assert model.config.base_models["language_model"]["id"] == str(llm)
    with torch.no_grad():
        base = AutoModelForCausalLM.from_pretrained(llm)(tokens()).logits
        assert torch.equal(model(tokens()).logits, base)
    assert model.encoder is not None


def test_an_adapter_moves_with_its_parts(tmp_path, encoder, monkeypatch):
    """Named as seen from the adapter, wherever the program runs; absolute names are read too."""
    load = ImageBindLLMForConditionalGeneration.from_pretrained
    place = tmp_path / "here"
    write_llm(place / "llm")
    shutil.copytree(encoder, place / "encoder")
    monkeypatch.chdir(place)
    parts = ("--llm", "llm", "--encoder", "encoder", "--adapter-only")
    assert run_cli("new", *parts, "--out", "models/new") == 0
    place = place.rename(tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    model = load("there/models/new")
    assert model.config.base_models["encoder"]["id"] == str(place / "encoder")
    model.save_pretrained(tmp_path / "copy", adapter_only=True)  # what was read here is named from there
    config = json.loads((tmp_path / "copy" / "config.json").read_text())
    assert config["base_models"]["language_model"]["id"] == "../there/llm"
    expected = model(tokens()).logits
    monkeypatch.chdir(place)
    assert torch.equal(load(tmp_path / "copy")(tokens()).logits, expected)
    config["base_models"]["language_model"]["id"] = str(place / "llm")
    (tmp_path / "copy" / "config.json").write_text(json.dumps(config))
    assert torch.equal(load(tmp_path / "copy")(tokens()).logits, expected)


def test_a_part_is_not_looked_for_in_the_working_directory(tmp_path, encoder, monkeypatch, capsys):
    llm = write_llm(tmp_path / "llm")
    out = tmp_path / "deep" / "new"
    assert run_cli("new", "--llm", llm, "--encoder", encoder, "--adapter-only", "--out", out) == 0
    config = json.loads((out / "config.json").read_text())
    config["base_models"]["language_model"]["id"] = "../llm"
    (out / "config.json").write_text(json.dumps(config))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")  # seen from here, ../llm is a language model
    capsys.readouterr()
    assert run_cli("ask", "Hi?", "--model", out) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: the language model of ")
    assert "should be in '../llm', seen from there, but there is no such folder" in said


def test_a_damaged_part_is_one_line(tmp_path, encoder, capsys):
    llm = write_llm(tmp_path / "llm")
    out = tmp_path / "new"
    assert run_cli("new", "--llm", llm, "--encoder", encoder, "--out", out, "--adapter-only") == 0
    capsys.readouterr()
    whole = (llm / "model.safetensors").read_bytes()
    for content in (whole[: len(whole) // 2], b""):
        (llm / "model.safetensors").write_bytes(content)
        assert run_cli("ask", "Hi?", "--model", out) == 2
        assert "no language model can be opened at" in capsys.readouterr().err
    (llm / "model.safetensors").unlink()
    assert run_cli("ask", "Hi?", "--model", out) == 2
    assert "no language model can be opened at" in capsys.readouterr().err


def test_the_folder_answers_at_once(tmp_path, encoder, media_folder, capsys):
    llm = write_llm(tmp_path / "llm")
    out = tmp_path / "new"
    assert run_cli("new", "--llm", llm, "--encoder", encoder, "--out", out, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["modalities"] == "image, text, video"
    assert ImageBindLLMProcessor.from_pretrained(out).media.image.size == 32  # the encoder's, not ImageBind's
    picture = media_folder / "red.png"
    assert run_cli("ask", "Hi?", "--image", picture, "--model", out, "--max-new-tokens", 3, "--json") == 0
    seen = json.loads(capsys.readouterr().out)
    assert run_cli("ask", "Hi?", "--model", out, "--max-new-tokens", 3, "--json") == 0
    assert json.loads(capsys.readouterr().out)["answer"] == seen["answer"]


def test_a_model_lends_its_encoder(tmp_path, tiny_model_folder):
    llm = write_llm(tmp_path / "llm", "gpt_neox")
    out = tmp_path / "new"
    assert run_cli("new", "--llm", llm, "--encoder", tiny_model_folder, "--out", out) == 0
    lent = ImageBindLLMForConditionalGeneration.from_pretrained(tiny_model_folder)
    model = ImageBindLLMForConditionalGeneration.from_pretrained(out)
    assert model.config.fingerprints["encoder"] == lent.config.fingerprints["encoder"]
    assert ImageBindLLMProcessor.from_pretrained(out).media.audio.mel_bins == 64


def test_a_tokenizer_without_template_gets_one_and_says_so(tmp_path, encoder, capsys):
    llm = write_llm(tmp_path / "llm", tokenizer=False)
    plain = byte_tokenizer()
    plain.chat_template = None
    plain.pad_token = None
    plain.save_pretrained(llm)
    out = tmp_path / "new"
    assert run_cli("new", "--llm", llm, "--encoder", encoder, "--out", out) == 0
    said = capsys.readouterr().out
    assert "no chat template" in said
    assert "no padding token" in said
    assert ImageBindLLMProcessor.from_pretrained(out).tokenizer.chat_template == ALPACA_TEMPLATE


def _encoder_decoder(folder: Path) -> list[str]:
    from transformers import T5Config

    T5Config(d_model=8).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return []


def _unknown(folder: Path) -> list[str]:
    from transformers import BertConfig

    BertConfig().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return []


def _no_tokenizer(folder: Path) -> list[str]:
    write_llm(folder, tokenizer=False)
    return []


def _no_end(folder: Path) -> list[str]:
    write_llm(folder, tokenizer=False)
    endless = byte_tokenizer()
    endless.eos_token = None
    endless.save_pretrained(folder)
    return []


def _rewriting(folder: Path) -> list[str]:
    write_llm(folder, tokenizer=False)
    strange = byte_tokenizer()
    strange.chat_template = "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}"
    strange.save_pretrained(folder)
    return []


def _large_vocabulary(folder: Path) -> list[str]:
    language_model(vocab_size=100).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return []


def _layers(folder: Path) -> list[str]:
    write_llm(folder)
    return ["--layers", "some"]


def _too_many(folder: Path) -> list[str]:
    write_llm(folder)
    return ["--layers", "9"]


def _lost_weights(folder: Path) -> list[str]:
    from safetensors.torch import load_file, save_file

    write_llm(folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.self_attn.v_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return []


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (_encoder_decoder, "decoder-only"),
        (_unknown, "'bert' are not known"),
        (_no_tokenizer, "--tokenizer"),
        (_no_end, "no end token"),
        (_rewriting, "--template alpaca"),
        (_large_vocabulary, "tokens and the language model 100"),
        (_layers, "--layers 'some'"),
        (_too_many, "last 9 layers"),
        (_lost_weights, "lacks 1 of its weights"),
        (lambda folder: [], "no folder"),
        (lambda folder: folder.mkdir() or [], "no language model can be opened"),
        (lambda folder: ["--llm", "nano"], "'nano' is a whole ImageBind-LLM already"),
    ],
)
def test_one_clear_line(tmp_path, encoder, capsys, prepare, message):
    import re

    more = prepare(tmp_path / "llm")
    out = tmp_path / "new"
    assert run_cli("new", "--llm", tmp_path / "llm", "--encoder", encoder, "--out", out, *more) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("error:")
    assert re.search(message, said[-1]), said
    assert not out.exists()


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize("name", ["NO_SUCH_MODEL", "owner/no-such-model"])
def test_a_name_that_nothing_has_is_refused_at_once(tmp_path, encoder, capsys, monkeypatch, name, offline):
    """Without a connection too: the hub is asked once, not for half a minute."""
    from huggingface_hub import constants

    def no_network(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    def no_wait(seconds):
        raise AssertionError(f"waited {seconds} s to ask again")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(time, "sleep", no_wait)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    for more in (("--llm", name), ("--llm", write_llm(tmp_path / "llm"), "--tokenizer", name)):
        assert run_cli("new", *more, "--encoder", encoder, "--out", tmp_path / "new") == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert said[-1].startswith(f"error: there is no folder '{name}', ")
        assert ("offline mode is on" in said[-1]) == offline
    assert not (tmp_path / "new").exists()
    with pytest.raises(CheckpointError, match="there is no folder"):
        ImageBindLLMForConditionalGeneration.from_pretrained(name)


def test_a_folder_without_encoder_is_refused(tmp_path, capsys):
    llm = write_llm(tmp_path / "llm")
    assert run_cli("new", "--llm", llm, "--encoder", llm, "--out", tmp_path / "new") == 2
    assert "no joint encoder" in capsys.readouterr().err


def test_a_full_disk_leaves_nothing(tmp_path, encoder, capsys, monkeypatch):
    llm = write_llm(tmp_path / "llm")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    more = ("--encoder", encoder, "--out", tmp_path / "new")
    with monkeypatch.context() as patched:
        patched.setattr(ImageBindLLMProcessor, "save_pretrained", full)  # the weights were written before
        assert run_cli("new", "--llm", llm, *more) == 2
    assert "is full" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"llm"}
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: usage)
        assert run_cli("new", "--llm", llm, *more) == 2
    assert "1.0 MB free" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"llm"}


def test_an_existing_folder_is_left_alone(tmp_path, encoder, capsys):
    llm = write_llm(tmp_path / "llm")
    assert run_cli("new", "--llm", llm, "--encoder", encoder, "--out", llm) == 2
    assert "already exists; give a new folder" in capsys.readouterr().err
