"""What kind of data a path holds, by its names and first bytes."""

import json
import re
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import TrainingDataError
from imagebind_llm.common.files import load_json
from imagebind_llm.common.text_files import foreign_encoding
from imagebind_llm.common.walk import visible_files
from imagebind_llm.data.embed.store import FORMAT, MANIFEST
from imagebind_llm.data.sources.base import SourceKind
from imagebind_llm.data.sources.tables import json_items
from imagebind_llm.data.sources.tars import PICTURES

_SUFFIXES: dict[str, SourceKind] = {
    ".tsv": "tsv",
    ".csv": "csv",
    ".tar": "webdataset",
    ".parquet": "parquet",
}
_PACKED = frozenset({".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".zst"})
_HEAD = 4 * 1024 * 1024


def guess_kind(path: str) -> SourceKind:
    """The kind of source at ``path``: a file, a folder or a pattern.

    Raises:
        TrainingDataError: it cannot be told; the message lists what can be given.
    """
    place = Path(path).expanduser()
    suffix = place.suffix.lower()
    if not place.is_dir():
        if suffix in _PACKED and (suffix in (".tgz", ".tbz2") or ".tar" in place.suffixes):
            return "webdataset"
        if suffix in _SUFFIXES:
            return _SUFFIXES[suffix]
        if suffix in (".yaml", ".yml"):
            return "tsv"
        if suffix in (".json", ".jsonl") and place.is_file():
            return _dialogs(place)
        raise _unknown(path)
    if (place / MANIFEST).is_file() and _is_embedded(place / MANIFEST):
        return "embedded"
    if any((place / name).is_file() for name in ("dataset_info.json", "dataset_dict.json")):
        return "datasets"
    found, listed = set(), False
    for file in visible_files(place):
        suffix = file.suffix.lower()
        found.add(suffix)
        # a table of pictures beside it, or img2dataset's report on the folder of the same name
        listed = listed or (
            suffix == ".parquet"
            and (file.name.lower() == "metadata.parquet" or file.with_suffix("").is_dir())
        )
    pictures = bool({suffix.removeprefix(".") for suffix in found} & PICTURES)
    if pictures and listed and ".tar" not in found:
        return "folder"
    for known in (".tar", ".parquet"):
        if known in found:
            return _SUFFIXES[known]
    if pictures:
        return "folder"
    if found & _PACKED:
        return "webdataset"  # which says what to do
    raise _unknown(path)


def _dialogs(path: Path) -> SourceKind:
    with path.open("rb") as file:
        data = file.read(_HEAD)
    if other := foreign_encoding(data):
        raise TrainingDataError(f"{str(path)!r} is {other}, not UTF-8; save it as UTF-8")
    head = data.decode("utf-8-sig", "replace").lstrip()
    if head.startswith("["):
        first = _decoded(head.lstrip("[ \t\r\n"))
        if first is None:
            next(json_items(path), None)  # says where a broken list breaks
    else:  # one object a line: a broken one costs only itself
        first = next(
            (item for line in re.split("[\r\n]", head) if isinstance(item := _decoded(line), dict)), None
        )
        if first is None and head:
            raise TrainingDataError(
                f"{str(path)!r} holds no valid JSON: neither a list of objects nor one object a line; mend it"
            )
    if isinstance(first, dict) and "conversations" in first:
        return "llava"
    if isinstance(first, dict) and {"instruction", "output"} <= set(first):
        return "alpaca"
    raise _unknown(str(path))


def _decoded(text: str) -> Any:
    """The JSON value ``text`` begins with; None without one."""
    try:
        # not strict: bare line breaks inside strings are no reason not to know a file
        return json.JSONDecoder(strict=False).raw_decode(text.lstrip())[0]
    except (ValueError, RecursionError):
        return None


def _is_embedded(manifest: Path) -> bool:
    try:
        values = load_json(manifest)
    except ValueError:
        return False
    return isinstance(values, dict) and values.get("format") == FORMAT and "encoder_fingerprint" in values


def _unknown(path: str) -> TrainingDataError:
    return TrainingDataError(
        f"cannot tell what data {path!r} holds; say --kind tsv, csv, llava, alpaca, webdataset, parquet, "
        "datasets, folder or embedded"
    )
