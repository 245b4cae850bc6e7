"""Folders of language models and encoders: their tensors by name, without loading."""

import json
from dataclasses import dataclass
from pathlib import Path

from imagebind_llm.checkpoints.convert.reading import TensorFiles, TensorsBelow, TensorSource
from imagebind_llm.checkpoints.streaming import imagebind_fingerprint_of
from imagebind_llm.encoders.registry import find_encoder
from imagebind_llm.errors import CheckpointError
from imagebind_llm.imagebind.config import ImageBindConfig

_LAYOUTS = ("model.safetensors", "pytorch_model.bin")
"""transformers' names of whole weight files; sharded ones have an index of that name with ``.index.json``."""


def weights_of(folder: Path) -> TensorFiles:
    """The tensors of a transformers folder, sharded or not.

    Raises:
        CheckpointError: there are no weights, or one of the shards is missing or damaged.
    """
    for name in _LAYOUTS:
        if (folder / name).is_file():
            return TensorFiles([folder / name])
        index = folder / f"{name}.index.json"
        if index.is_file():
            try:
                names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise CheckpointError(f"{str(index)!r} is damaged ({error}); get the file again") from None
            return TensorFiles([folder / name for name in names])
    raise CheckpointError(f"{str(folder)!r} has no weights ({' or '.join(_LAYOUTS)}); give a model folder")


@dataclass(frozen=True)
class EncoderFiles:
    """An ImageBind on disk.

    Attributes:
        config: its configuration.
        source: its tensors, under its own names.
        fingerprint: 16 hex digits, as the loaded encoder has it.
    """

    config: ImageBindConfig
    source: TensorSource
    fingerprint: str


def encoder_of(name: str) -> EncoderFiles:
    """The ImageBind that ``name`` means: a folder, a model folder, ``"nano"`` or a hub id.

    Raises:
        CheckpointError: it is none, or its files are damaged.
    """
    place = find_encoder(name)
    if place.kind != "imagebind":
        raise CheckpointError(
            f"the encoder {name!r} is of type {place.kind}; give the ImageBind that this was made with"
        )
    config = ImageBindConfig.from_dict(dict(place.settings))
    source: TensorSource = weights_of(place.folder)
    if place.in_model:
        source = TensorsBelow(source, "encoder.")
    return EncoderFiles(config, source, imagebind_fingerprint_of(config, source))
