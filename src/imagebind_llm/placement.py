"""Which part of a model lies where: encoder and language model on different devices, the latter over several.

Encoder, bind network and injection always lie whole on one device. Only the language model is spread, layer
by layer, over what ``max_memory`` allows: GPUs first, then main memory, then a folder on disk from which
each layer is read when it is its turn (accelerate does that).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from imagebind_llm.common.errors import UserError

PREFIX = "language_model"
_SIZE = re.compile(r"\d+(\.\d+)?\s*([KMGT]i?B)", re.IGNORECASE)
DeviceMap = dict[str, str | int]
"""Module name → device: ``"cpu"``, ``"disk"``, or the number of a GPU."""


@dataclass(frozen=True)
class Placement:
    """How to place a model.

    Attributes:
        device_map: ``None`` all on one device; ``"auto"`` the language model spread as ``max_memory`` allows;
            or devices by module name inside the language model.
        max_memory: most memory by device (GPU number, ``"cpu"``), such as ``{0: "8GiB", "cpu": "6GiB"}``;
            by default what is free.
        encoder_device: another device for the encoder.
        quantization: see :data:`imagebind_llm.quantization.KINDS`.
        offload_folder: where layers that fit nowhere are written.
    """

    device_map: str | Mapping[str, Any] | None = None
    max_memory: Mapping[Any, Any] | None = None
    encoder_device: str | torch.device | None = None
    quantization: str | None = None
    offload_folder: Path | None = None

    def __post_init__(self) -> None:
        if isinstance(self.device_map, str) and self.device_map != "auto":
            raise UserError(
                f"device map {self.device_map!r}; expected auto, or a mapping of modules to devices"
            )
        if self.max_memory is not None and self.device_map is None:
            raise UserError("memory limits need a device map; add device_map='auto' (--device-map)")
        if self.offload_folder is not None and self.offload_folder.is_file():
            raise UserError(f"{str(self.offload_folder)!r} is a file; name a folder to offload to")
        if self.quantization is not None:
            from imagebind_llm.quantization import check_kind

            check_kind(self.quantization)
            if self.spread and not torch.cuda.is_available():
                raise UserError(
                    "fewer bits and a device map together need a GPU to quantise on; leave out one of them"
                )

    @property
    def spread(self) -> bool:
        """Whether the language model may lie on several devices."""
        return self.device_map is not None


def read_memory(text: str) -> dict[Any, str]:
    """``"0=8GiB,cpu=6GiB"`` → ``{0: "8GiB", "cpu": "6GiB"}``.

    Raises:
        UserError: not of that form.
    """
    found: dict[Any, str] = {}
    for part in text.split(","):
        device, _, size = (piece.strip() for piece in part.partition("="))
        if not (device == "cpu" or device.isdecimal()) or not _SIZE.fullmatch(size):
            raise UserError(f"memory {text!r}; expected for example 0=8GiB,cpu=6GiB")
        found[int(device) if device.isdecimal() else device] = size
    return found


def device_map_of(
    text_config: Any, placement: Placement, main: torch.device, dtype: torch.dtype
) -> DeviceMap:
    """Where each part of a language model of this configuration goes, names relative to it.

    The token embedding stays in memory in any case: it is small, and a model is where its embedding is.

    Raises:
        UserError: it fits nowhere and there is no folder to offload to.
    """
    from accelerate import infer_auto_device_map, init_empty_weights
    from accelerate.utils import get_max_memory
    from transformers import AutoModelForCausalLM

    with init_empty_weights():
        bare = AutoModelForCausalLM.from_config(text_config)
    if isinstance(placement.device_map, Mapping):
        return _with_embedding(dict(placement.device_map), bare, main)
    bare.tie_weights()
    limits = get_max_memory(dict(placement.max_memory) if placement.max_memory is not None else None)
    if main.type == "cpu":
        limits = {"cpu": limits["cpu"]}
    stored = {"int8": torch.int8, "int8-weights": torch.int8, "8bit": torch.int8, "4bit": torch.int8}
    weights = stored.get(placement.quantization or "", dtype)
    found: DeviceMap = infer_auto_device_map(
        bare,
        max_memory=limits,
        no_split_module_classes=list(bare._no_split_modules or ()),
        dtype=weights,
    )
    if "disk" in found.values() and placement.offload_folder is None:
        raise UserError(
            "the language model does not fit into the memory given; name a folder to offload to "
            "(offload_folder, --offload-dir), or allow more memory"
        )
    return _with_embedding(found, bare, main)


def _with_embedding(placed: DeviceMap, bare: Any, main: torch.device) -> DeviceMap:
    """``placed`` with the token embedding, and an output map that shares its weights, taken off the disk."""
    kept = [bare.get_input_embeddings()]
    if getattr(bare.config, "tie_word_embeddings", False):
        kept.append(bare.get_output_embeddings())
    found = dict(placed)
    for path, module in bare.named_modules():
        if not any(module is one for one in kept):
            continue
        holder = next((name for name in _above(path) if name in found), None)
        if holder is None or found[holder] != "disk":
            continue
        del found[holder]
        while holder != path:  # what lay beside it stays on disk, under names of its own
            step = path.removeprefix(holder).lstrip(".").partition(".")[0]
            below = f"{holder}." if holder else ""
            children = [name for name, _ in bare.get_submodule(holder).named_children()]
            found |= {f"{below}{name}": "disk" for name in children if name != step}
            holder = f"{below}{step}"
        found[path] = _named(main)
    return found


def _above(path: str) -> list[str]:
    """``a.b.c`` → itself and what holds it: ``a.b.c``, ``a.b``, ``a`` and the whole, ``""``."""
    parts = path.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), -1, -1)]


def whole_map(language_map: DeviceMap, main: torch.device, encoder: torch.device) -> DeviceMap:
    """The map of a whole model from that of its language model."""
    small: DeviceMap = {"encoder": _named(encoder), "bind": _named(main), "injection": _named(main)}
    return {**small, **{f"{PREFIX}.{name}" if name else PREFIX: to for name, to in language_map.items()}}


def _named(device: torch.device) -> str | int:
    if device.type == "cuda":
        return device.index or 0
    return str(device)
