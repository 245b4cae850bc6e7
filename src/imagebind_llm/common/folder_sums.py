"""The SHA-256 of every file in a folder and below it, in the format of ``sha256sum``. No torch."""

from pathlib import Path

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import SUMS_FILE, sha256
from imagebind_llm.common.folders import MARK


def write_folder_sums(folder: Path) -> None:
    """Record every file below ``folder`` in its ``SHA256SUMS``."""
    lines = [f"{sha256(folder / path)}  {path}\n" for path in _files(folder) if path != SUMS_FILE]
    (folder / SUMS_FILE).write_text("".join(lines), encoding="utf-8")


def check_folder_sums(folder: Path, again: str) -> None:
    """Compare a folder with what :func:`write_folder_sums` recorded.

    Args:
        again: what makes the folder anew, in a word: ``fetch``, ``pull``.

    Raises:
        UserError: a file is missing, was changed or was added.
    """
    try:
        lines = (folder / SUMS_FILE).read_text(encoding="utf-8").splitlines()
    except OSError:
        raise UserError(
            f"{str(folder / SUMS_FILE)!r} is missing; delete the folder and {again} again"
        ) from None
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    there = [name for name in _files(folder) if name != SUMS_FILE]
    different = sorted(set(sums) ^ set(there)) or [
        name for name in there if sha256(folder / name) != sums[name]
    ]
    if different:
        raise UserError(
            f"{str(folder / different[0])!r} is not as it was written; delete the folder {str(folder)!r} and "
            f"{again} again, or give another folder"
        )


def _files(folder: Path) -> list[str]:
    """The paths of all files below ``folder``, sorted, without the mark of who made it."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name != MARK)
