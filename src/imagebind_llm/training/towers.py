"""The towers of an encoder: training some of them, adding low-rank updates, merging, attaching to a model."""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imagebind_llm.cache.folder import CacheManifest
from imagebind_llm.common.errors import CheckpointError, ConfigError
from imagebind_llm.common.folders import atomic_directory, require_replaceable
from imagebind_llm.common.modality import Modality, trunk_name
from imagebind_llm.common.settings import overlay
from imagebind_llm.encoders.imagebind import ImageBindConfig, ImageBindModel, load_imagebind, save_imagebind
from imagebind_llm.encoders.imagebind.kind import sensor_media
from imagebind_llm.encoders.registry import load_encoder, media_of_encoder
from imagebind_llm.encoders.towers.model import TowersEncoder
from imagebind_llm.media.settings import MediaSettings
from imagebind_llm.model.folders import restore_stored_values
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
from imagebind_llm.model.processing import ImageBindLLMProcessor
from imagebind_llm.training.heads.anchor import image_fingerprint
from imagebind_llm.training.settings import TowerLora

_SECTIONS = ("modality_preprocessors", "modality_trunks", "modality_heads", "modality_postprocessors")
"""The four parts of a tower in the published weight layout; the point tower also has ``point_trunk``."""


def open_encoder(encoder: str, overrides: dict[str, Any] | None, seed: int) -> ImageBindModel:
    """The encoder in a folder, or a new one: nano, changed by nested ``overrides``, weights from ``seed``."""
    import torch

    if encoder != "new":
        return load_imagebind(encoder)
    config = ImageBindConfig.from_dict(overlay(ImageBindConfig.nano().to_dict(), overrides or {}))
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


def vision_fingerprint(encoder: ImageBindModel) -> str:
    """Hash of the vision tower alone: training other towers does not change it."""
    from imagebind_llm.common.fingerprint import fingerprint_state_dict

    state = {name: tensor for name, tensor in encoder.state_dict().items() if in_tower(name, "vision")}
    return fingerprint_state_dict(state)


_ADAPTER = "default"


def add_tower_lora(
    encoder: ImageBindModel, trunks: Collection[str], settings: TowerLora, seed: int
) -> dict[str, nn.Parameter]:
    """Give every linear layer of these towers an update that starts at 0; returns the updates by name.

    The fused query-key-value weight of ImageBind's own attention is a bare tensor, not a map, and gets none;
    its output projection and the two of each MLP do, and the head.
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


def merge_towers(base: Path, towers: Sequence[Path], out: Path) -> str:
    """Write ``out``: the encoder ``base`` with, from each folder of ``towers``, the one tower that differs
    from base.

    Returns:
        The fingerprint of the new encoder.

    Raises:
        CheckpointError: a folder has another configuration or other vision weights, or differs in no tower,
            two folders bring the same tower, or ``out`` holds files that are not ours.
    """
    require_replaceable(out, CheckpointError)
    model = load_imagebind(base)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    taken: dict[str, Path] = {}
    for folder in towers:
        other = load_imagebind(folder)
        if other.config != model.config:
            raise CheckpointError(
                f"{folder} has another encoder configuration than {base}; train it from {base}"
            )
        found = other.state_dict()
        names = [name for name, _ in model.config.parts()]
        changed = [
            trunk
            for trunk in names
            if any(
                in_tower(name, trunk) and not tensor.equal(found[name])
                for name, tensor in model.state_dict().items()
            )
        ]
        if "vision" in changed:
            raise CheckpointError(
                f"{folder} has other vision weights than {base}, so its towers lead into another space; "
                f"train them from {base}"
            )
        if not changed:
            raise CheckpointError(
                f"{folder} differs from {base} in no tower; give the export of a finished run"
            )
        for trunk in changed:
            if trunk in taken:
                raise CheckpointError(
                    f"{folder} and {taken[trunk]} both bring the tower {trunk!r}; give one of them"
                )
            taken[trunk] = folder
            state.update({name: tensor for name, tensor in found.items() if in_tower(name, trunk)})
    model.load_state_dict(state)
    save_imagebind(model, out)
    return load_imagebind(out).fingerprint


CACHE_FOLDER = "cache"


def attach_encoder(model_folder: Path, encoder_folder: Path, out: Path) -> list[str]:
    """Write ``out``: the model in ``model_folder`` with the encoder in ``encoder_folder``, cache included.

    The language model was trained on what the vision tower says, and the cache was made by it, so both
    encoders must have the same one. The new encoder's sensors use the cache by default, as all modalities but
    images do.

    Returns:
        What the model can take now.

    Raises:
        CheckpointError: another vision tower, a modality that would be lost, or ``out`` is one of the inputs
            or holds files that are not ours.
    """
    if out.resolve() in (model_folder.resolve(), encoder_folder.resolve()):
        raise CheckpointError(f"{out} is an input itself; give another --out")
    require_replaceable(out, CheckpointError)
    model = ImageBindLLMForConditionalGeneration.from_pretrained(model_folder, dtype="auto")
    restore_stored_values(model, model_folder)
    processor = ImageBindLLMProcessor.from_pretrained(model_folder)
    before: Any = model.encoder
    encoder: Any = load_encoder(encoder_folder)
    if not isinstance(before, ImageBindModel | TowersEncoder):
        raise CheckpointError(
            f"{model_folder} has no ImageBind and no towers as its encoder; only those can be exchanged"
        )
    if not isinstance(encoder, type(before)):
        raise CheckpointError(
            f"{encoder_folder} is of type {encoder.settings['type']}, but the encoder of {model_folder} of "
            f"type {before.settings['type']}; give one of the same type"
        )
    ours, theirs = _seen_by(before), _seen_by(encoder)
    if ours != theirs:
        raise CheckpointError(
            f"{encoder_folder} has the vision tower {theirs}, but {model_folder} was trained with {ours}; "
            "train the new tower on the model's own encoder"
        )
    lost = sorted(before.modalities - encoder.modalities)
    if lost:
        raise CheckpointError(
            f"{encoder_folder} has no {', '.join(lost)}, which the model has; train from its encoder"
        )
    old_fingerprint = model.config.fingerprints["encoder"]
    fingerprint = encoder.fingerprint
    model.encoder = encoder.to(next(before.parameters()).dtype)
    model.encoder.remember_fingerprint(fingerprint)
    config = model.config
    config.encoder_config = encoder.settings
    sensors = [modality.value for modality in sorted(encoder.modalities) if not modality.built_in]
    moved = list(dict.fromkeys([*config.cache["modalities"], *sensors]))
    config.cache = {**config.cache, "modalities": moved}
    if isinstance(encoder, ImageBindModel) and isinstance(processor.media, MediaSettings):
        processor.media = replace(processor.media, sensors=sensor_media(encoder.config))
    else:
        processor.media = media_of_encoder(encoder_folder, encoder)
    config.media = processor.media.to_dict()
    with atomic_directory(out, CheckpointError) as temporary:
        model.save_pretrained(temporary)
        processor.save_pretrained(temporary)
        if (model_folder / CACHE_FOLDER).is_dir():
            _copy_cache(model_folder / CACHE_FOLDER, temporary / CACHE_FOLDER, old_fingerprint, fingerprint)
    return sorted(modality.value for modality in encoder.modalities)


def _seen_by(encoder: ImageBindModel | TowersEncoder) -> str | None:
    """The fingerprint of what sees images."""
    if isinstance(encoder, ImageBindModel):
        return vision_fingerprint(encoder)
    return image_fingerprint(encoder)


def _copy_cache(source: Path, target: Path, before: str | None, now: str) -> None:
    """The same cache under the fingerprint of the new encoder, whose vision tower made it."""
    manifest = CacheManifest.read(source)
    manifest.check_encoder(before)
    shutil.copytree(source, target)
    replace(manifest, encoder_fingerprint=now).write(target)
