"""Opening the pretrained models that become backbones: what they are, their weights, how they read media."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from imagebind_llm.common.budget import refuse_many_layers
from imagebind_llm.common.errors import CheckpointError, ConfigError, reason_of
from imagebind_llm.common.files import read_json
from imagebind_llm.common.finite import require_finite
from imagebind_llm.common.locate import locate_folder
from imagebind_llm.common.modality import Modality, trunk_name
from imagebind_llm.common.settings import Checked, build, to_plain
from imagebind_llm.common.tensor_files import weights_of
from imagebind_llm.encoders.stored_values import without_storage
from imagebind_llm.encoders.towers.backbones.efficientnet_lite import EfficientNetLiteConfig, Variant
from imagebind_llm.encoders.towers.media import plain_input
from imagebind_llm.encoders.towers.pictures import Filter, PictureInput, published_pictures
from imagebind_llm.encoders.towers.recipe import NewTower
from imagebind_llm.encoders.towers.settings import BackboneSettings, Pooling
from imagebind_llm.encoders.towers.sounds import SoundInput, published_sounds
from imagebind_llm.encoders.towers.words import open_tokenizer, published_words
from imagebind_llm.media.settings import MediaSettings


@dataclass(frozen=True)
class Opened:
    """A backbone as it was found.

    Attributes:
        backbone: its settings.
        media: how it reads media, as plain values.
        weights: by their names in the backbone's module.
        tokenizer: of a text model of transformers.
    """

    backbone: BackboneSettings
    media: dict[str, Any]
    weights: Mapping[str, Tensor]
    tokenizer: Any = None


def open_backbone(name: str, tower: NewTower) -> Opened:
    """What the modality ``name`` of a new encoder stands on.

    Raises:
        CheckpointError: there is no such model, it is not whole, or of a kind that is not known.
        ConfigError: settings that do not suit it.
    """
    text = tower.backbone
    folder = locate_folder(text)
    config = read_json(folder / "config.json")
    refuse_many_layers(config, repr(str(folder / "config.json")))
    kind = config.get("model_type")
    if kind == "efficientnet_lite":
        _only_transformers(name, tower)
        return _efficientnet(folder, config)
    if kind in (None, "imagebind_llm"):
        _only_transformers(name, tower)
        return _imagebind(text, name)
    if name not in _PARTS:
        raise ConfigError(
            f"towers.{name}: {text!r} is a transformers model, which reads image, audio or text; for {name} "
            "give an ImageBind encoder, such as nano"
        )
    return _transformers(folder, Modality.parse(name), str(kind), tower)


def _only_transformers(name: str, tower: NewTower) -> None:
    for setting in ("pooling", "seconds", "context"):
        if getattr(tower, setting) is not None:
            raise ConfigError(
                f"towers.{name}.{setting} is for transformers models, but {tower.backbone!r} is none; drop it"
            )


_CROP_PADDING = 32
"""EfficientNet's evaluation resizes the shorter side to this many pixels more than it cuts out."""
_LITE_MEAN, _LITE_STD = 127 / 255, 128 / 255
"""Of EfficientNet-lite (MEAN_RGB and STDDEV_RGB of efficientnet_lite_builder.py, there of bytes)."""


@dataclass(frozen=True)
class _LiteFolder(Checked):
    """What ``config.json`` of an EfficientNet-lite holds."""

    variant: Variant
    image_size: int = 0
    classes: int = 1000
    crop: float | None = None
    """Share of the shorter side that is cut out; null: as EfficientNet is evaluated."""
    interpolation: Filter = "bicubic"
    mean: tuple[float, float, float] = (_LITE_MEAN,) * 3
    std: tuple[float, float, float] = (_LITE_STD,) * 3

    _may_be_zero_or_less = ("image_size", "mean")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop is not None and self.crop > 1:
            raise ConfigError(f"crop is {self.crop}; expected a share of the shorter side, at most 1")


def _efficientnet(folder: Path, values: Mapping[str, Any]) -> Opened:
    known = {key: value for key, value in values.items() if key != "model_type"}
    found = build(_LiteFolder, known, "efficientnet_lite")
    config = EfficientNetLiteConfig(found.variant, found.image_size, found.classes)
    size = config.image_size
    short_side = size + _CROP_PADDING if found.crop is None else round(size / found.crop)
    media = PictureInput(size, size, short_side, found.interpolation, found.mean, found.std)
    source = weights_of(folder)
    weights = {key: source.get(key) for key in source.infos}
    require_finite(weights.items(), f"the EfficientNet-lite in {str(folder)!r}")
    return Opened(
        BackboneSettings("efficientnet_lite", to_plain(config)), plain_input("image", media), weights
    )


def _imagebind(text: str, name: str) -> Opened:
    """One tower of an ImageBind, with the media settings that its model has."""
    from imagebind_llm.encoders.imagebind import ImageBindModel
    from imagebind_llm.encoders.registry import load_encoder, media_of_encoder

    encoder = load_encoder(text)
    if not isinstance(encoder, ImageBindModel):
        raise ConfigError(f"towers.{name}: {text!r} is no ImageBind; give one, or a transformers model")
    media = media_of_encoder(text, encoder)
    assert isinstance(media, MediaSettings), "ImageBind's media have ImageBind's settings"
    modality = Modality.parse(name)
    trunk = trunk_name(modality)
    values = encoder.config.to_dict()
    sensors = values.pop("sensors", None) or {}
    if trunk not in values and trunk not in sensors:
        known = ", ".join(sorted(encoder.modalities))
        raise ConfigError(f"towers.{name}: {text!r} has no {name}; it knows {known}")
    alone = {trunk: values[trunk]} if trunk in values else {"sensors": {trunk: sensors[trunk]}}
    config = {"embedding_dim": values["embedding_dim"], **alone}
    parts = (f".{trunk}.", f"{trunk}_trunk.")
    weights = {
        f"model.{key}": tensor
        for key, tensor in encoder.state_dict().items()
        if key.startswith(parts[1]) or (key.startswith("modality_") and parts[0] in key)
    }
    return Opened(BackboneSettings("imagebind", config), plain_input(name, media), weights)


_PARTS = {"image": "vision", "audio": "audio", "text": "text"}
_WHOLE: dict[str, dict[str, str]] = {
    "clip": {"image": "visual_projection", "text": "text_projection"},
    "siglip": {"image": "", "text": ""},
    "clap": {"audio": "audio_projection", "text": "text_projection"},
    "whisper": {"audio": ""},
}
"""Models of several parts → the modalities that they have, and the projection of each in the whole model."""
_SUITABLE: dict[str, Pooling] = {
    "clip": "projection",
    "clap": "projection",
    "siglip": "pooler",
    "whisper": "mean",
    "siglip_vision_model": "pooler",
    "siglip_text_model": "pooler",
    "clip_vision_model": "pooler",
    "clip_text_model": "pooler",
    "audio-spectrogram-transformer": "pooler",
    "convnext": "pooler",
    "convnextv2": "pooler",
    "resnet": "pooler",
    "swin": "pooler",
}
"""What is taken where the recipe does not say; of other types ``cls`` of pictures, ``mean`` of the rest."""
_REFUSED = {
    "siglip2": "its pictures have no fixed size",
    "siglip2_vision_model": "its pictures have no fixed size",
}
_NAMES_OF_CLASSES = frozenset({"id2label", "label2id"})


def _transformers(folder: Path, modality: Modality, kind: str, tower: NewTower) -> Opened:
    name = modality.value
    if kind in _REFUSED:
        raise ConfigError(f"towers.{name}: a {kind} cannot be used ({_REFUSED[kind]}); use another backbone")
    whole = _WHOLE.get(kind)
    if whole is not None and name not in whole:
        raise ConfigError(f"towers.{name}: a {kind} reads {' and '.join(whole)}, not {name}")
    pooling = tower.pooling or _SUITABLE.get(kind) or ("cls" if name == "image" else "mean")
    if kind.startswith("siglip") and pooling == "projection":
        pooling = "pooler"  # SigLIP compares its pooled vectors themselves
    part, projection = _part(folder, kind, name, pooling)
    values = without_storage(part.config.to_dict(), _NAMES_OF_CLASSES)
    weights = {f"model.{key}": tensor for key, tensor in part.state_dict().items()}
    if pooling == "projection" and projection is not None:
        weights |= {f"projection.{key}": tensor for key, tensor in projection.state_dict().items()}
        values["projection_dim"] = int(next(reversed(list(projection.parameters()))).shape[0])
    require_finite(weights.items(), f"the {kind} in {str(folder)!r}")
    tokenizer, media = None, {}
    if name == "image":
        media = plain_input(name, published_pictures(folder))
    elif name == "audio":
        sound = published_sounds(folder, tower.seconds)
        if kind == "whisper":
            sound = _shorten(sound, values, weights)
        media = plain_input(name, sound)
    else:
        tokenizer = open_tokenizer(folder)
        media = plain_input(name, published_words(folder, tokenizer, part.config, tower.context))
    return Opened(BackboneSettings("transformers", values, pooling), media, weights, tokenizer)


def _part(folder: Path, kind: str, name: str, pooling: Pooling) -> tuple[Any, Any]:
    """The module that reads ``name``, loaded strictly, and its projection if it has one.

    Raises:
        CheckpointError: tensors are missing, or of another shape, or a file is damaged.
    """
    from imagebind_llm.encoders.towers.backbones.hugging_face import known_class, part_of, pooler_argument

    model_class = known_class(kind)
    arguments = {} if kind in _WHOLE else pooler_argument(model_class, pooling)
    try:
        loaded: Any = model_class.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, output_loading_info=True, **arguments
        )
    except (RuntimeError, OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"the {kind} in {str(folder)!r} cannot be loaded ({reason_of(error)})"
        ) from error
    model, info = loaded
    wanted: tuple[str, ...] = ("",)
    projection = None
    if kind == "whisper":
        wanted, part = ("encoder.",), model.encoder
    elif kind in _WHOLE:
        attribute = f"{_PARTS[name]}_model"
        part, other = part_of(getattr(model, attribute)), _WHOLE[kind][name]
        wanted = (f"{attribute}.", f"{other}." if other else f"{attribute}.")
        projection = getattr(model, other) if other else None
    else:
        part = part_of(model)
    faults = {
        fault: sorted(key for key in map(str, info[f"{fault}_keys"]) if key.startswith(wanted))
        for fault in ("missing", "mismatched")
    }
    found = [f"{len(keys)} {fault} ({', '.join(keys[:3])})" for fault, keys in faults.items() if keys]
    if found:
        raise CheckpointError(
            f"the weights in {str(folder)!r} do not fit its config.json: {'; '.join(found)}; download the "
            "whole folder again"
        )
    return part, projection


def _shorten(sound: SoundInput, values: dict[str, Any], weights: dict[str, Tensor]) -> SoundInput:
    """Have Whisper's encoder hear a shorter window: only its first positions are kept.

    Whisper adds positions to frames that are 20 ms apart, so those of a shorter sound are its first ones. The
    encoder then computes for as long as the sound is, not for 30 s.
    """
    hop = int(sound.extractor.get("hop_length", 160))
    positions = max(1, round(sound.seconds * sound.rate / hop / 2))
    if positions > int(values["max_source_positions"]):
        raise ConfigError(
            f"seconds is {sound.seconds:g}, more than Whisper's {values['max_source_positions']} positions"
        )
    values["max_source_positions"] = positions
    name = "model.embed_positions.weight"
    weights[name] = weights[name][:positions].clone()
    return SoundInput(sound.extractor, positions * 2 * hop / sound.rate)
