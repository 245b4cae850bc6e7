"""Ask a model all items of a suite, and sum up. What came back is kept, so that a run goes on."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.bootstrap import Sums, estimates
from imagebind_llm.evaluation.calibration import calibration
from imagebind_llm.evaluation.engine import Engine
from imagebind_llm.evaluation.kept import KeptAnswers, whole_letters
from imagebind_llm.evaluation.report import SCHEMA
from imagebind_llm.evaluation.suite import Item, Sample, Suite, check_items

_LARGEST = 1e30
"""Numbers of an embedding."""


def run_suite(
    suite: Suite,
    engine: Engine,
    data: Path | None = None,
    *,
    out: Path | None = None,
    limit: int | None = None,
    batch_size: int = 64,
    about: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    arguments: Mapping[str, Any] | None = None,
    items: Sequence[Item] | None = None,
    progress: bool = False,
) -> "Outcome":
    """Ask all items and score the answers.

    Args:
        suite: what is asked.
        engine: who answers.
        data: folder for the suite.
        out: answers are kept here as they come (``answers.jsonl``); the same call goes on. None: nowhere.
        limit: most items, spread evenly over units; None: all.
        batch_size: items after which what came back is written down.
        about: facts of the model for the record, as plain JSON; with others, old answers are refused.
        options: settings of every request (``max_new_tokens``, ``cache`` …); not for embeddings.
        arguments: what the suite was made with, for the record.
        items: of the suite in ``data``, where they have been read; None: they are read here.
        progress: show a progress bar on a terminal.

    Raises:
        UserError: the suite has no items, or every item failed.
        ConfigError: ``out`` holds answers to another suite, of another model or with other settings, is in
            use, is no folder, or holds files of such names that no evaluation wrote.
    """
    every = list(suite.items(data)) if items is None else items
    check_items(every, suite.name)
    items = _some(every, limit)
    _check_modalities(items, engine, suite.name)
    options = dict(options or {}) if suite.asks == "answers" else {}
    settings = {
        "limit": limit,
        "options": options,
        "data": None if data is None else str(data),
        "suite": plain(arguments or {}),
        "items_sha256": _digest(items),
    }
    identity = {"schema": SCHEMA, "task": suite.name, "model": dict(about or {}), "settings": settings}
    with KeptAnswers(out, identity).opened() as kept:
        waiting = [item for item in items if item.key not in kept]
        _ask(suite, engine, waiting, kept, options, batch_size, progress, len(items))
    answers = [kept.answer(item.key) for item in items]
    errors = [error for item in items if (error := kept.error(item.key)) is not None]
    if len(errors) == len(items):
        raise UserError(f"none of the {len(items)} items could be asked; the first: {errors[0]}")
    samples = list(suite.judge(items, answers))
    if not _counted(samples):
        raise UserError(f"suite {suite.name!r} counts none of the {len(items)} items that were asked")
    records = [
        {
            "key": item.key,
            "group": item.group,
            "unit": item.unit,
            "request": plain(item.request),
            "expected": plain(item.expected),
            **({"answer": answer} if isinstance(answer, str) else {}),
            **({} if (sure := kept.confidence(item.key)) is None else {"confidence": sure}),
            **({"error": error} if (error := kept.error(item.key)) is not None else {}),
            "read": plain(sample.read),
            "score": sample.score,
            "sums": {name: float(value) for name, value in sample.sums.items()},
        }
        for item, answer, sample in zip(items, answers, samples, strict=True)
    ]
    found = {
        **summary(suite, items, samples),
        **_calibration(records),
        "failed": len(errors),
        "first_error": errors[0] if errors else None,
    }
    contents = {
        hashlib.sha256(value).hexdigest(): value
        for item in items
        for value in item.request.values()
        if isinstance(value, bytes)
    }
    return Outcome({**identity, **found}, records, contents)


class Outcome:
    """What an evaluation found.

    Attributes:
        results: plain values for JSON: ``schema``, ``task``, ``model``, ``settings``, ``n``, ``units``,
            ``main``, ``shown``, ``metrics`` and ``groups`` (each metric with ``value``, ``low``, ``high``),
            ``failed`` (items whose media could not be read; they count as wrong), ``first_error``. Where
            answers are right or wrong and came with confidences, ``calibration``
            (:func:`.calibration.calibration`).
        samples: one record for each item: ``key``, ``group``, ``unit``, ``request``, ``expected``,
            ``answer`` or ``error``, ``confidence`` where it is known, ``read``, ``score``, ``sums``.
        contents: of media that were given as bytes, by the SHA-256 that stands for them in ``samples``.
    """

    def __init__(
        self,
        results: dict[str, Any],
        samples: list[dict[str, Any]],
        contents: Mapping[str, bytes] | None = None,
    ) -> None:
        self.results, self.samples, self.contents = results, samples, contents or {}


def summary(suite: Suite, items: Sequence[Item], samples: Sequence[Sample]) -> dict[str, Any]:
    """``n``, ``units``, ``main``, ``shown``, ``metrics`` and ``groups`` of judged items."""
    sums = Sums.of(items, samples)
    groups: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        if item.group:
            groups.setdefault(item.group, []).append(number)
    return {
        "n": _counted(samples),
        "units": sums.units,
        "main": suite.main,
        "shown": dict(suite.units),
        "metrics": _plain_estimates(suite, sums),
        "groups": {
            group: {
                "n": _counted([samples[n] for n in numbers]),
                "metrics": _plain_estimates(
                    suite, Sums.of([items[n] for n in numbers], [samples[n] for n in numbers])
                ),
            }
            for group, numbers in groups.items()
            if len(groups) > 1
        },
    }


def _calibration(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``calibration`` of the answers that came with a confidence; nothing if they are too few, or if there is
    more to say of an answer than that it is right or wrong."""
    if any(one["score"] not in (None, 0, 1) for one in records):
        return {}
    known = [one for one in records if "confidence" in one and one["score"] is not None]
    found = calibration(
        [one["confidence"] for one in known],
        [one["score"] for one in known],
        [one["unit"] or f"\n{one['key']}" for one in known],
    )
    return {} if found is None else {"calibration": found}


def _counted(samples: Sequence[Sample]) -> int:
    return sum(bool(sample.sums) for sample in samples)


def _plain_estimates(suite: Suite, sums: Sums) -> dict[str, Any]:
    points = [name for name, unit in suite.units.items() if unit == "points"]
    return {name: found.to_dict() for name, found in estimates(sums, suite.metrics, points=points).items()}


def _ask(
    suite: Suite,
    engine: Engine,
    items: Sequence[Item],
    kept: KeptAnswers,
    options: Mapping[str, Any],
    batch_size: int,
    progress: bool,
    total: int,
) -> None:
    import numpy as np
    from tqdm import tqdm

    requests: Iterator[Mapping[str, Any]] = ({**item.request, **options} for item in items)
    ask: Any = engine.answers if suite.asks == "answers" else engine.embeddings
    waiting: list[Any] = []
    done, size = 0, None
    with tqdm(
        total=total,
        initial=total - len(items),
        unit="item",
        desc=suite.name,
        disable=None if progress else True,
    ) as bar:
        try:
            for answer in ask(requests):
                waiting.append(_checked(answer, size))
                if size is None and isinstance(waiting[-1], np.ndarray):
                    size = len(waiting[-1])
                bar.update()
                if len(waiting) == batch_size:
                    kept.add(items[done : done + len(waiting)], waiting)
                    done, waiting = done + len(waiting), []
        finally:  # what came before a mishap is worth keeping
            if waiting:
                kept.add(items[done : done + len(waiting)], waiting)


def _checked(answer: Any, size: int | None) -> Any:
    """An answer; an embedding with length 1, or an error if it is none, or not as long as those before."""
    import numpy as np

    if not isinstance(answer, np.ndarray):
        return answer
    whole = answer.ndim == 1 and bool((np.abs(answer) < _LARGEST).all())  # no NaN either
    norm = float(np.linalg.norm(answer)) if whole else 0.0
    if not norm or (size is not None and len(answer) != size):
        return UserError(
            "the model gave something that is no embedding: not finite, of length 0, or too short"
        )
    return answer / norm


def _check_modalities(items: Sequence[Item], engine: Engine, suite: str) -> None:
    """Refuse, before anything is asked, media that the encoder does not take."""
    from imagebind_llm.common.modality import Modality

    names = {str(name) for name in Modality.known()}
    asked = {name for item in items for name in item.request if name in names}
    known = engine.modalities
    if known is not None and (strange := sorted(asked - set(known))):
        takes = ", ".join(known) or "nothing"
        raise UserError(f"suite {suite!r} needs {', '.join(strange)}; this model's encoder takes {takes}")


def _some(items: Sequence[Item], limit: int | None) -> Sequence[Item]:
    """About ``limit`` items, spread evenly, units whole (both questions about a picture, or none)."""
    if limit is None or limit >= len(items):
        return items
    units: dict[tuple[bool, str], list[Item]] = {}
    for item in items:
        if not item.always:
            units.setdefault((not item.unit, item.unit or item.key), []).append(item)
    order = list(units.values())
    wanted = max(1, round(limit * len(order) / sum(map(len, order)))) if order else 0
    chosen = {item.key for number in range(wanted) for item in order[number * len(order) // wanted]}
    return [item for item in items if item.always or item.key in chosen]


def _digest(items: Sequence[Item]) -> str:
    """SHA-256 over what is asked and expected, and the sizes of files."""
    digest = hashlib.sha256()
    for item in items:
        sizes = [os.path.getsize(value) for value in item.request.values() if _is_file(value)]
        record = [item.key, plain(item.request), plain(item.expected), item.group, item.unit, sizes]
        digest.update(json.dumps(record, ensure_ascii=False, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def _is_file(value: Any) -> bool:
    return isinstance(value, str | os.PathLike) and len(str(value)) < 4096 and os.path.isfile(value)


def plain(value: Any) -> Any:
    """As JSON can hold it: bytes and arrays become their SHA-256."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, str):
        return whole_letters(value)
    if value is None or isinstance(value, int | float | bool):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return {"sha256": hashlib.sha256(value).hexdigest()}
    if hasattr(value, "tobytes"):
        return {"sha256": hashlib.sha256(value.tobytes()).hexdigest()}
    return repr(value)
