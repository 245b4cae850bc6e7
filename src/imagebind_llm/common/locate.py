"""From names to folders: what a user calls a model, and where its language model and encoder are.

A component is named by hub id, as ``"nano"``, or by its folder. A folder is written relative to the model's
own, so that all may move together and no path of one machine travels; absolute ones are read too. In memory
it is absolute, whatever the working directory.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import CheckpointError, reason_of
from imagebind_llm.common.files import read_json

ADAPTER_FILE = "adapter.safetensors"

NANO = "nano"
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")
"""What a hub id looks like: ``owner/name``."""
MODEL_PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.faiss", "*.parquet", "*.md")
"""The files of a hub repository that a model needs. Weights are only ever taken as safetensors."""


def nano_folder() -> Path:
    """Where the embedded model lies (it need not be there)."""
    return Path(__file__).parents[1] / "nano" / "weights"


def locate_folder(name: str | os.PathLike[str], revision: str | None = None) -> Path:
    """The folder of the model called ``name``: ``"nano"``, a folder, or a Hugging Face hub id (then
    downloaded).

    Raises:
        CheckpointError: there is no such model, or its ``config.json`` is damaged.
    """
    text = os.fspath(name)
    if text == NANO:
        folder = nano_folder()
        if not (folder / "config.json").is_file():
            raise CheckpointError(
                "the embedded model 'nano' has no weights in this installation; make them with: make nano "
                "DATA=FOLDER"
            )
        return folder
    folder = Path(text).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise CheckpointError(
                f"the folder {text!r} has no config.json, so it holds no model; give a model folder"
            )
        read_json(folder / "config.json")  # every reader would stumble over a damaged one in its own words
        return folder
    if folder.exists():
        raise CheckpointError(f"{text!r} is a file; give the model folder that holds it")
    if isinstance(name, str) and HUB_ID.match(text):
        return _download(text, revision)
    if text == "mini":
        raise CheckpointError(
            "mini has to be pulled first; run: imagebind-llm pull mini, and give the folder that it prints"
        )
    raise CheckpointError(
        f"no model {text!r}; give 'nano', a folder that exists, or a hub id such as 'owner/name'"
    )


def _download(repository: str, revision: str | None) -> Path:
    """The hub's snapshot."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(MODEL_PATTERNS)))
    except Exception as error:  # the hub's own errors, and those of the three layers below it
        raise CheckpointError(
            f"no folder {repository!r} here, and the Hugging Face hub did not give a model of that name: "
            f"{reason_of(error)}"
        ) from error


_HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*(/[\w.-]+)?$")
"""``owner/name``, or ``name`` alone as the hub's oldest models have it."""
COMPONENTS = {"language_model": "language model", "encoder": "encoder"}
"""The parts that a model can name, and what errors call them."""


def relative_base_path(name: str | os.PathLike[str], folder: Path) -> str:
    """The folder ``name`` as seen from ``folder``, both followed through links."""
    return Path(os.path.relpath(Path(name).resolve(), folder.resolve())).as_posix()


def base_paths_to_write(bases: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """``base_models`` as the ``config.json`` in ``folder`` holds it."""
    return {
        part: {**base, "id": relative_base_path(base["id"], folder)} if _is_absolute_folder(base) else base
        for part, base in bases.items()
    }


def base_paths_as_read(bases: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """``base_models`` of a model in ``folder``, for use anywhere: folders that are there are absolute."""
    found = {}
    for part, base in bases.items():
        beside = base and base.get("id") != NANO and folder / str(base.get("id"))
        found[part] = {**base, "id": str(beside.resolve())} if beside and beside.is_dir() else base
    return found


def find_base_path(part: str, base: Mapping[str, Any], folder: Path) -> str:
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
        f"the {COMPONENTS[part]} of {str(folder)!r} should be in {name!r}, seen from there, but there is no "
        "such folder; bring it there, or correct base_models in the model's config.json"
    )


MOST_BASES = 8
"""Adapters that may stand on each other; more are a circle."""


def refuse_circle(folder: Path, depth: int) -> None:
    """Refuse adapters whose bases lead back to themselves.

    Raises:
        CheckpointError: ``folder`` is the base of so many that it must be its own.
    """
    if depth >= MOST_BASES:
        raise CheckpointError(
            f"the adapter in {str(folder)!r} stands on itself (after {depth} bases); correct base_models in "
            "its config.json"
        )


def _is_absolute_folder(base: Mapping[str, Any] | None) -> bool:
    return base is not None and os.path.isabs(str(base.get("id"))) and Path(base["id"]).is_dir()
