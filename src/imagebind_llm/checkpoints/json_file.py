"""Reading the JSON files of model folders. Imports no torch."""

import json
from pathlib import Path
from typing import Any

from imagebind_llm.errors import CheckpointError


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointError: no such file, not JSON, or not an object.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no file {str(path)!r}; give a file that exists")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{str(path)!r} is not JSON ({error}); get the file again") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{str(path)!r} holds a {type(values).__name__}; expected an object")
    return values
