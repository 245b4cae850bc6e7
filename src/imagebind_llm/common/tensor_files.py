"""Opening other people's weight files: tensors only, never code, and from disk only when asked for."""

import argparse
import pickle
import re
import struct
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from imagebind_llm.common.errors import CheckpointError, reason_of
from imagebind_llm.common.files import shard_files
from imagebind_llm.common.pickles import refuse_bombs

_LAYOUTS = ("model.safetensors", "pytorch_model.bin")
"""transformers' names of whole weight files; sharded ones have an index of that name with ``.index.json``."""

_SHOWN = 4

_WRAPPERS = ("model", "state_dict")
"""Keys under which training programs put the tensors, beside optimizer state and settings."""
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_FIRST_BYTES = 8
SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""Number types by their names in safetensors' header."""
_MOST_TENSORS = 50_000
"""In one safetensors file; published ones have some thousand."""
_DAMAGED = (
    *(RuntimeError, EOFError, OSError, struct.error, ValueError, KeyError, IndexError, TypeError),
    *(AttributeError, MemoryError, OverflowError, AssertionError, RecursionError),
)
"""What torch raises on a truncated or scrambled file, depending on where it breaks."""


@dataclass(frozen=True)
class TensorInfo:
    """What is known of a tensor before its values are read."""

    shape: tuple[int, ...]
    dtype: torch.dtype


class TensorSource(Protocol):
    """Tensors by key, in one file or several."""

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Every tensor there is."""

    @property
    def files(self) -> list[Path]:
        """Where they are."""

    def get(self, key: str) -> Tensor:
        """One tensor; it may be a view of a memory-mapped file."""

    def release(self) -> None:
        """Forget the mapped files, and with them the pages that were read."""


class TensorFile:
    """One file: a PyTorch zip (memory-mapped), an old PyTorch pickle (read whole), or safetensors.

    Raises:
        CheckpointError: no such file, damaged, of another kind, or holding anything but plain data.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise CheckpointError(f"there is no file {str(path)!r}; give a file that exists")
        self.path = path
        self._state: dict[str, Tensor] | None = None
        self._opened: Any = None
        with open(path, "rb") as file:
            first = file.read(_FIRST_BYTES)
        self._safetensors = path.suffix == ".safetensors"
        self._mapped = first.startswith(_ZIP)
        if self._safetensors:
            self._infos = self._safetensors_infos()
            return
        if not self._mapped and not first.startswith(_PICKLE):
            raise CheckpointError(
                f"{str(path)!r} is no PyTorch or safetensors file (it begins with {first!r}); download it "
                "again"
            )
        if self._mapped and not zipfile.is_zipfile(path):
            raise CheckpointError(
                f"{str(path)!r} is cut short ({path.stat().st_size} bytes); download it again"
            )
        self._infos = {
            key: TensorInfo(tuple(tensor.shape), tensor.dtype) for key, tensor in self._tensors().items()
        }

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Every tensor of the file."""
        return self._infos

    @property
    def files(self) -> list[Path]:
        """The one file."""
        return [self.path]

    def get(self, key: str) -> Tensor:
        """One tensor."""
        if self._safetensors:
            if self._opened is None:
                self._opened = safe_open(self.path, framework="pt")
            tensor: Tensor = self._opened.get_tensor(key)
            return tensor
        return self._tensors()[key]

    def release(self) -> None:
        """Unmap the file. An old pickle stays in memory: reading it again would cost more."""
        self._opened = None
        if self._mapped:
            self._state = None

    def _tensors(self) -> dict[str, Tensor]:
        if self._state is None:
            self._state = _unwrap(self._load(), self.path)
        return self._state

    def _load(self) -> Any:
        refuse_bombs(self.path, self._mapped)
        try:
            # A namespace of settings, as training programs save it, is data like a dict.
            with torch.serialization.safe_globals([argparse.Namespace]):
                return torch.load(self.path, map_location="cpu", mmap=self._mapped, weights_only=True)
        except pickle.UnpicklingError as error:
            raise _refusal(self.path, str(error)) from None
        except _DAMAGED as error:
            raise CheckpointError(
                f"{str(self.path)!r} is cut short or damaged ({reason_of(error)}); download it again"
            ) from None

    def _safetensors_infos(self) -> dict[str, TensorInfo]:
        try:
            with safe_open(self.path, framework="pt") as opened:
                if len(opened.keys()) > _MOST_TENSORS:
                    raise CheckpointError(
                        f"{str(self.path)!r} holds {len(opened.keys())} tensors, at most {_MOST_TENSORS} are "
                        "read; get it from a source you trust"
                    )
                parts = {key: opened.get_slice(key) for key in opened.keys()}  # noqa: SIM118 - not a dict
                return {
                    key: TensorInfo(tuple(part.get_shape()), SAFETENSORS_DTYPES[part.get_dtype()])
                    for key, part in parts.items()
                }
        except KeyError as error:
            raise CheckpointError(
                f"{str(self.path)!r} holds numbers of type {error}, which has no use here"
            ) from None
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{str(self.path)!r} is cut short or damaged ({error}); download it again"
            ) from None


class TensorFiles:
    """Several files that hold different tensors of one model.

    Raises:
        CheckpointError: as :class:`TensorFile`, or a tensor that is in two of them.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._parts = [TensorFile(path) for path in paths]
        self._where: dict[str, TensorFile] = {}
        for part in self._parts:
            for key in part.infos:
                if key in self._where:
                    raise CheckpointError(
                        f"{key} is in both {self._where[key].path.name} and {part.path.name}; "
                        "leave only the files of one model in the folder"
                    )
                self._where[key] = part

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Every tensor of every file."""
        return {key: part.infos[key] for key, part in self._where.items()}

    @property
    def files(self) -> list[Path]:
        """All of them."""
        return [part.path for part in self._parts]

    def get(self, key: str) -> Tensor:
        """One tensor."""
        return self._where[key].get(key)

    def release(self) -> None:
        """Unmap all files."""
        for part in self._parts:
            part.release()


class HeldTensors:
    """Tensors by name that are in memory, or mapped, already."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Every tensor."""
        return {key: TensorInfo(tuple(value.shape), value.dtype) for key, value in self._tensors.items()}

    @property
    def files(self) -> list[Path]:
        """None."""
        return []

    def get(self, key: str) -> Tensor:
        """One tensor."""
        return self._tensors[key]

    def release(self) -> None:
        """Nothing to forget."""


class TensorsBelow:
    """The tensors of ``source`` whose names begin with ``prefix``, without it."""

    def __init__(self, source: TensorSource, prefix: str) -> None:
        self._source = source
        self._prefix = prefix
        self._infos = {
            key.removeprefix(prefix): info for key, info in source.infos.items() if key.startswith(prefix)
        }

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Those tensors."""
        return self._infos

    @property
    def files(self) -> list[Path]:
        """All files, also those that hold other tensors only."""
        return self._source.files

    def get(self, key: str) -> Tensor:
        """One tensor."""
        return self._source.get(self._prefix + key)

    def release(self) -> None:
        """Unmap all files."""
        self._source.release()


def on_meta(infos: Mapping[str, TensorInfo]) -> dict[str, Tensor]:
    """Tensors without values, for code that asks for shapes and number types."""
    return {key: torch.empty(info.shape, dtype=info.dtype, device="meta") for key, info in infos.items()}


def _unwrap(loaded: Any, path: Path) -> dict[str, Tensor]:
    """The mapping of tensors in what a file holds."""
    for name in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            loaded = loaded[name]
            break
    if not isinstance(loaded, Mapping) or not loaded:
        raise CheckpointError(
            f"{str(path)!r} holds {_kind(loaded)}; expected tensors by name, as state_dict() gives them"
        )
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{str(path)!r} holds {_kind(value)} under {key!r}; expected tensors by name only"
            )
    return {key: value.detach() for key, value in loaded.items()}


def _kind(value: Any) -> str:
    return "nothing" if isinstance(value, Mapping) and not value else f"a {type(value).__name__}"


def _refusal(path: Path, message: str) -> CheckpointError:
    """What torch's restricted unpickler says, in one line."""
    found = re.search(r"(?:GLOBAL|global|function|class) `?([A-Za-z_][\w.]*\.[\w.]+)", message)
    if found is None and "ersistent" not in message and "nsupported" not in message:
        return CheckpointError(f"{str(path)!r} is cut short or damaged; download it again")
    what = f" ({found.group(1)})" if found else ""
    return CheckpointError(
        f"{str(path)!r} holds code{what}, not only tensors; opening it could run anything, so it was "
        "refused: get the weights from a source you trust, as a plain state dict or as safetensors"
    )


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
            return TensorFiles(shard_files(index))
    raise CheckpointError(f"{str(folder)!r} has no weights ({' or '.join(_LAYOUTS)}); give a model folder")


def require_same_keys(expected: Iterable[str], found: Iterable[str], what: str) -> None:
    """Check two sets of keys for equality.

    Raises:
        CheckpointError: they differ; the message names some of the missing and of the unexpected keys.
    """
    wanted, given = set(expected), set(found)
    if wanted == given:
        return
    parts = [
        f"{len(names)} {kind} ({_some(names)})"
        for kind, names in (("missing", wanted - given), ("unexpected", given - wanted))
        if names
    ]
    raise CheckpointError(
        f"{what} does not hold exactly the {len(wanted)} expected tensors: {', '.join(parts)}; "
        "check that the file is complete and made for this configuration"
    )


def require_same_shapes(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], what: str) -> None:
    """Check the shapes of tensors that both sides have, and that whole numbers are where they should be.

    Raises:
        CheckpointError: naming the first tensors that differ, with both shapes, or the first number type.
    """
    wrong = [
        f"{key} {list(found[key].shape)} instead of {list(expected[key].shape)}"
        for key in sorted(expected.keys() & found.keys())
        if expected[key].shape != found[key].shape
    ]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise CheckpointError(
            f"{what} has tensors of other shapes: {'; '.join(wrong[:_SHOWN])}{more}; "
            "check that it was made for a model of these sizes"
        )
    for key in sorted(expected.keys() & found.keys()):
        if expected[key].is_floating_point() != found[key].is_floating_point():
            raise CheckpointError(
                f"{what} has a tensor of another number type: {key} {found[key].dtype} instead of "
                f"{expected[key].dtype}; check that it was made for a model of this kind"
            )


def _some(names: set[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    return ", ".join(shown) + (", …" if len(names) > _SHOWN else "")


def tensors_below(folder: Path, prefix: str) -> dict[str, Tensor]:
    """Tensors of a whole model whose name begins with ``prefix``, without it.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    source = TensorsBelow(weights_of(folder), prefix)
    return {name: source.get(name) for name in source.infos}
