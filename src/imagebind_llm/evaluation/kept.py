"""What came back from a model, kept as it comes, so that an evaluation goes on where it stopped."""

import base64
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from imagebind_llm.common.errors import ConfigError, one_line
from imagebind_llm.common.files import atomic_write, load_json, locked, sync, write_json
from imagebind_llm.common.folders import claim, make_parents, require_claimable
from imagebind_llm.common.json_text import parse_json
from imagebind_llm.common.text_files import decode_text
from imagebind_llm.evaluation.engine import Said, is_confidence
from imagebind_llm.evaluation.suite import Answer, Item
from imagebind_llm.inference.confidence import rounded

_IDENTITY, _ANSWERS = "identity.json", "answers.jsonl"
_WRITES = (
    _IDENTITY,
    _ANSWERS,
    "samples.jsonl",
    "results.json",
    "results.md",
    "report.html",
    "runs.jsonl",
)
"""What is written to a folder. One that holds any of these and is no evaluation's is somebody else's."""


def _recorded(file: Path) -> dict[str, Any] | None:
    """The identity in a folder; None if there is none of an evaluation."""
    try:
        values = load_json(file)
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) and {"schema", "task"} <= values.keys() else None


class KeptAnswers:
    """Answers by key, in memory and (with a folder) on disk: one JSON line each, the last one maybe torn."""

    def __init__(self, folder: Path | None = None, identity: Mapping[str, Any] | None = None) -> None:
        self._folder, self._identity = folder, dict(identity or {})
        self._found: dict[str, dict[str, Any]] = {}

    def __contains__(self, key: str) -> bool:
        """Whether an answer is there. What failed is asked again."""
        return key in self._found and "error" not in self._found[key]

    def answer(self, key: str) -> Answer:
        """The text or the embedding that came back for an item; None: an error."""
        entry = self._found[key]
        if "embedding" in entry:
            return np.frombuffer(base64.b64decode(entry["embedding"]), "<f4").astype(np.float64)
        return entry.get("answer")

    def confidence(self, key: str) -> float | None:
        """How sure the model was of its answer, if it told."""
        return self._found[key].get("confidence")

    def error(self, key: str) -> str | None:
        """What went wrong with an item."""
        return self._found[key].get("error")

    @contextmanager
    def opened(self) -> Iterator["KeptAnswers"]:
        """Hold the folder, if there is one, and read what it has."""
        if self._folder is None:
            yield self
            return
        if _recorded(self._folder / _IDENTITY) is None:  # before a lock is put there
            require_claimable(self._folder, _WRITES, ConfigError)
        make_parents(self._folder / _IDENTITY, ConfigError)
        refusal = ConfigError(f"{str(self._folder)!r} is in use by another evaluation; wait, or use another")
        with locked(self._folder / ".lock", refusal):
            self._check_identity(self._folder)
            self._read(self._folder / _ANSWERS)
            yield self

    def _check_identity(self, folder: Path) -> None:
        """Take the folder, or see that it is of this evaluation."""
        file = folder / _IDENTITY
        before = _recorded(file)
        if before is None:
            claim(folder, _WRITES, ConfigError)
            left = next((name for name in (_IDENTITY, _ANSWERS) if os.path.lexists(folder / name)), None)
            if left is not None:  # of ours, but of which evaluation?
                raise ConfigError(f"{str(folder / left)!r} is damaged or alone; use another folder")
            write_json(file, self._identity)
            return
        now = json.loads(json.dumps(self._identity))
        changed = sorted(set(_differing(before, now)))
        if changed:
            other = one_line(", ".join(changed), 100)
            raise ConfigError(
                f"{str(folder)!r} holds an evaluation that differs in {other}; use another folder, or delete "
                "this one"
            )

    def _read(self, file: Path) -> None:
        if not file.is_file():
            return
        whole = file.read_bytes()
        kept = whole[: whole.rfind(b"\n") + 1]
        if len(kept) < len(whole):  # a line that was being written when the run was killed
            with atomic_write(file) as temporary:
                temporary.write_bytes(kept)
        for number, line in enumerate(kept.splitlines(), start=1):
            try:
                entry = parse_json(decode_text(line))
                key = entry.pop("key")
                known = isinstance(key, str) and _is_answer(entry)
            except (ValueError, KeyError, AttributeError, TypeError):
                known = False
            if not known:
                raise ConfigError(
                    f"{str(file)!r}: line {number} is no answer of an evaluation; use another folder, or "
                    "delete this one"
                )
            self._found[key] = entry

    def add(self, items: Sequence[Item], answers: Sequence[Answer | Exception]) -> None:
        """Remember what came back for ``items``."""
        lines = []
        for item, answer in zip(items, answers, strict=True):
            entry = _entry(answer)
            if self._found.get(item.key) == entry:  # failed again, and just as before
                continue
            self._found[item.key] = entry
            lines.append(json.dumps({"key": item.key, **entry}, ensure_ascii=False) + "\n")
        if self._folder is not None:
            file = self._folder / _ANSWERS
            with file.open("a", encoding="utf-8") as stream:
                stream.writelines(lines)
            sync(file)


def _differing(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """Names of what differs, dotted."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        if before != now:
            yield path
        return
    for key in set(before) | set(now):
        yield from _differing(before.get(key), now.get(key), f"{path}.{key}" if path else key)


def _entry(answer: Answer | Exception) -> dict[str, Any]:
    if isinstance(answer, np.ndarray):
        return {"embedding": base64.b64encode(answer.astype("<f4").tobytes()).decode()}
    if isinstance(answer, str):
        sure = answer.confidence if isinstance(answer, Said) else None
        return {"answer": whole_letters(answer), **({} if sure is None else {"confidence": rounded(sure)})}
    return {"error": whole_letters(str(answer) or type(answer).__name__)}


def whole_letters(text: str) -> str:
    """``text`` with halves of letters (lone surrogates), which no file can hold, replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _is_answer(entry: Mapping[str, Any]) -> bool:
    """Whether a line is one that :func:`_entry` writes."""
    if "confidence" in entry:
        return entry.keys() == {"answer", "confidence"} and (
            isinstance(entry["answer"], str) and is_confidence(entry["confidence"])
        )
    (value,) = entry.values()
    if "embedding" in entry:
        return len(base64.b64decode(value, validate=True)) % 4 == 0
    return isinstance(entry.get("answer", entry.get("error")), str)
