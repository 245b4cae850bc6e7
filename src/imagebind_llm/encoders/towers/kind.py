"""Towers as an encoder type: the functions of :class:`~imagebind_llm.encoders.base.EncoderKind`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from imagebind_llm.common.tensor_files import tensors_below
from imagebind_llm.encoders.towers.media import TowersMedia
from imagebind_llm.encoders.towers.model import TowersEncoder
from imagebind_llm.encoders.towers.settings import MODEL_TYPE, TowersConfig
from imagebind_llm.encoders.towers.weights import load_towers, towers_from_state_dict
from imagebind_llm.media.base import MediaReader


def recognises(config: Mapping[str, Any]) -> bool:
    """A folder that :func:`~imagebind_llm.encoders.towers.weights.save_towers` wrote."""
    return config.get("model_type") == MODEL_TYPE


def build(settings: Mapping[str, Any]) -> nn.Module:
    """With fresh weights."""
    return TowersEncoder(TowersConfig.from_dict(settings))


def from_model(
    folder: Path, settings: Mapping[str, Any], device: torch.device, dtype: torch.dtype
) -> nn.Module:
    """The towers among the tensors of a whole model."""
    tensors = tensors_below(folder, "encoder.")
    return towers_from_state_dict(TowersConfig.from_dict(settings), tensors, str(folder), device, dtype)


def load(folder: Path, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The encoder in ``folder``, strictly, in evaluation mode."""
    return load_towers(folder, device, dtype)


def media_of(folder: Path, encoder: TowersEncoder) -> MediaReader:
    """As the settings of the encoder say, with the tokenizer in its folder."""
    return TowersMedia.of(encoder.config, folder)


def read_media(values: Mapping[str, Any], folder: Path) -> MediaReader:
    """As a model folder holds it."""
    return TowersMedia.read(values, folder)
