"""Weights that are no numbers, or not those that were recorded, are refused by every loader."""

import pytest
import torch
from safetensors.torch import load_file
from support.model_folders import change_json, change_tensors, copy_folder, shift
from support.tiny import language_model
from support.tiny_pe_av import write_pe_av

from imagebind_llm import Assistant
from imagebind_llm.checkpoints.doctor import diagnose
from imagebind_llm.checkpoints.export import export
from imagebind_llm.common import finite
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.locate import ADAPTER_FILE
from imagebind_llm.encoders.registry import load_encoder
from imagebind_llm.model.bases import whole_language_model
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration as Model

WEIGHTS = "model.safetensors"
EMBEDDING, NORM = "language_model.model.embed_tokens.weight", "language_model.model.norm.weight"
VALUES = {"nan": torch.nan, "inf": torch.inf, "-inf": -torch.inf}


def spoil(name, value):
    def change(state):
        state[name] = state[name].clone()
        state[name].view(-1)[1] = value

    return change


def encoder_weight(folder):
    return next(
        name
        for name, tensor in load_file(folder / WEIGHTS).items()
        if name.startswith("encoder.")
        and tensor.is_floating_point()
        and tensor.ndim == 2
        and "mask" not in name
    )


def loaders(folder):
    return (lambda: Assistant.from_pretrained(folder, device="cpu"), lambda: Model.from_pretrained(folder))


@pytest.fixture
def folder(tiny_model_folder, tmp_path):
    return copy_folder(tiny_model_folder, tmp_path / "model")


@pytest.mark.parametrize(
    ("name", "value"),
    [(EMBEDDING, "nan"), (NORM, "inf"), ("bind.project.bias", "-inf"), ("injection.gate", "nan")],
)
def test_a_whole_model(name, value, folder):
    change_tensors(folder / WEIGHTS, spoil(name, VALUES[value]))
    what = f"{name} has 1 of \\d+ values that are NaN or infinite in float32"
    for load in (
        lambda: Assistant.from_pretrained(folder, device="cpu"),
        lambda: Model.from_pretrained(folder),
    ):
        with pytest.raises(CheckpointError, match=what) as raised:
            load()
        assert "\n" not in str(raised.value)
    assert any("NaN" in finding.problem for finding in diagnose(str(folder), fingerprints=False).findings)


def test_an_encoder_inside_a_model(folder):
    name = encoder_weight(folder)
    change_tensors(folder / WEIGHTS, spoil(name, torch.nan))
    for load in (Model.from_pretrained, load_encoder):
        with pytest.raises(CheckpointError, match=f"{name.removeprefix('encoder.')} has 1 of"):
            load(folder)


def test_minus_infinity_belongs_into_the_causal_mask(folder):
    name = next(key for key in load_file(folder / WEIGHTS) if key.endswith("text.mask"))
    assert torch.isneginf(load_file(folder / WEIGHTS)[name]).any()
    Model.from_pretrained(folder)
    change_tensors(folder / WEIGHTS, spoil(name, torch.nan))
    with pytest.raises(CheckpointError, match=r"text\.mask"):
        Model.from_pretrained(folder)


def test_values_that_a_narrower_precision_has_not(folder):
    change_tensors(folder / WEIGHTS, spoil(NORM, 1e6))
    Model.from_pretrained(folder)
    with pytest.raises(CheckpointError, match="infinite in float16"):
        Assistant.from_pretrained(folder, device="cpu", dtype="float16")


def test_sums_beyond_the_precision_are_no_fault():
    finite.require_finite([("x", torch.full((4000,), 60_000.0, dtype=torch.float16))], "here")


def test_an_adapter(tmp_path):
    export("nano", tmp_path / "adapter", "adapter")
    change_tensors(tmp_path / "adapter" / ADAPTER_FILE, spoil("injection.gate", torch.nan))
    with pytest.raises(CheckpointError, match=r"injection\.gate has 1 of"):
        Model.from_pretrained(tmp_path / "adapter")


def test_a_language_model(tmp_path):
    language_model("llama").save_pretrained(tmp_path)
    whole_language_model(str(tmp_path))
    change_tensors(tmp_path / WEIGHTS, spoil("model.norm.weight", torch.nan))
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight has 1 of 40 values"):
        whole_language_model(str(tmp_path))


def test_a_pe_av(tmp_path):
    whole = write_pe_av(tmp_path / "pe")
    name = next(key for key in load_file(whole / WEIGHTS) if key.endswith("weight"))
    change_tensors(whole / WEIGHTS, spoil(name, torch.nan))
    with pytest.raises(CheckpointError, match="NaN"):
        load_encoder(whole)


@pytest.mark.parametrize("part", ["language model", "encoder"])
def test_recorded_fingerprints_are_compared(part, folder):
    change_tensors(folder / WEIGHTS, shift(EMBEDDING if part == "language model" else encoder_weight(folder)))
    for load in (
        lambda: Assistant.from_pretrained(folder, device="cpu"),
        lambda: Model.from_pretrained(folder),
    ):
        with pytest.raises(CheckpointError, match=f"the {part} in .* has the fingerprint .* records"):
            load()
    assert any(part in finding.part for finding in diagnose(str(folder)).findings)


def test_large_models_are_compared_by_doctor_alone(folder, monkeypatch):
    monkeypatch.setattr("imagebind_llm.model.recorded.COMPARED_BYTES", 10_000)
    monkeypatch.setattr("imagebind_llm.model.folders.COMPARED_BYTES", 10_000)
    change_tensors(folder / WEIGHTS, shift(EMBEDDING))
    Model.from_pretrained(folder)
    Assistant.from_pretrained(folder, device="cpu")
    assert diagnose(str(folder), fingerprints=True, self_test=False).findings


@pytest.mark.parametrize(
    ("dtype", "load"), [("float32", "bfloat16"), ("bfloat16", "float16"), ("float16", "float32")]
)
def test_what_was_saved_in_any_precision_opens_in_any(dtype, load, tiny_model_folder, tmp_path):
    export(str(tiny_model_folder), tmp_path / "m", "full", dtype=getattr(torch, dtype))
    Model.from_pretrained(tmp_path / "m", dtype=getattr(torch, load))
    Assistant.from_pretrained(tmp_path / "m", device="cpu", dtype=load)


def test_a_folder_that_records_nothing_is_not_compared(folder):
    change_json(folder / "config.json", fingerprints={"encoder": None, "language_model": None})
    change_tensors(folder / WEIGHTS, shift(EMBEDDING))
    Assistant.from_pretrained(folder, device="cpu")
