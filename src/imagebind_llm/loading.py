"""Model folders → models ready to answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from imagebind_llm.errors import UserError

if TYPE_CHECKING:
    from imagebind_llm.modeling import ImageBindLLMForConditionalGeneration

_LONG_LOAD_BYTES = 2**30
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device: str | torch.device) -> torch.device:
    """The device called ``device``; ``"auto"`` is the first GPU, else the CPU.

    Raises:
        UserError: this machine has no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA raises the latter
        reason = str(error).partition("\n")[0]
        raise UserError(f"no device {str(device)!r} here ({reason}); use 'auto', 'cpu' or 'cuda:0'") from None
    return chosen


def choose_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """The precision called ``dtype``; ``"auto"`` is float32 on a CPU, bfloat16 (else float16) on a GPU.

    Raises:
        UserError: there is none of that name.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if dtype not in _DTYPES:
        raise UserError(f"unknown dtype {dtype!r}; use auto, {', '.join(_DTYPES)}")
    return _DTYPES[dtype]


@contextmanager
def _progress_bar_if_long(folder: Path) -> Iterator[None]:
    """Keep transformers' progress bar away from loads of a second or less."""
    from transformers.utils import logging

    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if size > _LONG_LOAD_BYTES or not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def load_model(
    folder: Path, device: torch.device, dtype: torch.dtype
) -> "ImageBindLLMForConditionalGeneration":
    """The model in ``folder``, for inference: low-rank updates are folded into the weights.

    Raises:
        CheckpointError: the weights are missing or do not fit.
    """
    from imagebind_llm.modeling import ImageBindLLMForConditionalGeneration

    with _progress_bar_if_long(folder):
        model = ImageBindLLMForConditionalGeneration.from_pretrained(folder, dtype=dtype)
    if model.config.lora is not None:
        from imagebind_llm.adaptation import merge_lora

        merge_lora(model)
    model.to(device)  # type: ignore[arg-type]
    return model.eval()
