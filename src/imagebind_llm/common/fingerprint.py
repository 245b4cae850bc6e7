"""Telling weights apart: a short hash that travels with everything made for them."""

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from imagebind_llm.common.tensor_files import TensorSource


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


_HEX_CHARACTERS = 16


def fingerprint_state_dict(state: Mapping[str, Tensor], header: str = "") -> str:
    """Hash names, shapes and values of ``state`` into 16 hex characters, whatever the order of the keys.

    Floating-point tensors are hashed as float16, so a model stored in half precision and loaded in float32
    keeps its fingerprint. Each tensor is hashed on its own, several at a time (hashing releases the
    interpreter lock).

    Args:
        state: tensors on any device; meta tensors have no values and are refused.
        header: more text that tells two models apart, for example a configuration as sorted JSON.

    Raises:
        ValueError: a tensor is on the meta device.
    """
    names = sorted(state)
    with ThreadPoolExecutor(max_workers=4) as pool:
        digests = list(pool.map(lambda name: _digest(name, state[name]), names))
    return hashlib.sha256(header.encode() + b"".join(digests)).hexdigest()[:_HEX_CHARACTERS]


def _digest(name: str, tensor: Tensor) -> bytes:
    if tensor.is_meta:
        raise ValueError(f"tensor {name!r} is on the meta device and has no values to fingerprint")
    values = tensor.detach()
    if values.is_floating_point():
        values = values.to(torch.float16)
    values = values.cpu().contiguous()
    digest = hashlib.sha256(f"{name}\0{tuple(values.shape)}\0{values.dtype}\0".encode())
    digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()
