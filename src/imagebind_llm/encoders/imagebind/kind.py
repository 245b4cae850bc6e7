"""ImageBind (and Point-Bind, and nano) as an encoder type, with the media settings it needs."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from imagebind_llm.common.tensor_files import tensors_below
from imagebind_llm.encoders.imagebind import (
    ImageBindConfig,
    ImageBindModel,
    imagebind_from_state_dict,
    load_imagebind,
)
from imagebind_llm.encoders.imagebind.config import GridConfig, ImuConfig
from imagebind_llm.media.base import MediaReader
from imagebind_llm.media.settings import MediaSettings, SensorKind, SensorSettings


def sensor_media(config: ImageBindConfig) -> dict[str, SensorSettings]:
    """Settings of each sensor by name; empty for an encoder without any."""
    found = {}
    for name, sensor in (config.sensors or {}).items():
        part = sensor.part
        kind: SensorKind = "cloud"
        if isinstance(part, GridConfig | ImuConfig):
            kind = "grid" if isinstance(part, GridConfig) else "sequence"
        found[name] = SensorSettings(kind, sensor.shape, sensor.mean, sensor.std)
    return found


def recognises(config: Mapping[str, Any]) -> bool:
    """See :class:`~imagebind_llm.encoders.base.EncoderKind`."""
    towers = (item.name for item in fields(ImageBindConfig) if item.name != "embedding_dim")
    return "model_type" not in config and "embedding_dim" in config and any(name in config for name in towers)


def build(settings: Mapping[str, Any]) -> nn.Module:
    """See :class:`~imagebind_llm.encoders.base.EncoderKind`."""
    return ImageBindModel(ImageBindConfig.from_dict(dict(settings)))


def from_model(
    folder: Path, settings: Mapping[str, Any], device: torch.device, dtype: torch.dtype
) -> nn.Module:
    """Reads the encoder's tensors alone; see :class:`~imagebind_llm.encoders.base.EncoderKind`."""
    config = ImageBindConfig.from_dict(dict(settings))
    return imagebind_from_state_dict(config, tensors_below(folder, "encoder."), device, dtype)


def load(folder: Path, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """See :class:`~imagebind_llm.encoders.base.EncoderKind`."""
    return load_imagebind(folder, device, dtype)


def media_of(folder: Path, encoder: ImageBindModel) -> MediaReader:
    """See :class:`~imagebind_llm.encoders.base.EncoderKind`."""
    return media_for(encoder.config)


def media_for(config: ImageBindConfig) -> MediaSettings:
    """ImageBind's published settings, with the sizes that the towers of ``config`` have.

    What a configuration does not say (sample rates, clips, number of points) stays as published.
    """
    media = MediaSettings()
    if config.vision is not None:
        side = config.vision.size[0]
        media = replace(media, image=replace(media.image, size=side), video=replace(media.video, size=side))
    if config.audio is not None:
        mel_bins, frames = config.audio.size
        media = replace(media, audio=replace(media.audio, mel_bins=mel_bins, target_frames=frames))
    if config.text is not None:
        media = replace(media, text=replace(media.text, context_length=config.text.context))
    if config.depth is not None:
        media = replace(media, depth=replace(media.depth, size=config.depth.size[0]))
    if config.thermal is not None:
        media = replace(media, thermal=replace(media.thermal, size=config.thermal.size[0]))
    if config.imu is not None:
        media = replace(media, imu=replace(media.imu, samples=config.imu.length))
    return replace(media, sensors=sensor_media(config))


def read_media(values: Mapping[str, Any], folder: Path) -> MediaReader:
    """See :class:`~imagebind_llm.encoders.base.EncoderKind`."""
    return MediaSettings.from_dict(dict(values))
