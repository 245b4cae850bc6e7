"""All parts, run one after another; what is finished is kept, so that the same command goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.common.files import load_json, write_json
from imagebind_llm.common.folders import claim, make_parents
from imagebind_llm.evaluation.provenance import environment
from mini_lab.measures.context import Context
from mini_lab.measures.tables import Part

SCHEMA = 1
"""Of the results file; a reader refuses another."""
TASK = "mini"
PARTS: Mapping[str, str] = {
    "captions": "captions of Flickr8k's test pictures, and controls",
    "photographs": "photographs of ImageNet's classes, named by the encoder and in words",
    "retrieval": "texts and pictures, sounds and pictures, by embedding",
    "sounds": "ten animals' sounds, named by the encoder and in words",
    "furniture": "held-out 3D models, named by the encoder and in words",
    "text": "perplexity beside SmolLM2's",
    "cost": "time and memory of one question",
}
"""Name, which is also that of the module, and what it measures."""
RESULTS = "results.json"
_IDENTITY = "identity.json"
_FOLDER = "parts"
_WRITES = (_IDENTITY, RESULTS, "results.md", _FOLDER, "answers")


def run(context: Context, names: Sequence[str], again: bool = False) -> dict[str, Any]:
    """Measure the parts that are not there yet, and put all that are there together.

    Args:
        context: what is measured.
        names: of the parts.
        again: measure them anew also where they are there. Kept answers stay.

    Returns:
        Plain values for JSON: ``schema``, ``task``, ``model``, ``settings``, ``environment``, ``parts`` (name
        → :mod:`.tables`) and ``seconds``.

    Raises:
        ConfigError: the folder holds results of another model, or with other settings, or other files.
        UserError: a part cannot be measured.
    """
    identity = {"schema": SCHEMA, "task": TASK, "model": dict(context.facts), "limit": context.limit}
    identity["caption_question"] = context.caption_question
    _take(context.out, identity)
    for name in names:
        file = context.out / _FOLDER / f"{name}.json"
        if file.is_file() and not again:
            continue
        started = time.perf_counter()
        part = measure(name, context)
        seconds = round(time.perf_counter() - started, 1)
        write_json(file, {"part": part, "seconds": seconds, "environment": environment()})
    return collect(context.out)


def measure(name: str, context: Context) -> Part:
    """One part, by its name."""
    found: Part = import_module(f"mini_lab.measures.{name}").measure(context)
    return found


def collect(out: Path) -> dict[str, Any]:
    """The results of all parts in a folder, in the order of :data:`PARTS`.

    Raises:
        UserError: there is no part.
    """
    identity = load_json(out / _IDENTITY)
    found = {name: load_json(out / _FOLDER / f"{name}.json") for name in PARTS if _is_there(out, name)}
    if not found:
        raise UserError(f"{str(out)!r} holds no finished part; measure one")
    newest = [one["environment"] for one in found.values()]
    return {
        "schema": SCHEMA,
        "task": TASK,
        "model": identity["model"],
        "settings": {
            "limit": identity["limit"],
            "caption_question": identity["caption_question"],
            "decoding": "greedy where nothing else is said",
        },
        "environment": newest[-1],
        "commits": sorted({str(one["commit"]) for one in newest}),
        "parts": {name: one["part"] for name, one in found.items()},
        "seconds": {name: one["seconds"] for name, one in found.items()},
    }


def read_results(path: Path) -> dict[str, Any]:
    """Read ``results.json``.

    Raises:
        UserError: it is missing, not JSON, of another schema or of another task.
    """
    try:
        values = load_json(path)
    except OSError as error:
        raise UserError(
            f"cannot read {str(path)!r} ({error.strerror}); make it with: python -m mini_lab.evaluate"
        ) from None
    except ValueError as error:
        raise UserError(f"{str(path)!r} is not JSON ({error}); measure again") from None
    kind = (values.get("schema"), values.get("task")) if isinstance(values, dict) else None
    if kind != (SCHEMA, TASK):
        raise UserError(
            f"{str(path)!r} has schema and task {kind}; expected {(SCHEMA, TASK)}: the results of "
            "python -m mini_lab.evaluate"
        )
    return dict(values)


def _is_there(out: Path, name: str) -> bool:
    return (out / _FOLDER / f"{name}.json").is_file()


def _take(out: Path, identity: Mapping[str, Any]) -> None:
    """Take the folder, or see that it is of this model and these settings."""
    file = out / _IDENTITY
    make_parents(file, ConfigError)
    if not file.is_file():
        claim(out, _WRITES, ConfigError)
        (out / _FOLDER).mkdir(exist_ok=True)
        write_json(file, identity)
        return
    before = load_json(file)
    changed = sorted(key for key in identity if before.get(key) != identity[key])
    if changed:
        raise ConfigError(
            f"{str(out)!r} holds results with another {changed[0]}; use another folder as --out, or the same "
            "model and settings"
        )
