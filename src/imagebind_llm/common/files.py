"""Files: written whole or not at all, locked, hashed, read as JSON. No torch."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import CheckpointError, DiskFullError, UserError, one_line
from imagebind_llm.common.json_text import parse_json
from imagebind_llm.common.leftovers import sweep, temporary_file
from imagebind_llm.common.text_files import decode_text

_BLOCK = 2**22
_MARGIN = 64 * 2**20
"""Bytes left free beyond what is counted: headers, configuration, tokenizer."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_WORDS = re.compile(
    "|".join(
        [
            *(re.escape(os.strerror(number)) for number in _FULL),
            *(rf"os error {number}\b" for number in _FULL),
            r"^\d+ requested and \d+ written$",  # numpy's ndarray.tofile
        ]
    )
)


_swept: set[Path] = set()
"""Folders that this process has looked through for what killed ones left."""


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: int = 0o644) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it replaces ``path``, on error it is removed.

    Args:
        mode: who may read it in the end; until then only its owner may.

    Raises:
        OSError: it cannot be written; names ``path``, not the temporary one.
        DiskFullError: there was no room.
        UserError: ``path`` is a device or a pipe.
    """
    target = Path(path)
    if target.exists() and not target.is_file() and not target.is_dir():
        raise UserError(f"{str(target)!r} is a device or a pipe; give the name of a file")
    with full_disk_in_one_line(target), ExitStack() as stack:
        with _blaming(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if (folder := target.parent.absolute()) not in _swept:
                _swept.add(folder)
                sweep(folder)
            temporary = stack.enter_context(temporary_file(target))
        yield temporary
        with _blaming(target):
            sync(temporary)
            temporary.chmod(mode)
            os.replace(temporary, target)
            sync(target.parent)


def sha256(path: Path, advance: Callable[[int], object] = lambda _: None) -> str:
    """64 hex digits of a file of any size; ``advance`` is called with the number of bytes just read."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()


SUMS_FILE = "SHA256SUMS"
"""In the format of ``sha256sum``, which checks it too."""


def write_sums(folder: Path) -> None:
    """Record the SHA-256 of every file in ``folder`` (not of those below it) in ``SHA256SUMS`` there."""
    names = sorted(file.name for file in folder.iterdir() if file.is_file() and file.name != SUMS_FILE)
    lines = [f"{sha256(folder / name)}  {name}\n" for name in names]
    (folder / SUMS_FILE).write_text("".join(lines), encoding="utf-8")


def check_sums(folder: Path, *names: str) -> None:
    """Compare files of ``folder`` with what :func:`write_sums` recorded.

    Raises:
        ValueError: what differs, or that nothing is recorded, in a few words.
    """
    try:
        lines = (folder / SUMS_FILE).read_text(encoding="utf-8").splitlines()
        recorded = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        for name in names:
            if recorded.get(name) != sha256(folder / name):
                raise ValueError(f"{name} is not what was written, by its SHA-256 in {SUMS_FILE}")
    except OSError as error:
        raise ValueError(f"{Path(error.filename or folder).name}: {error.strerror}") from None


_LARGEST_JSON = 256 * 2**20
"""Bytes. The largest that are read here are lists of one name a picture, some tens of megabytes."""
_MOST_VALUES = 20_000_000
"""Values in one file: as many pictures have names."""


def load_json(path: Path) -> Any:
    """Any value in a JSON file: UTF-8, perhaps with a byte-order mark; strictly JSON.

    Raises:
        ValueError: what is wrong with its text, in a few words (see :func:`parse_json`).
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if size > _LARGEST_JSON:
        raise ValueError(f"it has {gigabytes(size)}, {gigabytes(_LARGEST_JSON)} are read at most")
    return parse_json(decode_text(path.read_bytes()), _MOST_VALUES)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a model folder; see :func:`load_json`.

    Raises:
        CheckpointError: no such file, not JSON, or not an object.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no file {str(path)!r}; give a file that exists")
    try:
        values = load_json(path)
    except ValueError as error:
        raise CheckpointError(f"{str(path)!r} is not JSON ({error}); get the file again") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{str(path)!r} holds a {type(values).__name__}; expected an object")
    return values


def shard_files(index: Path) -> list[Path]:
    """The weight files that a ``….safetensors.index.json`` lists, beside it (they need not be there).

    Raises:
        CheckpointError: it is no such index, or it names files elsewhere.
    """
    try:
        places = load_json(index)["weight_map"]
        names = sorted({_plain(name) for name in places.values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{str(index)!r} is damaged ({error}); get the file again") from None
    return [index.parent / name for name in names]


def _plain(name: str) -> str:
    if Path(name).name != name or name in ("", "..") or "\0" in name:
        raise ValueError(f"it names {one_line(name, 60)!r}; expected files beside it, by their names alone")
    return name


def write_json(path: Path, values: Any) -> None:
    """Write plain values as a JSON file, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


@contextmanager
def locked(lock: Path, refusal: UserError | None = None) -> Iterator[None]:
    """Hold ``lock`` while inside. The file is made if absent, and stays; the system frees it if we die.

    Args:
        refusal: raised if another process holds it. None: wait for that one.
    """
    from filelock import FileLock, Timeout

    file = FileLock(lock, timeout=-1 if refusal is None else 0)
    try:
        file.acquire()
    except Timeout:
        assert refusal is not None, "without it there is no end of waiting"
        raise refusal from None
    try:
        yield
    finally:
        file.release()


@contextmanager
def alone(place: Path, refusal: UserError) -> Iterator[None]:
    """Be the only process that makes ``place``, which need not be there. The lock lies beside it meanwhile.

    Args:
        refusal: raised if another process makes it.
    """
    place = place.absolute()
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = place.parent / f".{place.name}.imagebind-llm-building.lock"  # a name that sweep() knows
    with locked(lock, refusal):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def require_space(folder: Path, need: int, what: str) -> None:
    """Make sure that ``need`` more bytes fit below ``folder``, which need not exist yet.

    Raises:
        CheckpointError: naming both sizes.
    """
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if need + _MARGIN > free:
        raise CheckpointError(
            f"{what} needs {gigabytes(need)}, but the disk of {str(folder)!r} has {gigabytes(free)} free; "
            "make room, or choose a place on another disk"
        )


@contextmanager
def full_disk_in_one_line(place: Path) -> Iterator[None]:
    """Turn what a full disk (or quota) makes of writing ``place`` into a user's error.

    Raises:
        DiskFullError: there was no room.
    """
    try:
        yield
    except Exception as error:
        if not is_full_disk(error):
            raise
        raise DiskFullError(
            f"the disk of {str(place)!r} is full, or the file would be larger than allowed; nothing was "
            "written there: make room and try again"
        ) from None


def is_full_disk(error: Exception) -> bool:
    """Whether a write failed for want of room: also as safetensors, faiss, numpy and tokenizers put it."""
    if isinstance(error, UserError):
        return isinstance(error, DiskFullError)
    number = error.errno if isinstance(error, OSError) else None
    return number in _FULL or bool(_FULL_WORDS.search(str(error)))


def printable_name(name: str) -> str:
    """A file's name as text that any table holds: bytes that are not UTF-8 come as ``\\xe9``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def gigabytes(count: int) -> str:
    """A number of bytes for people: ``13.5 GB``, ``4 MB``, ``127 bytes``."""
    if count >= 10**8:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.1f} MB" if count >= 10**5 else f"{count} bytes"


@contextmanager
def _blaming(target: Path) -> Iterator[None]:
    """Let an error of the system name the file that the user asked for."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(target), None
        raise


def sync(path: Path) -> None:
    """Force a file or directory to disk, so that a rename never survives a crash that its content did not."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
