"""Loading a whole model folder for inference, without transformers' general loader.

That loader knows every layout a checkpoint ever had: it compiles about 1,500 patterns before it reads the
first tensor, and low-rank updates need peft, although they are folded a moment later. Here the tensors are
read, the updates are folded, and the result is put into a model whose random values were never drawn. The
check is as strict: exactly the tensors of the model, in its shapes. Whatever does not pass it, or is not of a
kind that is known to lie on disk as it lies in memory, is left to the general loader, which also says what is
wrong.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from imagebind_llm.common.budget import built_from
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.finite import require_finite
from imagebind_llm.model.families import FAMILIES, bare_projections, family_of
from imagebind_llm.model.recorded import require_recorded_if_small
from imagebind_llm.model.unfilled import WithoutRandomValues

if TYPE_CHECKING:
    from imagebind_llm.model.configuration import ImageBindLLMConfig
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

_FILES = ("model.safetensors", "model.safetensors.index.json")
_LANGUAGE_MODEL = "language_model."
_UPDATE = {"down": "lora_A.default.weight", "up": "lora_B.default.weight"}


def load_folded(folder: Path, dtype: torch.dtype) -> "ImageBindLLMForConditionalGeneration | None":
    """The whole model in ``folder`` on the CPU, in evaluation mode, its low-rank updates folded.

    Args:
        folder: a local model folder.
        dtype: precision of all its floating-point tensors.

    Returns:
        What ``from_pretrained`` and ``adaptation.merge_lora`` give, bit for bit; ``None`` if the general
        loader has to do it.

    Raises:
        CheckpointError: the configuration cannot be read, or a weight is no number.
        ConfigError: it has a setting that does not exist.
    """
    from safetensors import SafetensorError

    from imagebind_llm.common.tensor_files import HeldTensors, weights_of
    from imagebind_llm.model.configuration import CONFIG_FILE, read_model_config
    from imagebind_llm.model.folders import complete_whole_model
    from imagebind_llm.model.generation import GENERATION_FILE, load_generation_settings
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

    config = read_model_config(folder)
    if not _known(config) or not any((folder / name).is_file() for name in _FILES):
        return None
    try:
        source = weights_of(folder)
        state = {name: source.get(name) for name in source.infos}
    except (CheckpointError, SafetensorError, OSError):
        return None
    stored = state
    if config.lora is not None:
        folded = _folded(state, config, dtype)
        if folded is None:
            return None
        state, config.lora = folded, None
    config.name_or_path = str(folder)
    for part in (config, config.text_config):
        part.dtype = dtype
    with built_from(folder / CONFIG_FILE, HeldTensors(state).infos), _default_dtype(dtype):
        encoder = _empty_encoder(config)
        with WithoutRandomValues():
            model = ImageBindLLMForConditionalGeneration(config, encoder=encoder)
    if dtype is torch.float16 and (model._keep_in_fp32_modules or model._keep_in_fp32_modules_strict):
        return None
    if not fill(model, state):
        return None
    require_finite(model, str(folder))
    require_recorded_if_small(config, model, stored, str(folder))
    if (folder / GENERATION_FILE).is_file():
        model.generation_config = load_generation_settings(folder)
    complete_whole_model(model, folder)
    return model.eval()


def fill(model: nn.Module, state: Mapping[str, Tensor]) -> bool:
    """Put ``state`` in the place of the model's tensors, which give the number type.

    A tensor that has two names in the model (tied weights) may be stored under either.

    Returns:
        Whether it was done: not if a tensor is missing, left over, or of another shape or kind of number.
    """
    own = model.state_dict(keep_vars=True)
    stored = {id(tensor): name for name, tensor in own.items() if name in state}
    names = {name: name if name in state else stored.get(id(tensor)) for name, tensor in own.items()}
    if None in names.values() or not own.keys() >= state.keys():
        return False
    kept: dict[int, Tensor] = {}
    for name, tensor in own.items():  # tied tensors that are stored twice, with different values
        if name in state and not torch.equal(kept.setdefault(id(tensor), state[name]), state[name]):
            return False
    placed: dict[str, Tensor] = {}
    for name, tensor in own.items():
        found = state[str(names[name])]
        if found.shape != tensor.shape or found.is_floating_point() != tensor.is_floating_point():
            return False
        placed[name] = found.to(tensor.dtype)
    model.load_state_dict(placed, strict=True, assign=True)
    tie: Any = getattr(model, "tie_weights", None)
    if len(stored) < len(own) and tie is not None:
        tie()
    return True


def _known(config: "ImageBindLLMConfig") -> bool:
    """Whether a model of this configuration lies in its files as in memory, and its updates fold whole."""
    text = config.text_config
    encoder = (config.encoder_config or {}).get("type", "imagebind")
    if text.model_type not in FAMILIES or encoder != "imagebind":
        return False
    if any(getattr(part, "quantization_config", None) is not None for part in (config, text)):
        return False
    if config.lora is None:
        return True
    if config.lora["tokens"] != "all":
        return False
    family = family_of(text.model_type)
    bare = bare_projections(family, config.injection["style"], config.bind["tokens"])
    return not set(bare) & set(config.lora["targets"] or family.linears)


def _folded(
    state: dict[str, Tensor], config: "ImageBindLLMConfig", dtype: torch.dtype
) -> dict[str, Tensor] | None:
    """``state`` with its low-rank updates folded as peft folds them; ``None`` if one is not whole."""
    assert config.lora is not None
    family = family_of(config.text_config.model_type)
    left = dict(state)
    scale = config.lora["rank"] * config.lora["scale"] / config.lora["rank"]  # rounded as peft rounds it
    for index in range(config.text_config.num_hidden_layers):
        for target in config.lora["targets"] or family.linears:
            name = f"{_LANGUAGE_MODEL}{family.layers}.{index}.{target}"
            base = left.pop(f"{name}.base_layer.weight", None)
            down, up = (left.pop(f"{name}.{half}", None) for half in _UPDATE.values())
            if base is None or down is None or up is None:
                return None
            if down.shape != (config.lora["rank"], base.shape[1]) or up.shape != (base.shape[0], len(down)):
                return None
            # halves in the model's precision, their product in float32, as peft has it on a CPU
            product = (up.to(dtype).float() @ down.to(dtype).float()) * scale
            left[f"{name}.weight"] = base.to(dtype, copy=True).add_(product.to(dtype))
            bias = left.pop(f"{name}.base_layer.bias", None)
            if bias is not None:
                left[f"{name}.bias"] = bias
    return left


def _empty_encoder(config: "ImageBindLLMConfig") -> nn.Module | None:
    """The encoder on the meta device."""
    if config.encoder_config is None:
        return None
    from imagebind_llm.encoders.imagebind.config import ImageBindConfig
    from imagebind_llm.encoders.imagebind.weights import skeleton

    values = {name: value for name, value in config.encoder_config.items() if name != "type"}
    return skeleton(ImageBindConfig.from_dict(values))


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
