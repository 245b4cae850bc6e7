"""The table of encoder types, and loading one from wherever it lies.

To add a type, write a module with the functions of :class:`EncoderKind` and name it in ``KINDS``.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from imagebind_llm.common.errors import CheckpointError, ConfigError
from imagebind_llm.common.files import read_json
from imagebind_llm.common.locate import locate_folder
from imagebind_llm.media.base import MediaReader

KINDS = {
    "imagebind": "imagebind_llm.encoders.imagebind_kind",
    "pe_av": "imagebind_llm.encoders.pe_av.kind",
}
"""``encoder_config["type"]`` → module with the functions of :class:`EncoderKind`."""

_MODEL_TYPE = "imagebind_llm"


class EncoderKind(Protocol):
    """What the module of an encoder type offers."""

    def recognises(self, config: Mapping[str, Any]) -> bool:
        """Whether a folder with this ``config.json`` holds an encoder of this type."""
        ...

    def build(self, settings: Mapping[str, Any]) -> nn.Module:
        """A :class:`JointEncoder` with fresh weights; ``settings`` are ``encoder_config`` without its type.

        Raises:
            ConfigError: an unknown or impossible setting.
        """
        ...

    def from_model(
        self, folder: Path, settings: Mapping[str, Any], device: torch.device, dtype: torch.dtype
    ) -> nn.Module:
        """The encoder that the whole model in ``folder`` holds, strictly, in evaluation mode.

        Raises:
            CheckpointError: weights are missing, left over or of another shape.
        """
        ...

    def load(self, folder: Path, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """The encoder in ``folder``, strictly, in evaluation mode.

        Raises:
            CheckpointError: weights are missing, left over or of another shape.
        """
        ...

    def media_of(self, folder: Path, encoder: Any) -> MediaReader:
        """How media are opened for an encoder that lies in a folder of its own."""
        ...

    def read_media(self, values: Mapping[str, Any], folder: Path) -> MediaReader:
        """The reader that ``to_dict`` and ``save_files`` left in a model folder."""
        ...


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
class EncoderPlace:
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


def find_encoder(name: str | os.PathLike[str], revision: str | None = None) -> EncoderPlace:
    """What ``name`` means wherever an encoder is asked for: a folder of its own, a model folder or an adapter
    (then its encoder), ``"nano"``, or a hub id.

    Raises:
        CheckpointError: there is none there.
        ConfigError: it is of a type that is not known.
    """
    folder = locate_folder(name, revision)
    config = read_json(folder / "config.json")
    if config.get("model_type") != _MODEL_TYPE:
        return EncoderPlace(folder, _kind_of(folder, config), config, in_model=False)
    from imagebind_llm.common.locate import ADAPTER_FILE, find_place

    settings = dict(config.get("encoder_config") or {})
    if not settings:
        raise CheckpointError(f"the model in {str(folder)!r} has no encoder; give one that has")
    if (folder / ADAPTER_FILE).is_file():
        base = (config.get("base_models") or {}).get("encoder")
        if not isinstance(base, Mapping) or not isinstance(base.get("id"), str):
            raise CheckpointError(
                f"the adapter in {str(folder)!r} does not say where its encoder is; give the encoder itself"
            )
        return find_encoder(find_place("encoder", base, folder), base.get("revision"))
    return EncoderPlace(folder, settings.pop("type", "imagebind"), settings, in_model=True)


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
        from imagebind_llm.processing import ImageBindLLMProcessor

        return ImageBindLLMProcessor.from_pretrained(folder).media
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


def tensors_below(folder: Path, prefix: str) -> dict[str, Tensor]:
    """Tensors of a whole model whose name begins with ``prefix``, without it.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    from imagebind_llm.common.tensor_files import TensorsBelow, weights_of

    source = TensorsBelow(weights_of(folder), prefix)
    return {name: source.get(name) for name in source.infos}
