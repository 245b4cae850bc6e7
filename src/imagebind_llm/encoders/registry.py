"""The table of encoder types, and loading one from wherever it lies.

To add a type, write a module with the functions of :class:`EncoderKind` and name it in ``KINDS``.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from imagebind_llm.common.budget import refuse_many_layers
from imagebind_llm.common.errors import CheckpointError, ConfigError
from imagebind_llm.common.files import read_json
from imagebind_llm.common.locate import ADAPTER_FILE, find_base_path, locate_folder, refuse_circle
from imagebind_llm.encoders.base import EncoderKind
from imagebind_llm.media.base import MediaReader

PROCESSOR_FILE = "processor_config.json"

KINDS = {
    "imagebind": "imagebind_llm.encoders.imagebind.kind",
    "pe_av": "imagebind_llm.encoders.pe_av.kind",
    "towers": "imagebind_llm.encoders.towers.kind",
}
"""``encoder_config["type"]`` → module with the functions of :class:`EncoderKind`."""

_MODEL_TYPE = "imagebind_llm"


def encoder_kind(name: str) -> EncoderKind:
    """The encoder type called ``name``.

    Raises:
        ConfigError: there is none.
    """
    if name not in KINDS:
        raise ConfigError(f"encoder type is {name!r}; this version knows {', '.join(KINDS)}")
    return cast(EncoderKind, import_module(KINDS[name]))


def build_encoder(settings: Mapping[str, Any] | None) -> nn.Module | None:
    """The encoder that an ``encoder_config`` describes, with fresh weights; None for None."""
    if settings is None:
        return None
    values = dict(settings)
    return encoder_kind(values.pop("type", "imagebind")).build(values)


@dataclass(frozen=True)
class EncoderLocation:
    """Where the weights of an encoder lie.

    Attributes:
        folder: holds them.
        kind: the encoder's type.
        settings: its configuration, without the type.
        in_model: whether they lie among those of a whole model, their names beginning with ``encoder.``.
    """

    folder: Path
    kind: str
    settings: Mapping[str, Any]
    in_model: bool


def find_encoder(
    name: str | os.PathLike[str], revision: str | None = None, depth: int = 0
) -> EncoderLocation:
    """What ``name`` means wherever an encoder is asked for: a folder of its own, a model folder or an adapter
    (then its encoder), ``"nano"``, or a hub id.

    Raises:
        CheckpointError: there is none there, or an adapter names itself (``depth``: bases so far).
        ConfigError: it is of a type that is not known.
    """
    folder = locate_folder(name, revision)
    refuse_circle(folder, depth)
    config = read_json(folder / "config.json")
    refuse_many_layers(config, repr(str(folder / "config.json")))
    if config.get("model_type") != _MODEL_TYPE:
        return EncoderLocation(folder, _kind_of(folder, config), config, in_model=False)
    given = config.get("encoder_config") or {}
    settings = dict(given) if isinstance(given, dict) else {}
    if not settings:
        raise CheckpointError(f"the model in {str(folder)!r} has no encoder; give one that has")
    if (folder / ADAPTER_FILE).is_file():
        bases = config.get("base_models")
        base = bases.get("encoder") if isinstance(bases, dict) else None
        if not isinstance(base, Mapping) or not isinstance(base.get("id"), str):
            raise CheckpointError(
                f"the adapter in {str(folder)!r} does not say where its encoder is; give the encoder itself"
            )
        return find_encoder(find_base_path("encoder", base, folder), base.get("revision"), depth + 1)
    return EncoderLocation(folder, settings.pop("type", "imagebind"), settings, in_model=True)


def load_encoder(
    name: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    revision: str | None = None,
) -> nn.Module:
    """The encoder called ``name`` (see :func:`find_encoder`), strictly, in evaluation mode.

    Raises:
        CheckpointError: there is none there, or its weights do not fit.
        ConfigError: it is of a type that is not known.
    """
    place = find_encoder(name, revision)
    kind = encoder_kind(place.kind)
    if place.in_model:
        return kind.from_model(place.folder, place.settings, torch.device(device), dtype)
    return kind.load(place.folder, torch.device(device), dtype)


def media_of_encoder(name: str | os.PathLike[str], encoder: Any, revision: str | None = None) -> MediaReader:
    """How media are opened for an encoder loaded with :func:`load_encoder` from the same place."""
    folder = locate_folder(name, revision)
    config = read_json(folder / "config.json")
    if config.get("model_type") == _MODEL_TYPE:
        return read_media(read_processor_config(folder), folder)
    return encoder_kind(_kind_of(folder, config)).media_of(folder, encoder)


def read_media(values: Mapping[str, Any], folder: Path) -> MediaReader:
    """The reader that a ``processor_config.json`` describes.

    Raises:
        ConfigError: an encoder type or a setting that does not exist.
    """
    return encoder_kind(str(values.get("encoder_type", "imagebind"))).read_media(values["media"], folder)


def _kind_of(folder: Path, config: Mapping[str, Any]) -> str:
    for name in KINDS:
        if encoder_kind(name).recognises(config):
            return name
    raise CheckpointError(
        f"{str(folder)!r} holds no joint encoder that is known here (model type "
        f"{config.get('model_type')!r}); give a folder of type {' or '.join(KINDS)}, or a model folder"
    )


def read_processor_config(folder: Path) -> dict[str, Any]:
    path = folder / PROCESSOR_FILE
    if not path.is_file():
        config = folder / "config.json"
        if config.is_file() and read_json(config).get("model_type") not in (None, "imagebind_llm"):
            raise CheckpointError(
                f"{str(folder)!r} holds no ImageBind-LLM (no {PROCESSOR_FILE}); if it is a language model, "
                f"make one around it: imagebind-llm new --llm {folder} --encoder nano --out NEW"
            )
        raise CheckpointError(f"{str(folder)!r} has no {PROCESSOR_FILE}; save the processor there too")
    values = read_json(path)
    if not isinstance(values.get("media"), dict):
        raise CheckpointError(f"{str(path)!r} has no mapping 'media'; save the processor again")
    return values
