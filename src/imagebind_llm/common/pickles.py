"""Looking at a PyTorch file before its pickle is run: what torch writes is short, and not compressed."""

import pickletools
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from imagebind_llm.common.errors import CheckpointError

MOST_OPERATIONS = 500_000
"""Of the pickles of a file. A state dict has some thirty a tensor; half a million run for a second."""
MOST_PICKLE_BYTES = 32 * 2**20
MOST_IN_A_VALUE = 1_000_000
"""Values inside of one value that may be a dictionary's key. A tensor has some twenty."""
DEEPEST = 64
"""Such values inside of each other."""
MOST_MEMBERS = 200_000
"""Of a zip file: torch writes one a tensor, and a few more."""
_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How a file of before PyTorch 1.6 begins: a pickle of torch's magic number."""
_PICKLES = 5
"""In such a file: magic number, version, machine, the object, the keys of its storages. Raw values follow."""


def refuse_bombs(path: Path, zipped: bool) -> None:
    """Make sure that opening a PyTorch file takes the time and memory that its size lets one expect.

    What is merely damaged passes: torch says so.

    Args:
        path: the file.
        zipped: whether it is a zip file (since PyTorch 1.6), or a pickle.

    Raises:
        CheckpointError: compressed members, or pickles that are longer than any state dict's.
    """
    if not zipped:
        with open(path, "rb") as file:
            count = _PICKLES if file.read(len(_MAGIC)) == _MAGIC else 1
            file.seek(0)
            _scan(file, count, path)
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MOST_MEMBERS:
                raise _refusal(path, f"{len(members)} members")
            for member in members:
                if member.compress_type != zipfile.ZIP_STORED:
                    raise _refusal(path, "compressed members")
                if member.filename.endswith(".pkl"):
                    if member.file_size > MOST_PICKLE_BYTES:
                        raise _refusal(path, f"a pickle of {member.file_size} bytes")
                    with archive.open(member) as file:
                        _scan(file, 1, path)
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, EOFError, NotImplementedError):
        return


def _scan(file: IO[bytes], pickles: int, path: Path) -> None:
    """Count the operations of so many pickles, one after the other, and measure their tuples."""
    operations = 0
    for _ in range(pickles):
        measured = _Values()
        try:
            for operation, argument, _ in pickletools.genops(file):
                operations += 1
                if operations > MOST_OPERATIONS:
                    raise _refusal(path, f"a pickle of more than {MOST_OPERATIONS} operations")
                size, depth = measured.after(operation, argument)
                if size > MOST_IN_A_VALUE or depth > DEEPEST:
                    raise _refusal(path, "a pickle of values nested in each other over and over")
        except (ValueError, UnicodeDecodeError, OverflowError, IndexError, KeyError):
            return


class _Values:
    """The stack of a pickle: of each value its size and depth, written out as they are hashed.

    A tuple of two that are the same tuple of two, and so on, is short in a pickle, but Python hashes it (as a
    dictionary's key) in a time that doubles with each.
    """

    def __init__(self) -> None:
        self._stack: list[tuple[int, int] | None] = []
        self._memo: dict[int, tuple[int, int] | None] = {}

    def after(self, operation: Any, argument: Any) -> tuple[int, int]:
        """Do one operation; returns size and depth of what it made.

        Raises:
            IndexError: there is too little on the stack.
            KeyError: the memo has no such value.
        """
        name = operation.name
        if name == "MARK":
            self._stack.append(None)
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._stack[-1]
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif name == "DUP":
            self._stack.append(self._stack[-1])
        elif name == "POP":
            self._stack.pop()
        else:
            taken = self._taken(operation.stack_before)
            grows = name.startswith("TUPLE") or name in (
                "FROZENSET",
                "REDUCE",
                "NEWOBJ",
                "NEWOBJ_EX",
                "BINPERSID",
            )
            made = (
                1 + sum(size for size, _ in taken) if grows else max((size for size, _ in taken), default=1),
                max((depth for _, depth in taken), default=0) + grows,
            )
            self._stack.extend([made] * len(operation.stack_after))
            return made
        return 0, 0

    def _taken(self, wanted: Sequence[Any]) -> list[tuple[int, int]]:
        """What an operation takes off the stack."""
        taken = []
        if pickletools.markobject in wanted:
            while (value := self._stack.pop()) is not None:
                taken.append(value)
            wanted = wanted[: wanted.index(pickletools.markobject)]
        taken += [value for _ in wanted if (value := self._stack.pop()) is not None]
        return taken


def _refusal(path: Path, found: str) -> CheckpointError:
    return CheckpointError(
        f"{str(path)!r} holds {found}, which torch.save never writes for weights; get them from a source you "
        "trust"
    )
