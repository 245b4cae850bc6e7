"""The published ImageBind-LLM adapter files ↔ our model's state dict.

Such a file holds what training changed: the bind network (``image_bind_*``), one query per injected layer
(``prefix_query``), and of the language model gates, norms and, after finetuning, biases and low-rank updates.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from imagebind_llm.checkpoints.keys import KeyRule, to_ours, to_theirs
from imagebind_llm.checkpoints.llama import FINAL_NORM, LAYER_MAPS, LAYER_NORMS, rotary_rule
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.tensor_files import require_same_keys
from imagebind_llm.model.adaptation import TRAINED_LORA
from imagebind_llm.model.families import DecoderShape

BIASED_MAPS = ("attention.wq", "attention.wo", "feed_forward.w1", "feed_forward.w2", "feed_forward.w3")
_OLD_PREFIX = re.compile(r"^llma\.")
_DROPPED_PREFIX = "prefix_projector_norm."
"""In some older files; never used by the model."""
_WHAT = "the ImageBind-LLM adapter"


@dataclass(frozen=True)
class AdapterLayout:
    """What an adapter file contains, read off its keys and shapes."""

    embedding_dim: int
    depth: int
    legacy: bool
    hidden: int
    query_layers: int
    lora_rank: int | None
    biases: bool

    @property
    def stage(self) -> str:
        """Files of the first stage have neither low-rank updates nor biases."""
        return "finetune" if self.lora_rank is not None else "pretrain"

    def settings(self) -> dict[str, Any]:
        """Arguments for :class:`imagebind_llm.model.configuration.ImageBindLLMConfig` (without ``text_config``)."""
        return {
            "embedding_dim": self.embedding_dim,
            "bind": {
                "depth": self.depth,
                "norm": "layer" if self.legacy else "rms",
                "hidden": self.hidden,
            },
            "injection": {"style": "value", "layers": self.query_layers, "query": True},
            "lora": None if self.lora_rank is None else {"rank": self.lora_rank, "scale": 1.0},
            "bias_targets": [LAYER_MAPS[name] for name in BIASED_MAPS] if self.biases else None,
            "norm_tuned": True,
            "stage": self.stage,
        }


def normalise_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under today's keys: an old misspelling mended, tensors that were never used dropped."""
    return {
        _OLD_PREFIX.sub("llama.", key): tensor
        for key, tensor in state.items()
        if not key.startswith(_DROPPED_PREFIX)
    }


def adapter_layout(state: Mapping[str, Tensor]) -> AdapterLayout:
    """Read the layout of an adapter file.

    Raises:
        CheckpointError: the tensors that tell it are missing, or have fewer axes.
    """
    try:
        lora = state.get("llama.layers.0.attention.lora_wq_l1.weight")
        return AdapterLayout(
            embedding_dim=state["image_bind_proj.weight"].shape[1],
            depth=sum(re.fullmatch(r"image_bind_f1_\d+\.weight", key) is not None for key in state),
            legacy="image_bind_norm_1.bias" in state,
            hidden=state["image_bind_f1_1.weight"].shape[0],
            query_layers=state["prefix_query.weight"].shape[0],
            lora_rank=None if lora is None else lora.shape[0],
            biases="llama.layers.0.attention.wq.bias" in state,
        )
    except KeyError as error:
        raise CheckpointError(f"{_WHAT} has no tensor {error}; is it an ImageBind-LLM checkpoint?") from None
    except IndexError:
        raise CheckpointError(
            f"{_WHAT} has vectors where matrices are expected; get the file again"
        ) from None


def adapter_from_original(state: Mapping[str, Tensor], shape: DecoderShape) -> dict[str, Tensor]:
    """The adapter's tensors under our model's names.

    Gates of layers without a query (the reference gives every layer one) have no effect and are left out.

    Args:
        state: the content of the file (after :func:`normalise_keys`).
        shape: sizes of the language model it was made for.

    Raises:
        CheckpointError: a key is missing or unexpected.
    """
    layout = adapter_layout(state)
    gates = gate_keys(shape.layers)
    rules = adapter_rules(layout, shape)
    require_same_keys([*(rule.theirs for rule in rules), *gates], state, _WHAT)
    ours = to_ours(rules, {key: tensor for key, tensor in state.items() if key not in gates}, _WHAT)
    used = gates[shape.layers - layout.query_layers :]
    ours["injection.gate"] = torch.stack([state[key].reshape(shape.heads) for key in used])
    return ours


def adapter_to_original(
    state: Mapping[str, Tensor], layout: AdapterLayout, shape: DecoderShape
) -> dict[str, Tensor]:
    """The inverse of :func:`adapter_from_original`; gates of layers without a query become 0."""
    rest = {key: tensor for key, tensor in state.items() if key != "injection.gate"}
    theirs = to_theirs(adapter_rules(layout, shape), rest, "the model")
    gate = state["injection.gate"]
    unused = gate.new_zeros(shape.layers - layout.query_layers, shape.heads)
    for key, row in zip(gate_keys(shape.layers), torch.cat((unused, gate)), strict=True):
        theirs[key] = row.reshape(1, shape.heads, 1, 1)
    return theirs


def adapter_rules(layout: AdapterLayout, shape: DecoderShape) -> list[KeyRule]:
    """The rules for all tensors of an adapter but its gates."""
    rules = [
        *_bind_rules(layout),
        KeyRule("prefix_query.weight", "injection.query"),
        KeyRule(f"llama.{FINAL_NORM[0]}", f"language_model.{FINAL_NORM[1]}"),
    ]
    for layer in range(shape.layers):
        there, here = f"llama.layers.{layer}", f"language_model.model.layers.{layer}"
        rules += [KeyRule(f"{there}.{a}.weight", f"{here}.{b}.weight") for a, b in LAYER_NORMS.items()]
        for name, ours in LAYER_MAPS.items():
            group, _, leaf = name.rpartition(".")
            if layout.lora_rank is not None:
                first, second = (f"{there}.{group}.lora_{leaf}_l{half}.weight" for half in (1, 2))
                rules.append(KeyRule(first, f"{here}.{ours}.{TRAINED_LORA['down']}"))
                rules.append(rotary_rule(second, f"{here}.{ours}.{TRAINED_LORA['up']}", name, shape))
            if layout.biases and name in BIASED_MAPS:
                inner = "base_layer.bias" if layout.lora_rank is not None else "bias"
                rules.append(rotary_rule(f"{there}.{name}.bias", f"{here}.{ours}.{inner}", name, shape))
    return rules


def _bind_rules(layout: AdapterLayout) -> list[KeyRule]:
    leaves = ("weight", "bias") if layout.legacy else ("weight",)
    rules = [KeyRule(f"image_bind_proj.{leaf}", f"bind.project.{leaf}") for leaf in ("weight", "bias")]
    for block in range(layout.depth):
        for part in ("norm", "f1", "f2", "f3"):
            rules += [
                KeyRule(f"image_bind_{part}_{block + 1}.{leaf}", f"bind.blocks.{block}.{part}.{leaf}")
                for leaf in leaves
            ]
    return rules


def gate_keys(layers: int) -> list[str]:
    """The keys of all gates, first layer to last."""
    return [f"llama.layers.{layer}.attention.gate" for layer in range(layers)]
