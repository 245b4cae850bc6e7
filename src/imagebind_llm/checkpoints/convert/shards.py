"""Writing safetensors a tensor at a time.

``safetensors.torch.save_file`` wants all tensors of a file in memory at once. The format is a header with
names, shapes and offsets, all known beforehand, and the raw values; so this writes the header first and then
streams, with one tensor in memory.
"""

import hashlib
import json
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from imagebind_llm.checkpoints.convert.plan import OutTensor
from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.common.finite import require_finite
from imagebind_llm.common.tensor_files import SAFETENSORS_DTYPES

_NAMES = {dtype: name for name, dtype in SAFETENSORS_DTYPES.items()}
_ALIGNMENT = 8
_CHUNK = 16 * 2**20
"""Bytes written at a time: progress moves, and a full disk is noticed early."""
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)b?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Shard:
    """A file of the result and the tensors in it."""

    name: str
    tensors: Sequence[OutTensor]

    @property
    def step(self) -> str:
        """The name without its suffix."""
        return Path(self.name).stem

    @property
    def bytes(self) -> int:
        """Size of the values, without the header."""
        return sum(tensor.bytes for tensor in self.tensors)


def parse_size(text: str) -> int:
    """``"2GB"`` → bytes.

    Raises:
        UserError: not a size, or not above 0.
    """
    found = _SIZE.fullmatch(text)
    size = int(float(found.group(1)) * _UNITS[found.group(2).lower()]) if found else 0
    if size < 1:
        raise UserError(f"{text!r} is not a size; write for example 2GB or 500MB")
    return size


def split(tensors: Sequence[OutTensor], stem: str, shard_bytes: int | None) -> list[Shard]:
    """Tensors in their order, in files of at most ``shard_bytes`` (a larger tensor has a file of its own)."""
    groups: list[list[OutTensor]] = [[]]
    size = 0
    for tensor in tensors:
        if groups[-1] and shard_bytes is not None and size + tensor.bytes > shard_bytes:
            groups.append([])
            size = 0
        groups[-1].append(tensor)
        size += tensor.bytes
    count = len(groups)
    if count == 1:
        return [Shard(f"{stem}.safetensors", groups[0])]
    return [
        Shard(f"{stem}-{number:05}-of-{count:05}.safetensors", group)
        for number, group in enumerate(groups, start=1)
    ]


def index_of(shards: Sequence[Shard]) -> str:
    """The text of ``model.safetensors.index.json``: which file holds which tensor."""
    where = {tensor.name: shard.name for shard in shards for tensor in shard.tensors}
    size = sum(shard.bytes for shard in shards)
    return json.dumps({"metadata": {"total_size": size}, "weight_map": where}, indent=2) + "\n"


def write_safetensors(
    path: Path,
    tensors: Iterable[OutTensor],
    metadata: Mapping[str, str],
    advance: Callable[[int], object] = lambda _: None,
) -> str:
    """Write a file; returns the SHA-256 of its bytes.

    Args:
        path: the file (not atomic: give it a temporary path).
        tensors: read one after another, each written before the next is read.
        metadata: of the file.
        advance: called with the number of bytes of values just written.

    Raises:
        CheckpointError: a tensor turns out to have another shape or type than announced, one that safetensors
            has no name for, or values that are no numbers.
    """
    # As safetensors itself does: wide numbers first, so that every tensor starts at a multiple of its width.
    ordered = sorted(tensors, key=lambda tensor: -tensor.info.dtype.itemsize)
    digest = hashlib.sha256()
    with open(path, "wb") as file:

        def put(data: bytes | memoryview) -> None:
            file.write(data)
            digest.update(data)

        put(_header(ordered, metadata))
        for tensor in ordered:
            values = tensor.read()
            found = (tuple(values.shape), values.dtype)
            if found != (tensor.info.shape, tensor.info.dtype):
                raise CheckpointError(
                    f"{tensor.origin} became {found[1]} {list(found[0])}, expected {tensor.info.dtype} "
                    f"{list(tensor.info.shape)}; the file changed while it was read, start again"
                )
            require_finite([(tensor.name, values)], tensor.origin)
            raw = values.contiguous().reshape(-1).view(torch.uint8).numpy()
            for start in range(0, raw.size, _CHUNK):
                part = raw[start : start + _CHUNK]
                put(part.data)
                advance(part.size)
    return digest.hexdigest()


def _header(tensors: Iterable[OutTensor], metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
    offset = 0
    for tensor in tensors:
        if tensor.info.dtype not in _NAMES:
            raise CheckpointError(
                f"{tensor.origin} has numbers of type {tensor.info.dtype}, which has no use here"
            )
        entries[tensor.name] = {
            "dtype": _NAMES[tensor.info.dtype],
            "shape": list(tensor.info.shape),
            "data_offsets": [offset, offset + tensor.bytes],
        }
        offset += tensor.bytes
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text
