"""Model folders: nothing is loaded that does not belong."""

import json
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny import D, conditions, language_model, make_model, open_gates, tokens

from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.common.files import read_json
from imagebind_llm.common.locate import ADAPTER_FILE
from imagebind_llm.model.adaptation import add_biases, add_lora, set_stage, tune_norms
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration as Model
from imagebind_llm.model.processing import ImageBindLLMProcessor


class Encoder(torch.nn.Module):
    """Stands for an encoder: only its identity matters here."""

    def __init__(self, fingerprint="e" * 16):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.fingerprint = fingerprint
        self.embedding_dim = D


def prepared(style="residual", kind="llama"):
    model = make_model(kind, style)
    add_lora(model, rank=3)
    add_biases(model)
    tune_norms(model)
    set_stage(model, "finetune")
    open_gates(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


@torch.no_grad()
def logits(model):
    return model(tokens(), conditions=conditions()).logits


@pytest.mark.parametrize("style", ["residual", "value", "tokens"])
def test_whole_folder_round_trip(style, tmp_path):
    model = prepared(style)
    model.save_pretrained(tmp_path / "m")
    again = Model.from_pretrained(tmp_path / "m")
    assert not again.training
    assert again.config.stage == "finetune"
    assert torch.equal(logits(again), logits(model))
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert again.config.fingerprints == model.config.fingerprints


@pytest.mark.parametrize(
    ("kind", "style"),
    [("llama", "value"), ("qwen2", "value"), ("gpt_neox", "value"), ("llama", "tokens")],
)
def test_adapter_round_trip(kind, style, tmp_path):
    base = language_model(kind)
    base.save_pretrained(tmp_path / "base")
    model = prepared(style, kind)
    model.config.base_models["language_model"] = {"id": "../base"}
    model.save_pretrained(tmp_path / "adapter", adapter_only=True)
    assert {file.name for file in (tmp_path / "adapter").iterdir()} == {
        ADAPTER_FILE,
        "config.json",
        "generation_config.json",
    }
    named = Model.from_pretrained(tmp_path / "adapter")
    assert torch.equal(logits(named), logits(model))
    given = Model.from_pretrained(tmp_path / "adapter", language_model=language_model(kind))
    assert torch.equal(logits(given), logits(model))


def test_an_adapter_of_nameless_parts_says_so(tmp_path):
    model = make_model("llama")
    with pytest.warns(UserWarning, match="does not say where its language model can be found") as said:
        model.save_pretrained(tmp_path / "a", adapter_only=True)
    assert 'model.config.base_models to {"language_model": {"id": …}}' in str(said[0].message)
    assert said[0].filename == __file__
    model.config.base_models["language_model"] = {"id": "owner/name"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.save_pretrained(tmp_path / "a", adapter_only=True)


def test_adapter_in_half_precision(tmp_path):
    model = prepared()
    model.save_pretrained(tmp_path / "a", adapter_only=True)
    again = Model.from_pretrained(tmp_path / "a", language_model=language_model("llama"), dtype="bfloat16")
    assert {p.dtype for p in again.parameters()} == {torch.bfloat16}


def test_adapter_on_another_language_model_is_refused(tmp_path):
    model = prepared()
    model.save_pretrained(tmp_path / "a", adapter_only=True)
    other = language_model("llama")
    with torch.no_grad():
        other.model.layers[2].mlp.up_proj.weight[5, 7] += 0.01
    expected = json.loads((tmp_path / "a" / "config.json").read_text())["fingerprints"]["language_model"]
    with pytest.raises(CheckpointError, match=f"language model {expected}, but this one is [0-9a-f]{{16}}"):
        Model.from_pretrained(tmp_path / "a", language_model=other)


def test_adapter_with_another_encoder_is_refused(tmp_path):
    model = prepared()
    model.encoder = Encoder("a1" * 8)
    model.config.encoder_config = {"type": "imagebind"}
    model.save_pretrained(tmp_path / "a", adapter_only=True)
    given = {"language_model": language_model("llama")}
    with pytest.raises(CheckpointError, match="encoder a1a1a1a1a1a1a1a1, but this one is b2b2b2b2b2b2b2b2"):
        Model.from_pretrained(tmp_path / "a", encoder=Encoder("b2" * 8), **given)
    with pytest.raises(CheckpointError, match="does not say where its encoder is"):
        Model.from_pretrained(tmp_path / "a", **given)
    assert Model.from_pretrained(tmp_path / "a", encoder=Encoder("a1" * 8), **given).encoder is not None


def test_fingerprint_is_the_same_before_and_after_finetuning(tmp_path):
    untouched = make_model("qwen2")
    untouched.save_pretrained(tmp_path / "a", adapter_only=True)
    tuned = prepared(kind="qwen2")
    tuned.save_pretrained(tmp_path / "b", adapter_only=True)
    assert untouched.config.fingerprints["language_model"] == tuned.config.fingerprints["language_model"]


@pytest.mark.parametrize(
    ("file", "adapter_only"), [("model.safetensors", False), (ADAPTER_FILE, True)], ids=["whole", "adapter"]
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("bind.blocks.1.f2.weight"), r"1 missing \(bind\.blocks\.1\.f2\.weight\)"),
        (lambda s: s.update(surplus=torch.ones(2)), r"1 unexpected \(surplus\)"),
        (lambda s: s.update({"bind.project.bias": torch.ones(7)}), "other shapes"),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_strict(file, adapter_only, change, message, tmp_path):
    model = make_model("llama")
    model.save_pretrained(tmp_path / "m", adapter_only=adapter_only)
    path = tmp_path / "m" / file
    state = load_file(path)
    change(state)
    metadata = {"format": "imagebind-llm-adapter", "version": "1"} if adapter_only else {"format": "pt"}
    save_file(state, path, metadata=metadata)
    arguments = {"language_model": language_model("llama")} if adapter_only else {}
    with pytest.raises(CheckpointError, match=message):
        Model.from_pretrained(tmp_path / "m", **arguments)


@pytest.mark.parametrize("content", [b"", b"\x10" * 40])
def test_broken_adapter_file(content, tmp_path):
    make_model("llama").save_pretrained(tmp_path / "m", adapter_only=True)
    (tmp_path / "m" / ADAPTER_FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        Model.from_pretrained(tmp_path / "m", language_model=language_model("llama"))


def test_adapter_of_an_unknown_version(tmp_path):
    make_model("llama").save_pretrained(tmp_path / "m", adapter_only=True)
    path = tmp_path / "m" / ADAPTER_FILE
    save_file(load_file(path), path, metadata={"format": "imagebind-llm-adapter", "version": "77"})
    with pytest.raises(CheckpointError, match="version '77'"):
        Model.from_pretrained(tmp_path / "m", language_model=language_model("llama"))


def test_saving_replaces_weights_and_keeps_other_files(tmp_path):
    model = make_model("llama")
    model.save_pretrained(tmp_path / "m", max_shard_size="20kB")
    assert len(list((tmp_path / "m").glob("model-*.safetensors"))) > 1
    (tmp_path / "m" / "processor_config.json").write_text("{}")
    model.save_pretrained(tmp_path / "m")
    names = {file.name for file in (tmp_path / "m").iterdir()}
    assert names == {"config.json", "generation_config.json", "model.safetensors", "processor_config.json"}
    assert [file.name for file in tmp_path.iterdir()] == ["m"]
    assert torch.equal(logits(Model.from_pretrained(tmp_path / "m")), logits(model))


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"model.safetensors": "theirs"}, "model.safetensors"),
        ({"config.json": '{"model_type": "llama"}', "model.safetensors": "theirs"}, "config.json"),
        ({"config.json": "{", "model-00001-of-00002.safetensors": "theirs"}, "config.json"),
        ({"adapter.safetensors": "theirs"}, "adapter.safetensors"),
    ],
)
def test_weights_of_another_model_are_not_replaced(files, named, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(CheckpointError, match=f"holds '{named}', which is of another model"):
        make_model("llama").save_pretrained(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files


def test_a_tokenizer_of_another_model_is_not_replaced(tmp_path):
    processor = ImageBindLLMProcessor.from_pretrained("nano")
    files = {"tokenizer.json": "theirs", "config.json": '{"model_type": "llama"}'}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(CheckpointError, match=r"holds 'tokenizer\.json', which is of another model"):
        processor.save_pretrained(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files
    processor.save_pretrained(tmp_path / "own")
    processor.save_pretrained(tmp_path / "own")
    assert read_json(tmp_path / "own" / "processor_config.json") == processor.to_dict()


def test_a_failed_save_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    model = make_model("llama")
    model.save_pretrained(tmp_path / "m")
    before = {file.name: file.read_bytes() for file in (tmp_path / "m").iterdir()}

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(type(model.config), "save_pretrained", fail)
    open_gates(model)
    with pytest.raises(OSError, match="disk full"):
        model.save_pretrained(tmp_path / "m", adapter_only=True)
    assert {file.name: file.read_bytes() for file in (tmp_path / "m").iterdir()} == before
    assert [file.name for file in tmp_path.iterdir()] == ["m"]


def test_parts_for_a_whole_model_are_refused(tmp_path):
    make_model("llama").save_pretrained(tmp_path / "m")
    with pytest.raises(UserError, match="whole model"):
        Model.from_pretrained(tmp_path / "m", language_model=language_model("llama"))


def test_auto_classes(tmp_path):
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoModelForMultimodalLM

    from imagebind_llm import register

    register()
    model = make_model("llama")
    model.save_pretrained(tmp_path / "m")
    assert AutoConfig.from_pretrained(tmp_path / "m").embedding_dim == D
    for auto in (AutoModelForMultimodalLM, AutoModelForImageTextToText):
        assert torch.equal(logits(auto.from_pretrained(tmp_path / "m")), logits(model))


def test_short_loads_show_no_progress_bar(tmp_path, capfd):
    language_model("llama").save_pretrained(tmp_path / "base")
    model = make_model("llama")
    model.save_pretrained(tmp_path / "whole")
    model.config.base_models["language_model"] = {"id": "../base"}
    model.save_pretrained(tmp_path / "adapter", adapter_only=True)
    capfd.readouterr()
    for name in ("whole", "adapter"):
        Model.from_pretrained(tmp_path / name)
    assert "Loading weights" not in capfd.readouterr().err


@pytest.mark.parametrize("base", ["plain", "whole", "adapter"])
def test_auto_classes_open_adapters(base, tmp_path):
    """Also with arguments that Auto classes put into the configuration they hand on."""
    from transformers import AutoModelForMultimodalLM

    from imagebind_llm import register

    register()
    model = make_model("llama")
    parts = {"plain": language_model("llama"), "whole": make_model("llama")}
    if base == "adapter":
        parts["plain"].save_pretrained(tmp_path / "plain")
        below = make_model("llama")
        below.config.base_models["language_model"] = {"id": str(tmp_path / "plain")}
        below.save_pretrained(tmp_path / "base", adapter_only=True)
    else:
        parts[base].save_pretrained(tmp_path / "base")
    model.config.base_models["language_model"] = {"id": "../base"}
    open_gates(model).save_pretrained(tmp_path / "adapter", adapter_only=True)
    auto = AutoModelForMultimodalLM.from_pretrained
    assert torch.equal(logits(auto(tmp_path / "adapter")), logits(model))
    again = auto(tmp_path / "adapter", dtype=torch.bfloat16, attn_implementation="eager", stage="pretrain")
    assert {p.dtype for p in again.parameters()} == {torch.bfloat16}
    assert again.language_model.config._attn_implementation == "eager"
    assert again.config.stage == "pretrain"
