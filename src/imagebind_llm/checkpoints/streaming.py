"""Fingerprints of parts that lie in files, read one tensor after another: no part is ever held whole."""

import json
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import TYPE_CHECKING

from torch import Tensor, nn

from imagebind_llm.checkpoints.trained import frozen_names
from imagebind_llm.errors import CheckpointError
from imagebind_llm.fingerprint import fingerprint_state_dict

if TYPE_CHECKING:
    from imagebind_llm.checkpoints.convert.reading import TensorSource
    from imagebind_llm.imagebind.config import ImageBindConfig


class StreamedTensors(Mapping[str, Tensor]):
    """Tensors that are read from disk whenever they are asked for, and whose file is not kept mapped.

    Whoever keeps what it gets keeps a mapping of the whole file, with all pages that were read through it; so
    ask for one, use it, let it go.

    Args:
        source: the files.
        names: name here → name there.
    """

    def __init__(self, source: "TensorSource", names: Mapping[str, str]) -> None:
        self._source = source
        self._names = dict(names)
        self._lock = Lock()  # fingerprints are taken in several threads

    def __getitem__(self, name: str) -> Tensor:
        with self._lock:
            values = self._source.get(self._names[name])
            self._source.release()
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def language_model_fingerprint_of(source: "TensorSource", skeleton: nn.Module) -> str:
    """What :func:`~imagebind_llm.checkpoints.trained.language_model_fingerprint` gives for the loaded model.

    Args:
        source: the tensors, in transformers' layout.
        skeleton: the model on the meta device; a tensor that has two names in it may be stored under either.

    Raises:
        CheckpointError: a tensor of the model is not among them.
    """
    state, infos = skeleton.state_dict(keep_vars=True), source.infos
    stored = {id(tensor): name for name, tensor in state.items() if name in infos}
    frozen = frozen_names(skeleton)
    missing = [name for name in frozen if id(state[name]) not in stored]
    if missing:
        raise CheckpointError(
            f"{str(source.files[0].parent)!r} lacks {len(missing)} tensors of its model ({missing[0]}, …); "
            "get the folder again"
        )
    names = {name.replace(".base_layer.", "."): stored[id(state[name])] for name in frozen}
    return fingerprint_state_dict(StreamedTensors(source, names))


def imagebind_fingerprint_of(config: "ImageBindConfig", source: "TensorSource") -> str:
    """What :func:`imagebind_llm.imagebind.fingerprint.fingerprint` gives for the loaded encoder.

    That function looks at each tensor before it hashes the first, and so would hold them all; here the
    headers tell which of them count.

    Args:
        config: of the encoder.
        source: its tensors.
    """
    floats = {name: name for name, info in source.infos.items() if info.dtype.is_floating_point}
    return fingerprint_state_dict(
        StreamedTensors(source, floats), header=json.dumps(config.to_dict(), sort_keys=True)
    )
