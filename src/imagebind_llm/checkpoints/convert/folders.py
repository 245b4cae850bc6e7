"""Folders of language models and encoders: their tensors by name, without loading."""

import json
from pathlib import Path

from imagebind_llm.checkpoints.convert.reading import TensorFiles
from imagebind_llm.checkpoints.streaming import imagebind_fingerprint_of
from imagebind_llm.errors import CheckpointError
from imagebind_llm.imagebind.config import ImageBindConfig
from imagebind_llm.imagebind.weights import read_config, weight_files

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


def encoder_of(folder: Path) -> tuple[ImageBindConfig, TensorFiles, str]:
    """Configuration, tensors and fingerprint of an encoder folder.

    Raises:
        CheckpointError: it is none.
    """
    config = read_config(folder)
    source = TensorFiles(weight_files(folder))
    return config, source, imagebind_fingerprint_of(config, source)
