"""What an adapter file gives away about the language model it was trained on."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from imagebind_llm.checkpoints.convert.llama import LlamaWeights
from imagebind_llm.common.errors import CheckpointError

_PREFIX = "language_model."
_SIZES_7B = (32, 4096, 32, 32, 11008)
_VOCABULARY_7B = 32000
"""The original program refuses any other (it is LLaMA-1's, and Open-Chinese-LLaMA's)."""
_ROUNDING = 1e-2
"""Relative difference that two roundings to bfloat16 can make."""


def check_norms(base: LlamaWeights, adapter: Mapping[str, Tensor], path: Path, exact: bool) -> float:
    """Compare the norms in an adapter with the base's own.

    Args:
        base: the language model.
        adapter: tensors under our names.
        path: of the adapter, for the message.
        exact: whether they must be equal but for rounding: the first stage does not train them, so its file
            holds copies.

    Returns:
        The relative distance of all norms together, ``|adapter - base| / |base|``.

    Raises:
        CheckpointError: they differ and ``exact`` is set.
    """
    apart = total = 0.0
    worst = ("", 0.0)
    for name, tensor in base.tensors.items():
        mine = adapter.get(_PREFIX + name)
        if mine is None or not name.endswith("norm.weight"):
            continue
        theirs = tensor.read().double()
        gap = float(torch.linalg.vector_norm(mine.double() - theirs))
        size = float(torch.linalg.vector_norm(theirs))
        apart, total = apart + gap**2, total + size**2
        if gap > worst[1] * max(size, 1e-12):
            worst = (name, gap / max(size, 1e-12))
    base.source.release()
    if exact and worst[1] > _ROUNDING:
        raise CheckpointError(
            f"{str(path)!r} was trained on another base: it holds a copy of that one's norms, and "
            f"{worst[0]} differs by {worst[1]:.0%} from the one in {str(base.folder)!r}; use the base it was "
            "trained with, or say --any-base if you know better"
        )
    return round((apart / total) ** 0.5, 6) if total else 0.0


def check_vocabulary(base: LlamaWeights, path: Path) -> None:
    """Of LLaMA-7B's sizes only models with its vocabulary were ever used.

    Raises:
        CheckpointError: the base has another one.
    """
    config = base.config
    sizes = (
        config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.num_key_value_heads,
        config.intermediate_size,
    )  # fmt: skip
    if sizes == _SIZES_7B and config.vocab_size != _VOCABULARY_7B:
        raise CheckpointError(
            f"{str(path)!r} was trained on a language model with a vocabulary of {_VOCABULARY_7B}, but "
            f"{str(base.folder)!r} has {config.vocab_size}; use the base it was trained with, or say "
            "--any-base if you know better"
        )
