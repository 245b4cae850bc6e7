"""CTranslate2's ``model.bin``, read strictly: every byte is accounted for, and nothing is guessed.

The format is that of ``ModelSpec._serialize`` in CTranslate2's ``specs/model_spec.py``, binary version 6,
little endian. Strings are a 16-bit length (with a closing zero byte) and UTF-8::

    uint32 version, string name, uint32 revision
    uint32 number of variables, of each: string name, uint8 rank, rank x uint32 sides, uint8 number type,
                                         uint32 bytes, the values
    uint32 number of aliases,   of each: string alias, string variable
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from imagebind_llm.common.errors import CheckpointError, one_line
from imagebind_llm.common.tensor_files import TensorInfo

VERSION = 6
"""``CURRENT_BINARY_VERSION`` of CTranslate2 2 to 4. Earlier ones state sizes otherwise."""
_TYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)
"""By number: the order of the enum ``DataType`` in CTranslate2's ``types.h``."""
_MOST_VARIABLES = 20_000
"""Whisper large, the largest of its models, has some 1,300."""
_MOST_RANK = 8


@dataclass(frozen=True)
class _Place:
    info: TensorInfo
    start: int


class CTranslate2File:
    """The variables of a ``model.bin``, memory-mapped.

    Attributes:
        path: the file.
        name: of the model's specification, for example ``"WhisperSpec"``.
        revision: of that specification.
        aliases: name → the variable that it stands for.

    Raises:
        CheckpointError: no such file, of another version, cut short, too long, or contradicting itself.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise CheckpointError(f"there is no file {str(path)!r}; give a file that exists")
        self._map: mmap.mmap | None = None
        with open(path, "rb") as file:
            self._size = file.seek(0, 2)
        self._at = 0
        self._places: dict[str, _Place] = {}
        version = self._number("I")
        if version != VERSION:
            raise self._wrong(f"binary version {version}", f"{VERSION}")
        self.name = self._string()
        self.revision = self._number("I")
        for _ in range(self._count()):
            self._variable()
        self.aliases: dict[str, str] = {}
        for _ in range(self._count()):
            alias, variable = self._string(), self._string()
            if alias in self._places or alias in self.aliases or variable not in self._places:
                raise self._wrong(f"the alias {alias!r} of {variable!r}", "a new name of a variable")
            self.aliases[alias] = variable
        if self._at != self._size:
            raise self._wrong(f"{self._size - self._at} bytes after the last alias", "none")

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Every variable; aliases are not among them."""
        return {name: place.info for name, place in self._places.items()}

    @property
    def files(self) -> list[Path]:
        """The one file."""
        return [self.path]

    def get(self, key: str) -> Tensor:
        """One variable, a copy."""
        place = self._places[key]
        count = _bytes(place.info)
        raw = bytearray(self._bytes()[place.start : place.start + count])
        return torch.frombuffer(raw, dtype=place.info.dtype).reshape(place.info.shape)

    def release(self) -> None:
        """Unmap the file."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def _bytes(self) -> mmap.mmap:
        if self._map is None:
            if self._size == 0:
                raise self._wrong("nothing", "a model")
            with open(self.path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._map

    def _take(self, count: int) -> bytes:
        if self._at + count > self._size:
            raise self._wrong(f"{self._size} bytes", f"at least {self._at + count}: it is cut short")
        self._at += count
        return self._bytes()[self._at - count : self._at]

    def _number(self, kind: str) -> int:
        value: int = struct.unpack(f"<{kind}", self._take(struct.calcsize(kind)))[0]
        return value

    def _count(self) -> int:
        count = self._number("I")
        if count > _MOST_VARIABLES:
            raise self._wrong(f"{count:,} variables or aliases", f"{_MOST_VARIABLES:,} at most")
        return count

    def _string(self) -> str:
        raw = self._take(self._number("H"))
        text, zero, rest = raw.partition(b"\0")
        try:
            found = text.decode("utf-8")
        except UnicodeDecodeError:
            found = ""
        if zero != b"\0" or rest or not found:
            raise self._wrong(f"the name {one_line(raw, 40)}", "UTF-8 with a zero byte at its end")
        return found

    def _variable(self) -> None:
        name = self._string()
        if name in self._places:
            raise self._wrong(f"the variable {name!r} twice", "once")
        rank = self._number("B")
        if rank > _MOST_RANK:
            raise self._wrong(f"{rank} dimensions of {name!r}", f"{_MOST_RANK} at most")
        shape = tuple(self._number("I") for _ in range(rank))
        number = self._number("B")
        if number >= len(_TYPES):
            raise self._wrong(f"number type {number} of {name!r}", f"0 to {len(_TYPES) - 1}")
        info, size = TensorInfo(shape, _TYPES[number]), self._number("I")
        if 0 in shape or _bytes(info) != size:
            raise self._wrong(f"{size} bytes of {name!r}", f"{_bytes(info)} for {list(shape)}, above 0")
        self._places[name] = _Place(info, self._at)
        if self._at + size > self._size:
            raise self._wrong(f"{self._size} bytes", f"at least {self._at + size}: it is cut short")
        self._at += size

    def _wrong(self, found: str, expected: str) -> CheckpointError:
        self.release()
        return CheckpointError(
            f"{str(self.path)!r} as a CTranslate2 model has {found}; expected {expected}; get it again, "
            "or convert the model anew"
        )


def _bytes(info: TensorInfo) -> int:
    count = info.dtype.itemsize
    for side in info.shape:
        count *= side
    return count
