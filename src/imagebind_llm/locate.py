"""From what a user calls a model to a folder on this machine."""

import os
import re
from pathlib import Path

from imagebind_llm.checkpoints.json_file import read_json
from imagebind_llm.errors import CheckpointError, reason_of

NANO = "nano"
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")
"""What a hub id looks like: ``owner/name``."""
MODEL_PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.faiss", "*.parquet", "*.md")
"""The files of a hub repository that a model needs. Weights are only ever taken as safetensors."""


def nano_folder() -> Path:
    """Where the embedded model lies (it need not be there)."""
    return Path(__file__).parent / "nano" / "weights"


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
