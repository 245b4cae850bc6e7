"""Taking files out of packages: Debian's ``.deb``, npm's ``.tgz``, PyPI's wheels, zip files. Nothing is run.

Only plain files whose path stays below the folder are written. Links are left out; what they point to is in
the archive under its own name.
"""

import io
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from imagebind_llm.common.errors import UserError, one_line, reason_of

MOST_FILES = 100_000
MOST_BYTES = 4 * 2**30
"""Of all files of an archive together, unpacked."""
_AR_START = b"!<arch>\n"
_AR_HEADER = 60
_PACKINGS = {"data.tar": "", "data.tar.xz": "xz", "data.tar.gz": "gz", "data.tar.bz2": "bz2"}
_BLOCK = 2**20
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What the readers of archives raise."""


def unpack(archive: Path, folder: Path, wanted: Sequence[str]) -> int:
    """Write files of ``archive`` below ``folder``.

    Args:
        archive: a ``.deb``, ``.tgz``, or any zip file (``.whl``, ``.sh3f``).
        folder: made if it is not there.
        wanted: patterns of paths in the archive; ``*`` stands for slashes too.

    Returns:
        How many files were written.

    Raises:
        UserError: the archive is damaged, packed in an unknown way, larger than allowed, or one of its paths
            leads out of it.
    """
    count, room = 0, MOST_BYTES
    try:
        with _open(archive) as members:
            for number, (name, size, stream) in enumerate(members):
                if number >= MOST_FILES:
                    raise _refusal(archive, f"more than {MOST_FILES:,} files")
                path = _inside(archive, name)
                if stream is None or not any(fnmatchcase(path.as_posix(), pattern) for pattern in wanted):
                    continue
                room -= size
                if room < 0:
                    raise _refusal(archive, f"more than {MOST_BYTES / 2**30:.0f} GiB")
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, "xb") as out:
                    _copy(stream, out, size, archive)
                count += 1
    except FileExistsError:
        raise _damaged(archive, "a path twice") from None
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the archive's
        raise _damaged(archive, reason_of(error)) from None
    return count


Members = Iterator[tuple[str, int, IO[bytes] | None]]
"""Path, bytes and content of each member; no content: it is a folder, a link or a device."""


@contextmanager
def _open(archive: Path) -> Iterator[Members]:
    if archive.suffix == ".deb":
        with open(archive, "rb") as file:
            stream, packing = _data_of_deb(archive, file)
            with tarfile.open(fileobj=stream, mode=f"r|{packing}") as tar:  # type: ignore[call-overload]
                yield _tar_members(tar)
    elif archive.suffix == ".tgz":
        with tarfile.open(archive, mode="r|gz") as tar:
            yield _tar_members(tar)
    else:
        with zipfile.ZipFile(archive) as zipped:
            yield _zip_members(zipped)


def _tar_members(tar: tarfile.TarFile) -> Members:
    for member in tar:
        yield member.name, member.size, tar.extractfile(member) if member.isreg() else None


def _zip_members(zipped: zipfile.ZipFile) -> Members:
    for member in zipped.infolist():
        if member.is_dir() or (member.external_attr >> 28) not in (0, 8):  # 8: a plain file, as stat says
            yield member.filename, 0, None
            continue
        with zipped.open(member) as stream:
            yield member.filename, member.file_size, stream


class _Part:
    """The next ``size`` bytes of a file, to be read once from start to end."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data


def _data_of_deb(archive: Path, file: IO[bytes]) -> tuple[_Part, str]:
    """The tar file of a Debian package's content, and how it is packed.

    A ``.deb`` is an ``ar`` archive: after the first line, of each member 60 bytes of text (name 16, …, size
    10 from byte 48) and its content, padded to an even length.
    """
    if file.read(len(_AR_START)) != _AR_START:
        raise _refusal(archive, "something else than a Debian package")
    while len(header := file.read(_AR_HEADER)) == _AR_HEADER:
        name = header[:16].decode("ascii", "replace").strip().rstrip("/")
        size = int(header[48:58])
        if size < 0:
            raise _refusal(archive, f"a part of {size} bytes")
        if name in _PACKINGS:
            return _Part(file, size), _PACKINGS[name]
        if name.startswith("data.tar"):
            raise UserError(
                f"{str(archive)!r} is packed as {name}, which is not read here; get a release of the package "
                "that is packed with xz"
            )
        file.seek(size + size % 2, io.SEEK_CUR)
    raise _refusal(archive, "no data")


def _inside(archive: Path, name: str) -> PurePosixPath:
    """The path of a member, below the archive's root.

    Raises:
        UserError: it leads elsewhere.
    """
    path = PurePosixPath(name)
    windows = PureWindowsPath(name)
    if ".." in windows.parts or path.is_absolute() or windows.drive or "\\" in name or "\0" in name:
        raise _refusal(archive, f"the path {one_line(name, 60)!r}, which leads out of it")
    return path


def _copy(stream: IO[bytes], out: IO[bytes], size: int, archive: Path) -> None:
    """Copy exactly ``size`` bytes: what a header says is what counts towards the limit."""
    left = size
    while left and (block := stream.read(min(left, _BLOCK))):
        out.write(block)
        left -= len(block)
    if left or stream.read(1):
        raise _refusal(archive, "a file of another size than it says")


def _refusal(archive: Path, found: str) -> UserError:
    return UserError(
        f"{str(archive)!r} holds {found}; it is not unpacked: delete it, and see where it came from"
    )


def _damaged(archive: Path, reason: str) -> UserError:
    return UserError(f"{str(archive)!r} is damaged ({reason}); delete it and fetch again")


def take(pattern: str, root: Path, to: Path) -> list[Path]:
    """Copy the files below ``root`` whose path matches ``pattern`` into the folder ``to``, by their names."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    found = [path for path in files if fnmatchcase(path.relative_to(root).as_posix(), pattern)]
    for path in found:
        to.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to / path.name)
    return found
