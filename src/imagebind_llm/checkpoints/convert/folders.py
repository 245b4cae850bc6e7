"""Folders of language models and encoders: their tensors by name, and their fingerprints, without loading."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from torch import Tensor

from imagebind_llm.checkpoints.convert.reading import TensorFiles, TensorSource
from imagebind_llm.checkpoints.trained import frozen_names
from imagebind_llm.errors import CheckpointError
from imagebind_llm.fingerprint import fingerprint_state_dict
from imagebind_llm.imagebind.config import ImageBindConfig
from imagebind_llm.imagebind.fingerprint import fingerprint
from imagebind_llm.imagebind.weights import read_config, weight_files

_LAYOUTS = ("model.safetensors", "pytorch_model.bin")
"""transformers' names of whole weight files; sharded ones have an index of that name with ``.index.json``."""


class _Lazily(Mapping[str, Tensor]):
    """Tensors that are read from disk whenever they are asked for, and not kept mapped."""

    def __init__(self, source: TensorSource, names: Iterable[str]) -> None:
        self._source = source
        self._names = list(names)
        self._lock = Lock()  # fingerprints are taken in several threads

    def __getitem__(self, name: str) -> Tensor:
        with self._lock:
            values = self._source.get(name)
            self._source.release()
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


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
    floats = [name for name, info in source.infos.items() if info.dtype.is_floating_point]
    return config, source, fingerprint(config, _Lazily(source, floats))


def language_model_fingerprint_of(source: TensorSource, skeleton: Any) -> str:
    """What :func:`~imagebind_llm.checkpoints.trained.language_model_fingerprint` gives for the loaded model.

    Args:
        source: the tensors, in transformers' layout.
        skeleton: the model on the meta device.

    Raises:
        CheckpointError: a tensor of the model is not among them.
    """
    names = frozen_names(skeleton)
    missing = [name for name in names if name not in source.infos]
    if missing:
        raise CheckpointError(
            f"{str(source.files[0].parent)!r} lacks {len(missing)} tensors of its model ({missing[0]}, …); "
            "get the folder again"
        )
    return fingerprint_state_dict(_Lazily(source, names))
