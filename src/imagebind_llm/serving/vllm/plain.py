"""The language model of a model folder as a plain folder, as vLLM and everybody else knows it.

Low-rank updates are folded into the weights, and biases and norms that were trained are written with them.
vLLM's Llama has biases on all maps of a kind or on none (``attention_bias``, ``mlp_bias``), so where only
some were trained the others are zeros. Biased Mistral and Qwen2 models are Llama models under another name
and are written as such.
"""

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import require_space
from imagebind_llm.model.conditioned_update import ConditionedLinear
from imagebind_llm.model.families import base_linear, decoder_layers, family_of
from imagebind_llm.model.folding import FoldedLinear
from imagebind_llm.model.own_update import OwnLinear, foreign_adapters

if TYPE_CHECKING:
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

SUPPORTED = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3")
"""Families that vLLM runs with layers of its own, in which the hooks find their place. All but Gemma 1
were run against the engine in this process."""
_LIKE_LLAMA = ("llama", "mistral", "qwen2")
_ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
_MLP = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")


def check_supported(model: "ImageBindLLMForConditionalGeneration") -> None:
    """Refuse language models that vLLM cannot run with conditions.

    Raises:
        UserError: another family, fewer bits, weights that are elsewhere, or settings for writing that vLLM
            does not know.
    """
    kind = str(model.config.text_config.model_type)
    if kind not in SUPPORTED:
        raise UserError(
            f"language models of type {kind!r} cannot run on vLLM with conditions; those of type "
            f"{', '.join(SUPPORTED)} can: leave out --engine vllm"
        )
    if model.bind.tokens > 1:
        raise UserError(
            f"this model's conditions are {model.bind.tokens} vectors that tokens attend to, which the vLLM "
            "engine cannot do; leave out --engine vllm"
        )
    if model.config.lora is not None and model.config.lora["tokens"] != "all":
        raise UserError(
            "this model's low-rank updates act only on tokens that see a condition, which the vLLM engine "
            "cannot do; leave out --engine vllm"
        )
    if foreign_adapters(model.language_model):
        raise UserError("the language model holds peft adapters; merge them into it before it goes to vLLM")
    for name, tensor in model.language_model.named_parameters():
        if tensor.is_meta or not tensor.is_floating_point():
            raise UserError(
                f"the language model's {name} is packed or not in memory; load the model without "
                "quantization and device map for vLLM"
            )
    settings = model.generation_config
    for name in ("no_repeat_ngram_size", "bad_words_ids", "suppress_tokens"):
        if getattr(settings, name, None):
            raise UserError(
                f"the model's generation_config.json has {name}, which the vLLM engine cannot honour; leave "
                "out --engine vllm, or remove it from there"
            )


def write_plain(model: "ImageBindLLMForConditionalGeneration", folder: Path) -> None:
    """Write the language model of ``model`` into ``folder``: ``config.json`` and ``model.safetensors``.

    Raises:
        UserError: see :func:`check_supported`; or biases that vLLM's layers of this family do not have.
        DiskFullError: there is no room.
    """
    from safetensors.torch import save_file

    check_supported(model)
    state = plain_state(model.language_model)
    config = plain_config(model.language_model, state)
    folder.mkdir(parents=True, exist_ok=True)
    size = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    require_space(folder, size, "the language model for vLLM")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


@torch.no_grad()
def plain_state(language_model: nn.Module) -> dict[str, Tensor]:
    """Its tensors on the CPU by transformers' names, updates folded, tied ones once."""
    state = language_model.state_dict()
    for name, module in language_model.named_modules():
        if isinstance(module, OwnLinear) and not module.merged:
            state[f"{name}.base_layer.weight"] = folded_weight(module)
    found: dict[str, Tensor] = {}
    seen: dict[tuple[int, tuple[int, ...]], str] = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if "lora_A" in parts or "lora_B" in parts:
            continue
        place = (tensor.data_ptr(), tuple(tensor.shape))
        if place in seen and tensor.numel():
            continue  # tied, under its first name
        seen[place] = name
        found[name.replace(".base_layer.", ".")] = tensor.detach().cpu().contiguous()
    return found


def folded_weight(module: Any) -> Tensor:
    """The weight ``[out, in]`` of a low-rank map with its update, as folding in place would give it."""
    if isinstance(module, FoldedLinear):
        return module.folded_weight
    weight: Tensor = module.weight.detach().clone()
    if isinstance(module, ConditionedLinear):
        module.merge()  # says why it cannot be
    if not module.disabled:
        weight += module.delta().to(weight)
    return weight


def plain_config(language_model: Any, state: dict[str, Tensor]) -> dict[str, Any]:
    """Its configuration, with missing biases added to ``state`` as zeros where vLLM needs all of them.

    Raises:
        UserError: vLLM's layers of this family have no such biases.
    """
    text_config = language_model.config
    values: dict[str, Any] = copy.deepcopy(text_config).to_dict()
    values.pop("_name_or_path", None)
    values["architectures"] = [type(language_model).__name__]
    kind = str(text_config.model_type)
    prefix = f"{family_of(kind).layers}.0."
    biased = {name.removeprefix(prefix).removesuffix(".bias") for name in state if name.endswith(".bias")}
    biased = {name for name in biased if name in (*_ATTENTION, *_MLP)}
    native = {*_ATTENTION[:3]} if kind == "qwen2" else set()
    if biased - native:
        window = values.get("sliding_window") and values.get("use_sliding_window", True)
        if kind not in _LIKE_LLAMA or window:
            raise UserError(
                f"the language model of type {kind!r} has trained biases, for which vLLM's layers have no "
                "place; leave out --engine vllm"
            )
        attention, mlp = bool(biased & {*_ATTENTION}), bool(biased & {*_MLP})
        _complete(state, text_config, (*(_ATTENTION if attention else ()), *(_MLP if mlp else ())))
        values |= {"model_type": "llama", "attention_bias": attention, "mlp_bias": mlp}
        values.pop("layer_types", None)
        values["architectures"] = ["LlamaForCausalLM"]
    dtypes = {tensor.dtype for tensor in state.values() if tensor.is_floating_point()}
    values["dtype"] = str(max(dtypes, key=lambda kind: kind.itemsize)).removeprefix("torch.")
    return values


def _complete(state: dict[str, Tensor], text_config: Any, maps: tuple[str, ...]) -> None:
    layers = family_of(text_config.model_type).layers
    for index in range(text_config.num_hidden_layers):
        for name in maps:
            weight = state[f"{layers}.{index}.{name}.weight"]
            state.setdefault(f"{layers}.{index}.{name}.bias", weight.new_zeros(len(weight)))


def forget_language_model(model: "ImageBindLLMForConditionalGeneration") -> None:
    """Free the memory of a language model that vLLM has read. The model can then only make conditions.

    Style ``"value"`` keeps the maps of values and outputs, with which deltas are made.
    """
    language_model: Any = model.language_model
    family = family_of(language_model.config.model_type)
    kept: set[int] = set()
    if model.injection.style == "value":
        found = decoder_layers(language_model)
        for index in model.injection.layers:
            for path in (family.value, family.output):
                module: Any = found[index].get_submodule(path)
                parts = {module, base_linear(module), *module.modules()}
                kept |= {id(part) for part in parts}
    for module in language_model.modules():
        if id(module) in kept:
            continue
        for name, tensor in list(module._parameters.items()):
            if tensor is not None:
                module._parameters[name] = nn.Parameter(tensor.detach().to("meta"), requires_grad=False)
