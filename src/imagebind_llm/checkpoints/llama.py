"""Meta's original LLaMA layout ↔ transformers' ``LlamaForCausalLM``."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from imagebind_llm.checkpoints.keys import KeyRule, to_ours, to_theirs
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.model.families import DecoderShape

if TYPE_CHECKING:
    from transformers import LlamaConfig

LAYER_MAPS = {
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
}
"""Linear maps of a layer, their name → ours."""
LAYER_NORMS = {"attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
FINAL_NORM = ("norm.weight", "model.norm.weight")
_IGNORED = "rope"
"""Part of the keys of rotary frequency buffers, which are computed."""


def rows_to_halves(tensor: Tensor, heads: int) -> Tensor:
    """Reorder the output rows of a query or key projection from neighbouring pairs to halves.

    The original rotates rows ``(2i, 2i + 1)`` of each head, transformers ``(i, i + head_dim / 2)``. The
    same holds for all that is added to that output: biases and the second half of a low-rank update.

    Args:
        tensor: ``[heads * head_dim, …]``.
        heads: number of heads in the rows.
    """
    pairs = tensor.unflatten(0, (heads, tensor.shape[0] // heads // 2, 2))
    return pairs.transpose(1, 2).flatten(0, 2)


def rows_to_pairs(tensor: Tensor, heads: int) -> Tensor:
    """The inverse of :func:`rows_to_halves`."""
    halves = tensor.unflatten(0, (heads, 2, tensor.shape[0] // heads // 2))
    return halves.transpose(1, 2).flatten(0, 2)


def rotary_rule(theirs: str, ours: str, name: str, shape: DecoderShape) -> KeyRule:
    """The rule for an output-side tensor of the map called ``name`` there; queries and keys are reordered."""
    heads = {"attention.wq": shape.heads, "attention.wk": shape.kv_heads}.get(name)
    if heads is None:
        return KeyRule(theirs, ours)
    return KeyRule(theirs, ours, partial(rows_to_halves, heads=heads), partial(rows_to_pairs, heads=heads))


def llama_rules(shape: DecoderShape) -> list[KeyRule]:
    """The rules for a whole language model."""
    rules = [
        KeyRule("tok_embeddings.weight", "model.embed_tokens.weight"),
        KeyRule(*FINAL_NORM),
        KeyRule("output.weight", "lm_head.weight"),
    ]
    for layer in range(shape.layers):
        for theirs, ours in LAYER_MAPS.items():
            rules.append(
                rotary_rule(
                    f"layers.{layer}.{theirs}.weight", f"model.layers.{layer}.{ours}.weight", theirs, shape
                )
            )
        rules += [
            KeyRule(f"layers.{layer}.{theirs}.weight", f"model.layers.{layer}.{ours}.weight")
            for theirs, ours in LAYER_NORMS.items()
        ]
    return rules


def llama_from_original(state: Mapping[str, Tensor], shape: DecoderShape) -> dict[str, Tensor]:
    """Meta's tensors as transformers' state dict. Keys of rotary buffers are ignored.

    Raises:
        CheckpointError: a key is missing or unexpected.
    """
    kept = {key: tensor for key, tensor in state.items() if _IGNORED not in key}
    return to_ours(llama_rules(shape), kept, "the LLaMA checkpoint")


def llama_to_original(state: Mapping[str, Tensor], shape: DecoderShape) -> dict[str, Tensor]:
    """The inverse of :func:`llama_from_original`."""
    return to_theirs(llama_rules(shape), state, "the language model")


def llama_config(
    params: Mapping[str, Any], state: Mapping[str, Tensor], max_positions: int = 2048
) -> "LlamaConfig":
    """The transformers configuration of an original checkpoint.

    Args:
        params: content of its ``params.json``; ``vocab_size`` -1 there means "see the tokenizer".
        state: its tensors (on any device), for the sizes that ``params.json`` does not hold.
        max_positions: context the model was trained for.

    Raises:
        CheckpointError: ``params`` and ``state`` do not belong together.
    """
    from transformers import LlamaConfig

    try:
        vocabulary, width = state["tok_embeddings.weight"].shape
        hidden = state["layers.0.feed_forward.w1.weight"].shape[0]
    except KeyError as error:
        raise CheckpointError(
            f"the LLaMA checkpoint has no {error}; is it an original 'consolidated' file?"
        ) from None
    if width != params["dim"]:
        raise CheckpointError(
            f"the LLaMA checkpoint is {width} wide, params.json says {params['dim']}; use the pair that "
            f"belongs"
        )
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=params["n_layers"],
        num_attention_heads=params["n_heads"],
        num_key_value_heads=params.get("n_kv_heads") or params["n_heads"],
        rms_norm_eps=params["norm_eps"],
        max_position_embeddings=max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": float(params.get("rope_theta", 10000.0))},
        tie_word_embeddings=False,
    )
