"""Low-rank updates of towers of an encoder, by peft."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.encoders.imagebind import ImageBindModel
from imagebind_llm.training.encoders import in_tower

_ADAPTER = "default"


@dataclass(frozen=True)
class TowerLora:
    """Low-rank updates instead of training a whole tower."""

    rank: int = 8
    """Inner width of an update."""
    scale: float = 1.0
    """Factor of the updates."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"lora.rank is {self.rank}; expected at least 1, or lora: null for none")


def add_tower_lora(
    encoder: ImageBindModel, trunks: Collection[str], settings: TowerLora, seed: int
) -> dict[str, nn.Parameter]:
    """Give every linear map of these towers an update that starts at 0; returns the updates by name.

    The fused query-key-value weight of ImageBind's own attention is a bare tensor, not a map, and gets none;
    its output map and the two of each MLP do, and the head.
    """
    from peft import LoraConfig, inject_adapter_in_model

    maps = [
        name
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear) and any(in_tower(name, trunk) for trunk in trunks)
    ]
    alpha: Any = settings.rank * settings.scale  # peft divides by the rank
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=alpha,
        target_modules=maps,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(config, encoder, adapter_name=_ADAPTER)
    return {name: parameter for name, parameter in encoder.named_parameters() if ".lora_" in name}


def merged_encoder(encoder: ImageBindModel) -> ImageBindModel:
    """A plain encoder with the updates folded in; ``encoder`` stays as it is."""
    state = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in encoder.state_dict().items()
        if ".lora_" not in name
    }
    for name, found in encoder.named_modules():
        module: Any = found
        if hasattr(module, "get_delta_weight"):
            state[f"{name}.weight"] = module.base_layer.weight.detach() + module.get_delta_weight(_ADAPTER)
    plain = ImageBindModel(encoder.config)
    plain.load_state_dict({name: tensor.detach().cpu() for name, tensor in state.items()})
    return plain.eval()
