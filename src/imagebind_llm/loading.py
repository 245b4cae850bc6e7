"""Model folders → models ready to answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from imagebind_llm.common.errors import UserError, reason_of
from imagebind_llm.placement import Placement, device_map_of, whole_map

if TYPE_CHECKING:
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

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
        reason = reason_of(error)
        if "Expected one of" in reason:  # torch lists every kind there ever was
            reason = "torch knows no such kind"
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


def load_model(
    folder: Path, device: torch.device, dtype: torch.dtype, placement: Placement | None = None
) -> "ImageBindLLMForConditionalGeneration":
    """The model in ``folder``, for inference. Low-rank updates are folded into the weights where these are
    plain matrices in memory.

    Args:
        folder: a whole model or an adapter.
        device: of all parts that ``placement`` puts nowhere else.
        dtype: precision.
        placement: several devices, fewer bits.

    Raises:
        CheckpointError: the weights are missing or do not fit.
        UserError: a placement that this model cannot have.
    """
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

    if placement is None:
        placement = Placement()
    encoder_device = device if placement.encoder_device is None else choose_device(placement.encoder_device)
    arguments = _arguments(folder, device, encoder_device, dtype, placement)
    model = ImageBindLLMForConditionalGeneration.from_pretrained(folder, dtype=dtype, **arguments)
    plain = not arguments
    if plain and model.config.lora is not None:
        from imagebind_llm.model.adaptation import merge_lora

        merge_lora(model)
    if plain:
        model.to(device)  # type: ignore[arg-type]
    for part in (model.encoder, model.bind, model.injection):
        if part is not None:
            part.to(encoder_device if part is model.encoder else device)
    return model.eval()


def _arguments(
    folder: Path,
    device: torch.device,
    encoder_device: torch.device,
    dtype: torch.dtype,
    placement: Placement,
) -> dict[str, Any]:
    """What ``from_pretrained`` gets beside the precision: nothing if all is plain and on one device."""
    if not placement.spread and placement.quantization is None:
        return {}
    from imagebind_llm.common.locate import ADAPTER_FILE
    from imagebind_llm.model.configuration import read_model_config

    config = read_model_config(folder)
    adapter = (folder / ADAPTER_FILE).is_file()
    found: dict[str, Any] = {}
    if placement.quantization is not None:
        found["quantization_config"] = _quantization(config, placement.quantization, dtype, adapter)
    if placement.spread:
        layers = device_map_of(config.text_config, placement, device, dtype)
        found["device_map"] = layers if adapter else whole_map(layers, device, encoder_device)
        if placement.offload_folder is not None:
            found["offload_folder"] = str(placement.offload_folder)
    else:  # quantised where it will stay; the encoder moves afterwards
        found["device_map"] = {"": str(device)}
    return found


def _quantization(config: Any, kind: str, dtype: torch.dtype, adapter: bool) -> Any:
    from imagebind_llm.model.families import family_of
    from imagebind_llm.quantization import quantization_config, wraps_badly

    if wraps_badly(kind) and config.lora is not None and not adapter:
        raise UserError(
            f"quantization {kind!r} does not work on a whole model with low-rank updates; fold them in first "
            "(imagebind-llm export), or save the model as an adapter, or use int8"
        )
    kept = []
    if config.injection["style"] == "value":  # the injection computes with these maps, once per medium
        family = family_of(config.text_config.model_type)
        kept = [family.value, family.output]
    return quantization_config(kind, dtype, kept)
