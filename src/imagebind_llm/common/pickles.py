"""Looking at a PyTorch file before its pickle is run: what torch writes is short, and not compressed."""

import pickletools
import zipfile
from pathlib import Path
from typing import IO

from imagebind_llm.common.errors import CheckpointError

MOST_OPERATIONS = 500_000
"""Of the pickles of a file. A state dict has some thirty a tensor; half a million run for a second."""
MOST_PICKLE_BYTES = 32 * 2**20
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
    """Count the operations of so many pickles, one after the other."""
    operations = 0
    for _ in range(pickles):
        try:
            for _ in pickletools.genops(file):
                operations += 1
                if operations > MOST_OPERATIONS:
                    raise _refusal(path, f"a pickle of more than {MOST_OPERATIONS} operations")
        except (ValueError, UnicodeDecodeError, OverflowError):
            return


def _refusal(path: Path, found: str) -> CheckpointError:
    return CheckpointError(
        f"{str(path)!r} holds {found}, which torch.save never writes for weights; get them from a source you "
        "trust"
    )
