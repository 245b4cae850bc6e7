"""Original key layouts: accepted at full size (on the meta device), reversible, and strict."""

import gzip
import json
from functools import cache
from pathlib import Path

import pytest
import torch
from support import golden_llm as golden
from transformers import LlamaForCausalLM

from imagebind_llm.checkpoints.convert.adapter import (
    adapter_from_original,
    adapter_layout,
    adapter_rules,
    adapter_to_original,
    normalise_keys,
)
from imagebind_llm.checkpoints.convert.llama import llama_config, llama_from_original, llama_to_original
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.tensor_files import require_same_shapes
from imagebind_llm.model.adaptation import adapter_state_dict, load_adapter_state_dict, trainable_parameters
from imagebind_llm.model.configuration import ImageBindLLMConfig
from imagebind_llm.model.families import DecoderShape
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

MANIFESTS = Path(__file__).parents[1] / "golden" / "manifests"


@cache
def manifest(name):
    return json.loads(gzip.decompress((MANIFESTS / f"{name}.json.gz").read_bytes()))


def on_meta(name):
    return {key: torch.empty(shape, device="meta") for key, (shape, _) in manifest(name).items()}


@cache
def big_config():
    params = json.loads((MANIFESTS / "params_7B.json").read_text())
    return llama_config(params, on_meta("llama_7B_consolidated.00"))


def big_model(adapter):
    config = ImageBindLLMConfig(text_config=big_config(), **adapter_layout(adapter).settings())
    with torch.device("meta"):
        return ImageBindLLMForConditionalGeneration(config)


def legacy_adapter():
    modern = {
        key: t for key, t in on_meta("imagebind_llm_7B_finetune").items() if not key.startswith("image_bind")
    }
    return modern | on_meta("imagebind_llm_legacy_bridge_part")


def test_llama_7b():
    state = on_meta("llama_7B_consolidated.00")
    assert len(state) == 291
    with torch.device("meta"):
        expected = LlamaForCausalLM(big_config()).state_dict()
    found = llama_from_original(state, DecoderShape.of(big_config()))
    assert found.keys() == expected.keys()
    require_same_shapes(expected, found, "7B")


@pytest.mark.parametrize(
    ("name", "count", "values"),
    [
        ("imagebind_llm_7B_finetune", 720, 650e6),
        ("imagebind_llm_7B_pretrained", 112, 609e6),
        ("legacy", 732, None),
    ],
)
def test_adapter_7b(name, count, values):
    adapter = legacy_adapter() if name == "legacy" else on_meta(name)
    assert len(adapter) == count
    model = big_model(adapter)
    shape = DecoderShape.of(big_config())
    ours = adapter_from_original(adapter, shape)
    load_adapter_state_dict(model, ours)  # strict in names and shapes
    if values:
        assert sum(t.numel() for t in adapter_state_dict(model).values()) == pytest.approx(values, rel=1e-3)
    theirs = adapter_to_original(ours, adapter_layout(adapter), shape)
    assert {key: t.shape for key, t in theirs.items()} == {key: t.shape for key, t in adapter.items()}


@pytest.mark.parametrize("stage", ["finetune", "pretrain"])
def test_trained_names_are_the_published_ones(stage):
    adapter = on_meta(
        {"finetune": "imagebind_llm_7B_finetune", "pretrain": "imagebind_llm_7B_pretrained"}[stage]
    )
    model = big_model(adapter)
    shape = DecoderShape.of(big_config())
    theirs = {rule.ours: rule.theirs for rule in adapter_rules(adapter_layout(adapter), shape)}
    trained = set(trainable_parameters(model, stage))
    found = {theirs[name] for name in trained - {"injection.gate"}}
    if "injection.gate" in trained:
        found |= {f"llama.layers.{layer}.attention.gate" for layer in range(32)}
    assert found == set(manifest(f"trainable_{stage}"))


def test_round_trips_are_exact():
    adapter, shape = golden.tensors("adapter"), golden.shape()
    again = adapter_to_original(adapter_from_original(adapter, shape), adapter_layout(adapter), shape)
    assert again.keys() == adapter.keys()
    assert all(torch.equal(again[key], adapter[key]) for key in adapter)
    base = {key: t for key, t in golden.tensors("llama_consolidated").items() if "rope" not in key}
    again = llama_to_original(llama_from_original(base, shape), shape)
    assert again.keys() == base.keys()
    assert all(torch.equal(again[key], base[key]) for key in base)


def test_fewer_queries_than_layers():
    adapter = dict(golden.tensors("adapter"))
    adapter["prefix_query.weight"] = adapter["prefix_query.weight"][1:]
    ours = adapter_from_original(adapter, golden.shape())
    assert ours["injection.gate"].shape == (3, 4)
    assert torch.equal(ours["injection.gate"][0], adapter["llama.layers.1.attention.gate"].flatten())
    model = golden.full_model(adapter=adapter)
    assert model.injection.layers == (1, 2, 3)
    theirs = adapter_to_original(ours, adapter_layout(adapter), golden.shape())
    assert not theirs["llama.layers.0.attention.gate"].any()


def test_old_spellings():
    old = {key.replace("llama.", "llma."): t for key, t in golden.tensors("adapter").items()}
    old["prefix_projector_norm.weight"] = torch.ones(3)
    assert normalise_keys(old).keys() == golden.tensors("adapter").keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda a: a.pop("llama.layers.2.feed_forward.lora_w3_l2.weight"),
            "1 missing .*2.feed_forward.lora_w3_l2",
        ),
        (lambda a: a.pop("llama.layers.3.attention.gate"), "1 missing .*layers.3.attention.gate"),
        (lambda a: a.update({"llama.layers.0.attention.wk.bias": torch.ones(64)}), "1 unexpected .*wk.bias"),
        (lambda a: a.pop("prefix_query.weight"), "no tensor 'prefix_query.weight'"),
        (lambda a: a.update({"image_bind_f2_3.weight": torch.ones(64, 255)}), "255.* instead of .*256"),
    ],
)
def test_adapter_is_read_strictly(change, message):
    adapter = dict(golden.tensors("adapter"))
    change(adapter)
    with pytest.raises(CheckpointError, match=message):
        golden.full_model(adapter=adapter)


def test_llama_is_read_strictly():
    state = dict(golden.tensors("llama_consolidated"))
    del state["layers.1.attention.wo.weight"]
    with pytest.raises(CheckpointError, match=r"1 missing .*layers.1.attention.wo"):
        llama_from_original(state, golden.shape())
    with pytest.raises(CheckpointError, match="64 wide"):
        llama_config({"dim": 4096}, state)
