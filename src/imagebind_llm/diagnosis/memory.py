"""Memory a model needs, and where it could run on this machine."""

from typing import Any

from imagebind_llm.model.families import DecoderShape

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_PACKED = {"int8": 1.0, "4bit": 0.56}
"""Bytes a value of the decoder's linear maps; 4-bit values carry a scale for every 64 of them."""
_WORK = 1.15
"""Room for activations and the library's own buffers beside the weights."""
_KEPT = 2
"""Bytes a value of all that is not packed when the decoder's maps are."""


def memory_needed(counts: dict[str, int], maps: int, text_config: Any, tokens: int) -> dict[str, int]:
    """Bytes by precision: weights, working room, and keys and values of one dialog.

    Args:
        counts: parameters by part, with ``total``.
        maps: parameters in the linear maps of the decoder layers, which are what packing packs.
        text_config: of the language model.
        tokens: length of the dialog.
    """
    shape = DecoderShape.of(text_config)
    values = 2 * shape.layers * shape.kv_heads * shape.head_dim * tokens
    needed = {name: int(_WORK * size * counts["total"]) + size * values for name, size in _BYTES.items()}
    for name, size in _PACKED.items():
        weights = size * maps + _KEPT * (counts["total"] - maps)
        needed[name] = int(_WORK * weights) + _KEPT * values
    return needed


def linear_map_parameters(language_model: Any) -> int:
    """Parameters in the decoder layers' matrices."""
    from imagebind_llm.model.families import decoder_layers

    return sum(
        parameter.numel()
        for layer in decoder_layers(language_model)
        for parameter in layer.parameters()
        if parameter.ndim == 2
    )


def devices() -> dict[str, int]:
    """Free bytes of main memory (``cpu``) and of each GPU (``cuda:0`` …)."""
    from accelerate.utils import get_max_memory

    free = {device: size for device, size in get_max_memory().items() if device != "disk"}
    named = {
        f"cuda:{device}" if isinstance(device, int) else str(device): size for device, size in free.items()
    }
    return {device: int(size) for device, size in named.items()}


def device_plan(needed: dict[str, int], free: dict[str, int]) -> str:
    """The best of what fits, as options of the commands; GPUs before the CPU, precision before speed."""
    for device, room in free.items():
        order = ("float32", "bfloat16", "int8") if device == "cpu" else ("bfloat16", "int8", "4bit")
        for precision in order:
            if needed[precision] <= room:
                packed = precision in _PACKED
                option = f"--quantize {precision}" if packed else f"--dtype {precision}"
                return f"--device {device} {option}"
    if needed["bfloat16"] <= sum(free.values()):
        return "--dtype bfloat16 --device-map auto"
    return "--dtype bfloat16 --device-map auto --offload-dir FOLDER (it does not fit into memory; slow)"
