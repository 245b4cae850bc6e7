"""A published difference (Open-Chinese-LLaMA's, for example) + the LLaMA it was taken from → a whole LLaMA.

The difference has every tensor of the model; each is added in float32 and rounded to the base's precision, as
the original script does. Both may be in Meta's or in transformers' layout. A wrong base of the right sizes
gives numbers like any other: what can be checked is said in :func:`plan_delta`.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from imagebind_llm.checkpoints.convert.llama import LlamaWeights, describe, open_llama, writer
from imagebind_llm.checkpoints.convert.plan import OutTensor, Plan
from imagebind_llm.checkpoints.convert.tokenizer import (
    find_tokenizer,
    load_original_tokenizer,
    saved_tokenizer,
)
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.files import sha256
from imagebind_llm.common.tensor_files import on_meta, require_same_shapes

LLAMA_7B = "700df0d3013b703a806d2ae7f1bfb8e59814e3d06ae78be0c66368a50059f33d"
"""SHA-256 of LLaMA-1 7B's ``consolidated.00.pth`` as Meta released it (published by several projects that ask
for it as a base, Chinese-LLaMA-Alpaca among them)."""
_SIZES_7B = (32, 4096, 32, 32, 11008, 32000)
_ALIKE = 0.5
"""Cosine between base and "difference" from which the latter must be a whole model: a difference that
training made is nearly orthogonal to the weights, a model trained further from them nearly parallel."""


def plan_delta(
    delta_folder: Path,
    base_folder: Path,
    tokenizer_file: Path | None = None,
    any_base: bool = False,
    dtype: torch.dtype | None = None,
) -> Plan:
    """The sum of a difference and its base.

    Checked: sizes and vocabulary are equal; the difference is not a whole model; and a base in Meta's layout
    that has LLaMA-7B's sizes is LLaMA-1 7B, by its SHA-256. That a base in transformers' layout, or of other
    sizes, is the right one cannot be told from its numbers.

    Args:
        delta_folder: the difference.
        base_folder: the LLaMA it belongs to.
        tokenizer_file: for a base in Meta's layout, as in ``plan_llama``.
        any_base: do not ask for LLaMA-1 7B.
        dtype: precision of the result, ``None`` for that of the base.

    Raises:
        CheckpointError: as ``plan_llama`` for either; or the two do not belong together.
    """
    base, delta = open_llama(base_folder), open_llama(delta_folder)
    require_same_shapes(
        on_meta({name: tensor.info for name, tensor in base.tensors.items()}),
        on_meta({name: tensor.info for name, tensor in delta.tensors.items()}),
        f"the difference in {str(delta_folder)!r}",
    )
    if len(base.tensors) != len(delta.tensors):
        raise CheckpointError(
            f"{str(delta_folder)!r} has {len(delta.tensors)} tensors and its base {len(base.tensors)}; "
            "use the base that it was made from"
        )
    _check_difference(base, delta)
    if not any_base:
        _check_base(base)
    if base.original:
        tokenizer = load_original_tokenizer(
            find_tokenizer(base_folder, tokenizer_file), base.config.vocab_size
        )
    else:
        tokenizer = saved_tokenizer(base_folder, base.config.vocab_size)
    summed = [_sum(tensor, delta.tensors[name]).cast(dtype) for name, tensor in base.tensors.items()]
    return Plan(
        kind="delta",
        tensors=summed,
        sources=[base.source, delta.source],
        finish=writer(base, tokenizer, dtype),
        dropped=base.dropped | delta.dropped,
        summary=describe(base.config),
    )


def _sum(base: OutTensor, delta: OutTensor) -> OutTensor:
    dtype = base.info.dtype

    def read() -> Tensor:
        total = base.read().float()
        return total.add_(delta.read()).to(dtype) if dtype != torch.float32 else total + delta.read()

    change = ", ".join(filter(None, ("sum of base and difference", base.change)))
    return OutTensor(base.name, base.info, base.origin, read, change)


def _check_difference(base: LlamaWeights, delta: LlamaWeights) -> None:
    name = f"model.layers.{base.config.num_hidden_layers // 2}.mlp.gate_proj.weight"
    own, other = (part.tensors[name].read().float().flatten() for part in (base, delta))
    cosine = float(functional.cosine_similarity(own, other, dim=0))
    base.source.release()
    delta.source.release()
    if cosine > _ALIKE:
        raise CheckpointError(
            f"{str(delta.folder)!r} looks like a whole model, not a difference (cosine {cosine:.2f} to the "
            "base in a middle layer); use it as it is, or give the difference"
        )


def _check_base(base: LlamaWeights, digest: Callable[[Path], str] = sha256) -> None:
    config = base.config
    sizes = (
        config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.num_key_value_heads,
        config.intermediate_size, config.vocab_size,
    )  # fmt: skip
    if not base.original or sizes != _SIZES_7B or len(base.source.files) != 1:
        return
    file = base.source.files[0]
    if digest(file) != LLAMA_7B:
        raise CheckpointError(
            f"{str(file)!r} has the sizes of LLaMA-1 7B but not its SHA-256 ({LLAMA_7B[:12]}…); a difference "
            "on another base gives nonsense: get the original file, or say --any-base if you know better"
        )
