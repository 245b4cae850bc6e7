"""Where the parts of a model are: names in its ``config.json`` ↔ folders on this machine.

A part is named by hub id, as ``"nano"``, or by its folder. A folder is written relative to the model's own,
so that all may move (or be archived) together and no path of one machine travels; absolute ones are read
too. In memory it is absolute, whatever the working directory.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagebind_llm.errors import CheckpointError
from imagebind_llm.locate import NANO

_HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*(/[\w.-]+)?$")
"""``owner/name``, or ``name`` alone as the hub's oldest models have it."""
PARTS = {"language_model": "language model", "encoder": "encoder"}
"""The parts that a model can name, and what errors call them."""


def relative_place(name: str | os.PathLike[str], folder: Path) -> str:
    """The folder ``name`` as seen from ``folder``, both followed through links."""
    return Path(os.path.relpath(Path(name).resolve(), folder.resolve())).as_posix()


def places_to_write(bases: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """``base_models`` as the ``config.json`` in ``folder`` holds it."""
    return {
        part: {**base, "id": relative_place(base["id"], folder)} if _is_absolute_folder(base) else base
        for part, base in bases.items()
    }


def places_as_read(bases: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """``base_models`` of a model in ``folder``, for use anywhere: folders that are there are absolute."""
    found = {}
    for part, base in bases.items():
        beside = base and base.get("id") != NANO and folder / str(base.get("id"))
        found[part] = {**base, "id": str(beside.resolve())} if beside and beside.is_dir() else base
    return found


def find_place(part: str, base: Mapping[str, Any], folder: Path) -> str:
    """What ``base`` of the model in ``folder`` means here: ``"nano"``, an absolute folder or a hub id.

    Args:
        part: ``language_model`` or ``encoder``, for the message.
        base: its entry in ``base_models``.
        folder: of the model; names are relative to it, never to the working directory.

    Raises:
        CheckpointError: it names a folder that is not there.
    """
    name = str(base["id"])
    beside = folder / name
    if name == NANO:
        return name
    if beside.is_dir():
        return str(beside.resolve())
    if _HUB_NAME.match(name):
        return name
    raise CheckpointError(
        f"the {PARTS[part]} of {str(folder)!r} should be in {name!r}, seen from there, but there is no such "
        "folder; bring it there, or correct base_models in the model's config.json"
    )


def _is_absolute_folder(base: Mapping[str, Any] | None) -> bool:
    return base is not None and os.path.isabs(str(base.get("id"))) and Path(base["id"]).is_dir()
