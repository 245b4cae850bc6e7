"""JSON dialogs: LLaVA's conversations and Alpaca's instructions, as one list or one object a line.

Of a conversation all turns are used. ``<image>`` marks are taken out; where one stood, its turn brings the
picture. A conversation without media stays text only, so its tokens see no condition.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import BadSample
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.sources.base import Record, SourceSettings, list_files
from imagebind_llm.data.sources.captions import clean_text, picture_path
from imagebind_llm.data.sources.tables import RowFiles, json_items

_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
_MEDIA = [modality.value for modality in Modality if modality is not Modality.TEXT]
"""Fields of a conversation that name a file or a list of files."""
_MARK = re.compile(rf"[ \t]*<({'|'.join(_MEDIA)})>[ \t]*\n?")


class DialogSource:
    """A :class:`~imagebind_llm.data.sources.base.Source` of JSON objects."""

    def __init__(self, settings: SourceSettings, files: list[Path], index_folder: Path | None) -> None:
        self.name = settings.label
        self._settings = settings
        self._rows = RowFiles(files, json_items, index_folder)
        self.fingerprint = self._rows.fingerprint

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: int) -> Record:
        """See :class:`~imagebind_llm.data.sources.base.Source`."""
        key = self._rows.key(index)
        try:
            item, _ = _DECODER.raw_decode(self._rows.text(index).lstrip())
        except ValueError as error:
            raise BadSample(key, f"not JSON ({error})") from None
        except RecursionError:
            raise BadSample(key, "JSON nested too deeply") from None
        if not isinstance(item, dict):
            raise BadSample(key, f"a JSON {type(item).__name__}; expected an object")
        if self._settings.kind == "alpaca":
            return Record(key, self._instruction(key, item), self.name)
        file, _ = self._rows.locate(index)
        root = self._settings.root or self._rows.files[file].parent
        return Record(key, _conversation(key, item, root), self.name)

    def _instruction(self, key: str, item: dict[str, Any]) -> list[dict[str, Any]]:
        column = self._settings.column
        words = clean_text(key, item.get(column("instruction")), "instruction")
        extra = item.get(column("input"))
        if extra is not None and not isinstance(extra, str):
            raise BadSample(key, f"the input is {type(extra).__name__}; expected text")
        if extra and extra.strip():
            words = f"{words}\n\n{extra.strip()}"
        answer = clean_text(key, item.get(column("output")), "output")
        return [{"role": "user", "content": words}, {"role": "assistant", "content": answer}]


_DECODER = json.JSONDecoder(strict=False)
"""Not strict about bare line breaks and tabs inside strings: published dialog files have them."""


def open_source(settings: SourceSettings, index_folder: Path | None) -> DialogSource:
    """See :func:`imagebind_llm.data.sources.open_source`."""
    return DialogSource(settings, list_files(settings.path, (".json", ".jsonl")), index_folder)


def _conversation(key: str, item: dict[str, Any], root: str | Path) -> list[dict[str, Any]]:
    turns = item.get("conversations")
    if not isinstance(turns, list) or not turns:
        raise BadSample(key, "no list of conversations")
    media = _media(key, item, root)
    waiting = iter(media)
    unmarked = not any(_MARK.search(str(turn.get("value"))) for turn in turns if isinstance(turn, dict))
    messages: list[dict[str, Any]] = []
    for number, turn in enumerate(turns):
        if not isinstance(turn, dict) or turn.get("from") not in _ROLES:
            raise BadSample(key, f"turn {number} is not from one of {', '.join(_ROLES)}")
        role = _ROLES[turn["from"]]
        value = turn.get("value")
        if not isinstance(value, str):
            raise BadSample(key, f"turn {number} has no text")
        marks = len(_MARK.findall(value))
        if role == "user" and unmarked:
            marks, unmarked = len(media), False
        text = clean_text(key, _MARK.sub("", value), f"turn {number}")
        if not marks or role != "user":
            messages.append({"role": role, "content": text})
            continue
        parts: list[dict[str, Any]] = list(_take(key, waiting, marks, len(media)))
        messages.append({"role": role, "content": [*parts, {"type": "text", "text": text}]})
    if next(waiting, None) is not None:
        raise BadSample(
            key, f"{len(media)} media, but fewer marks such as <image> that say where they belong"
        )
    if not any(message["role"] == "assistant" for message in messages):
        raise BadSample(key, "no turn of the assistant to learn from")
    return messages


def _media(key: str, item: dict[str, Any], root: str | Path) -> list[dict[str, Any]]:
    found = []
    for kind in _MEDIA:
        given = item.get(kind)
        for value in given if isinstance(given, list) else [] if given is None else [given]:
            found.append({"type": kind, kind: picture_path(key, value, root)})
    return found


def _take(key: str, waiting: Iterator[dict[str, Any]], count: int, total: int) -> Iterator[dict[str, Any]]:
    for _ in range(count):
        part = next(waiting, None)
        if part is None:
            raise BadSample(key, f"more marks such as <image> than media ({total})")
        yield part
