"""Ask a model all items of a suite. What was answered is kept, so that a run goes on where it stopped."""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import ConfigError, UserError, one_line
from imagebind_llm.common.files import atomic_write, load_json, locked, sync, write_json
from imagebind_llm.common.folders import claim, make_parents, require_claimable
from imagebind_llm.common.json_text import parse_json
from imagebind_llm.common.text_files import decode_text
from imagebind_llm.evaluation.metrics import Score
from imagebind_llm.evaluation.model import ModelUnderTest
from imagebind_llm.evaluation.suite import Item, Suite, check_items

SCHEMA = 1
"""Of a results file; a reader refuses another."""
_IDENTITY, _ANSWERS = "identity.json", "answers.jsonl"
_WRITES = (_IDENTITY, _ANSWERS, "results.json", "results.md")
"""What is written to a folder. One that holds any of these and is no evaluation's is somebody else's."""


def run_suite(
    suite: Suite,
    model: ModelUnderTest,
    data: Path | None = None,
    *,
    out: Path | None = None,
    limit: int | None = None,
    batch_size: int = 64,
    about: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Ask all items and score the answers.

    Args:
        suite: what is asked.
        model: who answers.
        data: folder for the suite.
        out: answers are kept here as they come (``answers.jsonl``); the same call goes on. None: nowhere.
        limit: most items, spread evenly; None: all.
        batch_size: items asked, and kept, at once.
        about: facts of the model for the record, as plain JSON; with others, old answers are refused.
        options: settings of every request (``max_new_tokens``, ``cache`` …).

    Returns:
        Plain values for JSON: ``schema``, ``task``, ``model``, ``settings``, ``score``, ``groups``,
        ``failed`` (items whose media could not be read; they count as wrong) and ``seconds``.

    Raises:
        UserError: the suite has no items, or every item failed.
        ConfigError: ``out`` holds answers to another suite, of another model or with other settings, is in
            use, is no folder, or holds files of such names that no evaluation wrote.
    """
    items = _some(list(suite.items(data)), limit)
    check_items(items, suite.name)
    options = dict(options or {})
    settings = {"limit": limit, "options": options, "data": None if data is None else str(data)}
    identity = {"schema": SCHEMA, "task": suite.name, "model": dict(about or {}), "settings": settings}
    start = time.perf_counter()
    with _Answers(out, identity).opened() if out is not None else nullcontext(_Answers(None, {})) as kept:
        waiting = [item for item in items if item.key not in kept.found]
        for at in range(0, len(waiting), batch_size):
            part = waiting[at : at + batch_size]
            answers = model.ask_batch([{**item.request, **options} for item in part])
            kept.add(part, answers)
    right: dict[str, list[bool]] = {}
    for item in items:
        answer = kept.found[item.key].get("answer")
        right.setdefault(item.group, []).append(answer is not None and suite.right(item, answer))
    errors = [entry["error"] for item in items if "error" in (entry := kept.found[item.key])]
    if len(errors) == len(items):
        raise UserError(f"none of the {len(items)} items could be asked; the first: {errors[0]}")
    return {
        **identity,
        "score": Score.of(outcome for outcomes in right.values() for outcome in outcomes).to_dict(),
        "groups": {group: Score.of(outcomes).to_dict() for group, outcomes in right.items() if group},
        "failed": len(errors),
        "seconds": round(time.perf_counter() - start, 2),
    }


def _some(items: Sequence[Item], limit: int | None) -> Sequence[Item]:
    if limit is None or limit >= len(items):
        return items
    return [items[number * len(items) // limit] for number in range(limit)]


def _recorded(file: Path) -> dict[str, Any] | None:
    """The identity in a folder; None if there is none of an evaluation."""
    try:
        values = load_json(file)
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) and {"schema", "task"} <= values.keys() else None


class _Answers:
    """Answers by key, in memory and (with a folder) on disk: one JSON line each, the last one maybe torn."""

    def __init__(self, folder: Path | None, identity: Mapping[str, Any]) -> None:
        self._folder, self._identity = folder, identity
        self.found: dict[str, dict[str, Any]] = {}

    @contextmanager
    def opened(self) -> Iterator["_Answers"]:
        """Hold the folder and read what it has."""
        assert self._folder is not None
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
        changed = sorted(key for key in set(before) | set(now) if before.get(key) != now.get(key))
        if changed:
            other = one_line(" and ".join(changed), 100)
            raise ConfigError(
                f"{str(folder)!r} holds an evaluation with another {other}; use another folder, or delete "
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
                known = isinstance(key, str) and isinstance(entry.get("answer", entry.get("error")), str)
            except (ValueError, KeyError, AttributeError, TypeError):
                known = False
            if not known:
                raise ConfigError(
                    f"{str(file)!r}: line {number} is no answer of an evaluation; use another folder, or "
                    "delete this one"
                )
            self.found[key] = entry

    def add(self, items: Sequence[Item], answers: Sequence[Any]) -> None:
        """Remember the answers, or errors, to ``items``."""
        lines = []
        for item, answer in zip(items, answers, strict=True):
            failed = isinstance(answer, Exception)
            entry = {"error": str(answer)} if failed else {"answer": answer.text}
            self.found[item.key] = entry
            lines.append(json.dumps({"key": item.key, **entry}, ensure_ascii=False) + "\n")
        if self._folder is not None:
            file = self._folder / _ANSWERS
            with file.open("a", encoding="utf-8") as stream:
                stream.writelines(lines)
            sync(file)
