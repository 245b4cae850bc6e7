"""Fewer bits for the language model's weights, through the libraries transformers supports.

Only the linear maps of the decoder layers are quantised. Encoder, bind network, injection, low-rank updates,
embeddings, norms and the output map keep their precision: they are small, or what training changed.
"""

from collections.abc import Iterable
from typing import Any

import torch

from imagebind_llm.common.errors import UserError, require

KINDS = {
    "int8": "weights and activations in 8 bits (torchao), the latter scaled token by token; CPU and GPU",
    "int8-weights": "weights in 8 bits (torchao), arithmetic in the model's precision; CPU and GPU",
    "8bit": "weights in 8 bits with outliers apart (bitsandbytes LLM.int8); GPU",
    "4bit": "weights in 4 bits (bitsandbytes NF4, scales quantised too); GPU, slow on a CPU",
}
"""Name → what it does."""

_EXTRA = "quant"
_KEPT = ("encoder", "bind", "injection", "lm_head", "embed_out", "lora_A", "lora_B")
"""Modules that are never quantised (``embed_out``: the output map of GPT-NeoX)."""


def check_kind(kind: str) -> None:
    """Refuse unknown kinds before anything heavy is imported.

    Raises:
        UserError: there is none of that name.
    """
    if kind not in KINDS:
        raise UserError(f"unknown quantization {kind!r}; use one of {', '.join(KINDS)}")


def quantization_config(kind: str, dtype: torch.dtype, kept: Iterable[str] = ()) -> Any:
    """What ``from_pretrained`` takes as ``quantization_config``.

    Args:
        kind: one of ``KINDS``.
        dtype: precision of the arithmetic.
        kept: further names of modules that keep their precision.

    Raises:
        UserError: an unknown kind.
        MissingExtraError: its library is not installed.
    """
    check_kind(kind)
    skipped = [*_KEPT, *kept]
    if kind in ("int8", "int8-weights"):
        library = require("torchao.quantization", _EXTRA, f"quantization {kind!r}")
        from transformers import TorchAoConfig

        if kind == "int8":
            chosen = library.Int8DynamicActivationInt8WeightConfig()
        else:
            chosen = library.Int8WeightOnlyConfig()
        return TorchAoConfig(chosen, modules_to_not_convert=skipped)
    require("bitsandbytes", _EXTRA, f"quantization {kind!r}")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_8bit=kind == "8bit",
        load_in_4bit=kind == "4bit",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=skipped,
    )


def wraps_badly(kind: str) -> bool:
    """Whether low-rank updates that were there before quantising give wrong results with this kind.

    bitsandbytes' layers need updates made for them, which peft installs only on a language model that is
    quantised already; torchao's keep being linear maps.
    """
    return kind in ("8bit", "4bit")
