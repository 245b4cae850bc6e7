"""Where the parts of a decoder are: the one table that knows how language-model families name their modules.

To add a family, add one entry to ``FAMILIES``: its decoder layers must pass their ``**kwargs`` on to the
attention module (all of transformers' current decoders do), and ``tests/support/tiny.py`` must list it.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.model.own_update import OwnLinear, below_foreign


@dataclass(frozen=True)
class Family:
    """Module paths of one family; all but ``layers`` and ``final_norm`` are relative to a decoder layer."""

    layers: str = "model.layers"
    final_norm: str = "model.norm"
    attention: str = "self_attn"
    value: str = "self_attn.v_proj"
    """The linear layer whose rows hold the value projection."""
    key: str = "self_attn.k_proj"
    """Likewise the key projection."""
    query: str = "self_attn.q_proj"
    """Likewise the query projection."""
    value_rows: Literal["all", "last", "per_head"] = "all"
    """Which rows: all; the last ``kv_heads * head_dim`` (q, k, v stacked, and keys and queries before them);
    the last third of each head's (queries, keys, values of one head after another)."""
    query_norm: str | None = None
    """The norm of each head's queries, where some models of the family have one."""
    key_norm: str | None = None
    output: str = "self_attn.o_proj"
    linears: tuple[str, ...] = (
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    )
    """Maps that finetuning gives a low-rank update."""
    biased: tuple[str, ...] = (
        "self_attn.q_proj",
        "self_attn.o_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    )
    """Maps whose bias finetuning trains, adding one where there is none (keys and values get none)."""
    norms: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")


_LLAMA = Family()
_GEMMA2 = replace(
    _LLAMA,
    norms=(
        "input_layernorm",
        "post_attention_layernorm",
        "pre_feedforward_layernorm",
        "post_feedforward_layernorm",
    ),
)
_QK_NORMS = ("self_attn.q_norm", "self_attn.k_norm")
_NORMED = replace(_LLAMA, query_norm=_QK_NORMS[0], key_norm=_QK_NORMS[1])

FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": replace(_NORMED, norms=(*_LLAMA.norms, *_QK_NORMS)),
    "gemma": _LLAMA,
    "gemma2": _GEMMA2,
    "gemma3_text": replace(_NORMED, norms=(*_GEMMA2.norms, *_QK_NORMS)),
    "phi": Family(
        final_norm="model.final_layernorm",
        output="self_attn.dense",
        query_norm="self_attn.q_layernorm",
        key_norm="self_attn.k_layernorm",
        linears=(
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.dense",
            "mlp.fc1",
            "mlp.fc2",
        ),
        biased=("self_attn.q_proj", "self_attn.dense", "mlp.fc1", "mlp.fc2"),
        norms=("input_layernorm",),
    ),
    "phi3": Family(
        value="self_attn.qkv_proj",
        key="self_attn.qkv_proj",
        query="self_attn.qkv_proj",
        value_rows="last",
        linears=("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"),
        biased=("self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"),
    ),
    "gpt_neox": Family(
        layers="gpt_neox.layers",
        final_norm="gpt_neox.final_layer_norm",
        attention="attention",
        value="attention.query_key_value",
        key="attention.query_key_value",
        query="attention.query_key_value",
        value_rows="per_head",
        output="attention.dense",
        linears=("attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
        biased=("attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    ),
}


def family_of(model_type: str) -> Family:
    """The family of a language model's ``config.model_type``.

    Raises:
        ConfigError: the table has none of that name.
    """
    try:
        return FAMILIES[model_type]
    except KeyError:
        raise ConfigError(
            f"language models of type {model_type!r} are not known; known are {', '.join(sorted(FAMILIES))}; "
            "add an entry to imagebind_llm.model.families.FAMILIES that says where its layers and "
            "projections are"
        ) from None


@dataclass(frozen=True)
class DecoderShape:
    """The sizes of a decoder that injection depends on."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int

    @classmethod
    def of(cls, text_config: Any) -> "DecoderShape":
        """Read from the configuration of a language model."""
        heads = text_config.num_attention_heads
        return cls(
            layers=text_config.num_hidden_layers,
            width=text_config.hidden_size,
            heads=heads,
            kv_heads=getattr(text_config, "num_key_value_heads", None) or heads,
            head_dim=getattr(text_config, "head_dim", None) or text_config.hidden_size // heads,
        )


def decoder_layers(language_model: Any) -> list[nn.Module]:
    """The decoder layers of a causal language model, first to last."""
    return list(language_model.get_submodule(family_of(language_model.config.model_type).layers))


def base_linear(module: nn.Module) -> Any:
    """The map itself, when ``module`` is one that low-rank adapters wrap."""
    while isinstance(inner := getattr(module, "base_layer", None), nn.Module):
        module = inner
    return module


def bare_projections(family: Family, style: str, tokens: int) -> tuple[str, ...]:
    """The maps that injection uses without their update, by their paths in a decoder layer.

    Args:
        family: of the language model.
        style: of the injection.
        tokens: vectors per condition.
    """
    if style != "value":
        return ()
    return (family.value,) if tokens == 1 else tuple(dict.fromkeys((family.value, family.key)))


def project_values(
    layer: nn.Module,
    family: Family,
    shape: DecoderShape,
    states: Tensor,
    part: Literal["key", "value"] = "value",
) -> Tensor:
    """The value (or key) projection of a decoder layer, without the model's update or bias.

    Adapters that a user added with peft are part of it, folded or not.

    Args:
        layer: the decoder layer.
        family: its family.
        shape: its sizes.
        states: ``[N, C]``.
        part: which of the two.

    Returns:
        ``[N, kv_heads * head_dim]``.

    Raises:
        ConfigError: the model's update was folded into it.
    """
    module: Any = layer.get_submodule(family.value if part == "value" else family.key)
    base = base_linear(module)
    own = below_foreign(module)
    if isinstance(own, OwnLinear) and own.merged:
        raise ConfigError(
            f"the low-rank update of the {part} projection is folded into it, but injection style 'value' "
            "needs the projection without; fold with imagebind_llm.model.adaptation.merge_lora, which "
            "keeps both"
        )
    if own is module and _is_plain(base):
        weight = _rows_of(base.weight, family, shape, part, axis=0)
        return nn.functional.linear(states.to(weight), weight)
    out = _linear_part(base, states)
    if own is not module:
        out = out + (module(states) - own(states)).to(out.dtype)
    return _rows_of(out, family, shape, part, axis=out.ndim - 1)


def project_queries(attention: nn.Module, family: Family, shape: DecoderShape, states: Tensor) -> Tensor:
    """The query projection of an attention module as its tokens use it, with updates, bias and norm.

    Args:
        attention: the attention module of a decoder layer.
        family: its family.
        shape: its sizes.
        states: ``[B, T, C]``.

    Returns:
        ``[B, heads, T, head_dim]``, without the rotation by position.
    """
    whole: Tensor = _inside(attention, family, family.query)(states)
    out = _rows_of(whole, family, shape, "query", axis=2)
    return _normed(attention, family, family.query_norm, out.unflatten(-1, (shape.heads, shape.head_dim)))


def norm_keys(layer: nn.Module, family: Family, keys: Tensor) -> Tensor:
    """``keys [N, kv_heads, head_dim]`` → ``[N, kv_heads, head_dim]`` with the layer's norm, if it has one."""
    attention = layer.get_submodule(family.attention)
    return _normed(attention, family, family.key_norm, keys[:, None]).squeeze(2)


def project_outputs(attention: nn.Module, family: Family, states: Tensor) -> Tensor:
    """The output projection of an attention module, with updates but without bias: ``[…, C]``."""
    return apply_without_bias(_inside(attention, family, family.output), states)


def _inside(attention: nn.Module, family: Family, path: str) -> nn.Module:
    return attention.get_submodule(path.removeprefix(f"{family.attention}."))


def _normed(attention: nn.Module, family: Family, path: str | None, heads: Tensor) -> Tensor:
    """``[B, T, heads, head_dim]`` → ``[B, heads, T, head_dim]``, each head normed where the module has it."""
    heads = heads.transpose(1, 2)
    name = "" if path is None else path.removeprefix(f"{family.attention}.")
    norm: Any = getattr(attention, name, None) if name else None
    return heads if norm is None else norm(heads)


def _rows_of(
    stacked: Tensor, family: Family, shape: DecoderShape, part: Literal["query", "key", "value"], axis: int
) -> Tensor:
    """Queries, keys or values along one axis of what may hold all three."""
    rows = shape.kv_heads * shape.head_dim
    if family.value_rows == "last":
        queries = shape.heads * shape.head_dim
        start, length = {"query": (0, queries), "key": (queries, rows), "value": (queries + rows, rows)}[part]
        return stacked.narrow(axis, start, length)
    if family.value_rows == "per_head":
        third = ("query", "key", "value").index(part)
        each = stacked.unflatten(axis, (shape.heads, 3, shape.head_dim))
        return each.select(axis + 1, third).flatten(axis, axis + 1)
    return stacked


def _is_plain(linear: Any) -> bool:
    """Whether a map's weight is a matrix of floats in memory, not packed and not offloaded."""
    weight: Tensor = linear.weight
    return weight.is_floating_point() and weight.ndim == 2 and not weight.is_meta


def _linear_part(module: Any, states: Tensor) -> Tensor:
    """A map without its bias. A packed or offloaded matrix can only be applied whole: its map of zero is the
    bias."""
    if _is_plain(module):
        return nn.functional.linear(states.to(module.weight), module.weight)
    out: Tensor = module(states)
    return out if module.bias is None else out - module(torch.zeros_like(states))


def apply_without_bias(module: Any, states: Tensor) -> Tensor:
    """A linear layer with all its low-rank updates, but without its bias: ``[…, in]`` → ``[…, out]``."""
    own = below_foreign(module)
    if own is not module:
        return apply_without_bias(own, states) + (module(states) - own(states))
    base = base_linear(module)
    if base.bias is None:
        whole: Tensor = module(states)
        return whole
    if not _is_plain(base):
        difference: Tensor = module(states) - module(torch.zeros_like(states))
        return difference
    out = nn.functional.linear(states, base.weight)
    if isinstance(module, OwnLinear) and not module.disabled and not module.merged:
        out = out + module.update(states)
    return out
