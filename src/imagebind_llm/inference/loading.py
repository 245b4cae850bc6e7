"""Model folders → models ready to answer: device, precision, placement, quantization.

Encoder, bind network and injection always lie whole on one device. Only the language model may be spread,
layer by layer, over what ``max_memory`` allows: GPUs first, then main memory, then a folder on disk from
which each layer is read when it is its turn (accelerate does that). Only the linear layers of the decoder are
quantised. Encoder, bind network, injection, low-rank updates, embeddings, norms and the output projection
keep their precision: they are small, or what training changed.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from imagebind_llm.common.errors import UserError, reason_of, require

if TYPE_CHECKING:
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration


KINDS = {
    "int8": "weights and activations in 8 bits (torchao), the latter scaled token by token; CPU and GPU",
    "int8-weights": "weights in 8 bits (torchao), arithmetic in the model's precision; CPU and GPU",
    "8bit": "weights in 8 bits with outliers apart (bitsandbytes LLM.int8); GPU",
    "4bit": "weights in 4 bits (bitsandbytes NF4, scales quantised too); GPU, slow on a CPU",
}
"""Name → what it does."""

_EXTRA = "quant"
_KEPT = ("encoder", "bind", "injection", "lm_head", "embed_out", "lora_A", "lora_B")
"""Modules that are never quantised (``embed_out``: the output projection of GPT-NeoX)."""


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

    bitsandbytes replaces linear layers as a whole, with their updates, so these can only be added to a
    language model that is quantised already; torchao keeps the layers.
    """
    return kind in ("8bit", "4bit")


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
        quantization: see :data:`imagebind_llm.inference.loading.KINDS`.
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
    """``placed`` with the token embedding, and an output projection tied to it, taken off the disk."""
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


_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
WIDE = 512
"""Hidden size from which a language model is faster in bfloat16 on a CPU that has it: the narrowest measured
(1.3 times at batch 1, 1.9 times at 32)."""
_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16")


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


def choose_dtype(dtype: str | torch.dtype, device: torch.device, width: int | None = None) -> torch.dtype:
    """The precision called ``dtype``; ``"auto"`` is what :func:`automatic_dtype` says of this machine.

    Args:
        dtype: ``"auto"``, ``"float32"``, ``"bfloat16"``, ``"float16"``, or torch's.
        device: where the weights will be.
        width: hidden size, for a language model; ``None`` for anything else.

    Raises:
        UserError: there is none of that name.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        return automatic_dtype(device.type, has_fast_bfloat16(device), width)
    if dtype not in _DTYPES:
        raise UserError(f"unknown dtype {dtype!r}; use auto, {', '.join(_DTYPES)}")
    return _DTYPES[dtype]


def automatic_dtype(device: str, fast_bfloat16: bool, width: int | None) -> torch.dtype:
    """The precision of weights that nobody chose one for.

    On a GPU bfloat16, else float16. On a CPU float32, but bfloat16 for a language model of at least
    :data:`WIDE` on a CPU that computes with bfloat16: narrow models spend their time elsewhere and would only
    lose accuracy, and encoders stay in float32 because their embeddings are compared with stored ones.

    Args:
        device: kind of device: ``"cpu"``, ``"cuda"`` …
        fast_bfloat16: whether it has instructions for bfloat16.
        width: hidden size of a language model, ``None`` for anything else.
    """
    if device == "cuda":
        return torch.bfloat16 if fast_bfloat16 else torch.float16
    wide = width is not None and width >= WIDE
    return torch.bfloat16 if device == "cpu" and fast_bfloat16 and wide else torch.float32


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether a GPU, or this machine's CPU (AVX-512 BF16, AMX), multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    known = getattr(torch.cpu, "get_capabilities", None)  # torch 2.12 and later
    if known is not None:
        found: Mapping[str, Any] = known()
        return any(bool(found.get(name)) for name in _BFLOAT16_FLAGS)
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return not flags.isdisjoint(_BFLOAT16_FLAGS)


def load_model(
    folder: Path, device: torch.device, dtype: str | torch.dtype, placement: Placement | None = None
) -> "ImageBindLLMForConditionalGeneration":
    """The model in ``folder``, for inference. Low-rank updates are folded into the weights where these are
    plain matrices in memory.

    Args:
        folder: a whole model or an adapter.
        device: of all parts that ``placement`` puts nowhere else.
        dtype: precision. With ``"auto"`` the language model may have another than the rest
            (:func:`automatic_dtype`).
        placement: several devices, fewer bits.

    Raises:
        CheckpointError: the weights are missing or do not fit.
        UserError: a placement that this model cannot have.
    """
    from imagebind_llm.common.locate import ADAPTER_FILE
    from imagebind_llm.model.direct import load_folded
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
    from imagebind_llm.model.precision import cast_weights

    if placement is None:
        placement = Placement()
    encoder_device = device if placement.encoder_device is None else choose_device(placement.encoder_device)
    automatic, dtype = dtype == "auto", choose_dtype(dtype, device)
    arguments = _arguments(folder, device, encoder_device, dtype, placement)
    plain = not arguments
    model = load_folded(folder, dtype) if plain and not (folder / ADAPTER_FILE).is_file() else None
    if model is None:
        model = ImageBindLLMForConditionalGeneration.from_pretrained(folder, dtype=dtype, **arguments)
    if plain and model.config.lora is not None:
        from imagebind_llm.model.adaptation import merge_lora

        merge_lora(model)
    if plain:
        language_dtype = choose_dtype("auto", device, model.config.text_config.hidden_size)
        if automatic and language_dtype is not dtype:  # after folding, which rounds only once then
            cast_weights(model.language_model, language_dtype)
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
    from imagebind_llm.model.families import bare_projections, family_of

    if wraps_badly(kind) and config.lora is not None and not adapter:
        fold = "fold them in first (imagebind-llm export), or " if config.lora["tokens"] == "all" else ""
        raise UserError(
            f"quantization {kind!r} does not work on a whole model with low-rank updates; {fold}save the "
            "model as an adapter, or use int8"
        )
    kept = []
    if config.injection["style"] == "value":  # the injection computes with these maps, once per medium
        family = family_of(config.text_config.model_type)
        bare = bare_projections(family, "value", config.bind["tokens"])
        kept = [*bare, family.output]
    return quantization_config(kind, dtype, kept)
