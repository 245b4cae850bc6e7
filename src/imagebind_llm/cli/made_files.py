"""Files that tools made, written into a folder under names that are free."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagebind_llm.common.errors import UserError

if TYPE_CHECKING:
    from imagebind_llm.inference.calls import MadeFile


def check_folder(folder: Path) -> None:
    """Complain of a folder that cannot be written to before the work is done.

    Raises:
        UserError: a file is there, or the place is not ours to write to.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise UserError(f"--save {str(folder)!r} is a file; give a folder")
    above = folder.absolute()
    while not above.exists():
        above = above.parent
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"--save {str(folder)!r}: {str(above)!r} may not be written to; give another place")


def save(made: "Sequence[MadeFile]", folder: Path) -> list[Path]:
    """Write them. What is there is never written over: ``picture.png``, then ``picture-2.png``, …

    Returns:
        The files.
    """
    from imagebind_llm.common.files import atomic_write

    paths = []
    for one in made:
        path = _free(folder, one.name)
        with atomic_write(path) as temporary:
            temporary.write_bytes(one.data)
        paths.append(path)
    return paths


def _free(folder: Path, name: str) -> Path:
    own = Path(name)
    names = itertools.chain([own.name], (f"{own.stem}-{number}{own.suffix}" for number in itertools.count(2)))
    return next(folder / one for one in names if not os.path.lexists(folder / one))
