"""The golden tiny model: reference weights and numbers, and our model built from them."""

import json
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import LlamaForCausalLM

from imagebind_llm.checkpoints.convert.adapter import adapter_from_original, adapter_layout
from imagebind_llm.checkpoints.convert.llama import llama_config, llama_from_original
from imagebind_llm.model.adaptation import load_adapter_state_dict
from imagebind_llm.model.conditioning import mix
from imagebind_llm.model.configuration import ImageBindLLMConfig
from imagebind_llm.model.families import DecoderShape
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

FOLDER = Path(__file__).parents[1] / "golden" / "llm_tiny"


@cache
def tensors(name):
    return load_file(FOLDER / f"{name}.safetensors")


@cache
def facts(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def base_config():
    return llama_config(facts("params"), tensors("llama_consolidated"))


def shape():
    return DecoderShape.of(base_config())


def base_model():
    model = LlamaForCausalLM(base_config()).eval()
    state = llama_from_original(tensors("llama_consolidated"), shape())
    model.load_state_dict(state, strict=True)
    return model


def pretrain_part(adapter):
    """The tensors that a first-stage file would hold."""
    return {
        key: tensor
        for key, tensor in adapter.items()
        if not key.startswith("llama.") or "norm" in key or key.endswith(".gate")
    }


def full_model(stage="finetune", adapter=None, language_model=None):
    adapter = tensors("adapter") if adapter is None else adapter
    if stage == "pretrain":
        adapter = pretrain_part(adapter)
    language_model = base_model() if language_model is None else language_model
    config = ImageBindLLMConfig(text_config=language_model.config, **adapter_layout(adapter).settings())
    model = ImageBindLLMForConditionalGeneration(config, language_model=language_model).eval()
    load_adapter_state_dict(model, adapter_from_original(adapter, shape()))
    return model


def conditions(rows):
    """Raw embeddings of ``rows``, each a condition of its own."""
    raw = tensors("inputs")["raw_embeddings"][rows]
    return normalised(raw, [1.0] * len(raw), list(range(len(raw))))


def normalised(raw, weights, index):
    unit = torch.nn.functional.normalize(raw, dim=-1)
    return mix(unit, torch.tensor(weights), torch.tensor(index), max(index) + 1)
