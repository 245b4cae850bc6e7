"""Uploaded files: each belongs to the key that sent it, and is gone after a while.

They lie under random names in a folder of this process that only its user can read; what a client calls its
file is told back and never used as a path. The folder goes with the process; what a killed one left goes
with the next.
"""

import asyncio
import builtins
import contextlib
import os
import secrets
import time
import weakref
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from imagebind_llm.common.errors import UserError, one_line
from imagebind_llm.common.files import gigabytes, is_full_disk
from imagebind_llm.common.leftovers import sweep, temporary_folder

PER_FILE = 512 * 2**20
"""Bytes; as the Files API of OpenAI allows."""
PER_KEY = 4 * 2**30
"""Bytes of all files of one key. Chosen: eight of the largest."""
LIFETIME = 24 * 3600.0
"""Seconds. Chosen: a working day and a night."""
MOST_FILES = 1000
"""Of one key, so that empty ones do not fill memory."""
_LONGEST_NAME = 255
"""Characters of a file's name; as file systems allow."""


class UploadRefusedError(UserError):
    """A file that is not taken: too large, one too many, or there is no room for it."""


class NoUploadError(UserError):
    """No such file, or another key's: nobody can tell which."""


@dataclass(frozen=True)
class Upload:
    """A file that was taken. Times are seconds since 1970."""

    id: str
    owner: str
    filename: str
    purpose: str
    size: int
    created: float
    expires: float

    def as_object(self) -> dict[str, Any]:
        """As OpenAI's API tells of a file."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.size,
            "created_at": int(self.created),
            "expires_at": int(self.expires),
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        }


class Uploads:
    """The files of all keys, for one event loop.

    Args:
        folder: where the process's own folder is made.
        per_file: bytes of one file.
        per_key_total: bytes of all files of one key, with those that are being sent.
        lifetime: seconds.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        folder: Path,
        per_file: int = PER_FILE,
        per_key_total: int = PER_KEY,
        lifetime: float = LIFETIME,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._per_file, self._per_key, self._lifetime, self._clock = per_file, per_key_total, lifetime, clock
        self._files: dict[str, Upload] = {}
        self._used: dict[str, builtins.list[int]] = {}
        """Bytes and files of each key."""
        stack = contextlib.ExitStack()
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        self.folder = stack.enter_context(temporary_folder(folder / "uploads"))
        self.folder.chmod(0o700)
        self.close = weakref.finalize(self, stack.close)
        """Remove all files; also called when the process ends."""

    async def add(self, owner: str, filename: str, purpose: str, blocks: AsyncIterator[bytes]) -> Upload:
        """Take a file, block by block.

        Raises:
            UploadRefusedError: it is too large, or there is no room.
        """
        self.sweep()
        used = self._used.setdefault(owner, [0, 0])
        if used[1] >= MOST_FILES:
            raise UploadRefusedError(f"this key has {MOST_FILES} files; delete some first")
        name, size, taken = f"file-{secrets.token_hex(16)}", 0, False
        path = self.folder / name
        used[1] += 1
        try:
            with open(path, "xb", opener=_private) as file:
                async for block in blocks:
                    size += len(block)
                    used[0] += len(block)
                    self._check(size, used[0])
                    await asyncio.to_thread(file.write, block)
            now = self._clock()
            upload = Upload(name, owner, _plain(filename), purpose, size, now, now + self._lifetime)
            self._files[name] = upload
            taken = True
            return upload
        except OSError as error:
            if not is_full_disk(error):
                raise
            raise UploadRefusedError("the server has no room for the file; try again later") from None
        finally:
            if not taken:
                path.unlink(missing_ok=True)
                self._release(owner, size)

    def get(self, owner: str, name: str) -> Upload:
        """What is known of a file.

        Raises:
            NoUploadError: the key has no such file (any more).
        """
        self.sweep()
        found = self._files.get(name)
        if found is None or found.owner != owner:
            raise NoUploadError(
                f"there is no file {one_line(name, 60)!r}; it may have expired: send it again"
            )
        return found

    def list(self, owner: str) -> builtins.list[Upload]:
        """The files of a key, newest first."""
        self.sweep()
        return [upload for upload in reversed(self._files.values()) if upload.owner == owner]

    def open(self, owner: str, name: str) -> BinaryIO:
        """A file's content. It stays readable when the file is deleted or expires meanwhile.

        Raises:
            NoUploadError: the key has no such file.
        """
        return open(self.folder / self.get(owner, name).id, "rb")

    def delete(self, owner: str, name: str) -> None:
        """Remove a file.

        Raises:
            NoUploadError: the key has no such file.
        """
        self._remove(self.get(owner, name))

    def sweep(self) -> None:
        """Remove what has expired."""
        now = self._clock()
        for upload in [upload for upload in self._files.values() if upload.expires <= now]:
            self._remove(upload)

    async def sweep_always(self, every: float = 60.0) -> None:
        """Remove what expires, also while nobody asks; a task for as long as the server runs."""
        while True:
            self.sweep()
            await asyncio.sleep(every)

    def _remove(self, upload: Upload) -> None:
        del self._files[upload.id]
        (self.folder / upload.id).unlink(missing_ok=True)
        self._release(upload.owner, upload.size)

    def _release(self, owner: str, size: int) -> None:
        used = self._used[owner]
        used[0], used[1] = used[0] - size, used[1] - 1
        if used == [0, 0]:
            del self._used[owner]

    def _check(self, size: int, total: int) -> None:
        if size > self._per_file:
            raise UploadRefusedError(f"the file is larger than the allowed {gigabytes(self._per_file)}")
        if total > self._per_key:
            raise UploadRefusedError(
                f"this key's files are larger than {gigabytes(self._per_key)} together; delete some first"
            )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _plain(filename: str) -> str:
    """A name to show: without folders and without what does not print."""
    last = filename.replace("\\", "/").rpartition("/")[2]
    return one_line(last, _LONGEST_NAME) or "file"
