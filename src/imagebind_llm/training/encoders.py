"""The encoder's towers as things to train one at a time."""

from collections.abc import Collection
from typing import Any

from torch import Tensor, nn

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.modality import Modality, trunk_name
from imagebind_llm.encoders.imagebind import ImageBindConfig, ImageBindModel, load_imagebind

_SECTIONS = ("modality_preprocessors", "modality_trunks", "modality_heads", "modality_postprocessors")
"""The four parts of a tower in the published weight layout; the point tower also has ``point_trunk``."""


def open_encoder(encoder: str, overrides: dict[str, Any] | None, seed: int) -> ImageBindModel:
    """The encoder in a folder, or a new one: nano, changed by nested ``overrides``, weights from ``seed``."""
    import torch

    if encoder != "new":
        return load_imagebind(encoder)
    config = ImageBindConfig.from_dict(_merged(ImageBindConfig.nano().to_dict(), overrides or {}))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ImageBindModel(config)


def in_tower(name: str, trunk: str) -> bool:
    """Whether the state-dict entry ``name`` belongs to the tower of ``trunk``."""
    section, _, rest = name.partition(".")
    if section == "point_trunk":
        return trunk == "point"
    return section in _SECTIONS and rest.partition(".")[0] == trunk


def tower_parameters(encoder: ImageBindModel, modality: Modality) -> dict[str, nn.Parameter]:
    """The parameters of one tower, except its logit scale, which ``encode`` does not use.

    Raises:
        ConfigError: the encoder has no such tower.
    """
    trunk = trunk_name(modality)
    found = {
        name: parameter
        for name, parameter in encoder.named_parameters()
        if in_tower(name, trunk) and not name.startswith("modality_postprocessors.")
    }
    if not found:
        raise ConfigError(
            f"the encoder has no tower for {modality.value}; its config gives {sorted(encoder.modalities)}"
        )
    return found


def tower_buffers(encoder: ImageBindModel, modality: Modality) -> dict[str, Tensor]:
    """The running statistics of one tower's batch norms."""
    trunk = trunk_name(modality)
    return {
        name: buffer
        for name, buffer in encoder.named_buffers()
        if in_tower(name, trunk)
        and name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")
    }


def tower_blocks(encoder: ImageBindModel, trunks: Collection[str]) -> list[nn.Module]:
    """The transformer blocks of these towers."""
    from imagebind_llm.encoders.imagebind.transformer import Block

    return [
        module
        for name, module in encoder.named_modules()
        if isinstance(module, Block) and any(in_tower(name, trunk) for trunk in trunks)
    ]


def set_training(encoder: ImageBindModel, trunks: set[str], mode: bool) -> None:
    """Only the towers being trained leave eval mode: a frozen batch norm must not move."""
    encoder.eval()
    for section in _SECTIONS:
        for name, module in getattr(encoder, section).items():
            module.train(mode and name in trunks)
    if mode and "point" in trunks:
        encoder.point_trunk.train()


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
