"""The folder of an evaluation: results, samples, report; written, and read again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import atomic_write
from imagebind_llm.common.json_text import parse_json
from imagebind_llm.common.text_files import decode_text
from imagebind_llm.evaluation.page import page
from imagebind_llm.evaluation.report import markdown, read_results
from imagebind_llm.evaluation.runner import Outcome


def write_outcome(outcome: Outcome, folder: Path, command: str, started: float) -> None:
    """Write ``samples.jsonl``, ``results.json``, ``results.md`` and ``report.html``.

    ``runs.jsonl`` gets a line with the command, when it was started and how long it took. It is the only file
    that differs when an evaluation is run again.

    Args:
        outcome: of :func:`.runner.run_suite` in the same folder.
        folder: where.
        command: that ran it.
        started: seconds since the epoch.
    """
    lines = [json.dumps(sample, ensure_ascii=False) + "\n" for sample in outcome.samples]
    results = json.dumps(outcome.results, ensure_ascii=False, indent=1) + "\n"
    for name, text in (
        ("samples.jsonl", "".join(lines)),
        ("results.json", results),
        ("results.md", markdown(outcome.results)),
        ("report.html", page(outcome.results, outcome.samples, outcome.contents)),
    ):
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    run = {
        "command": command,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 2),
    }
    with (folder / "runs.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(run, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class Finished:
    """A finished evaluation, read from its folder: ``results`` and ``samples`` as in :class:`.Outcome`."""

    folder: Path
    results: dict[str, Any]
    samples: list[dict[str, Any]]


def read_outcome(folder: Path) -> Finished:
    """Read what :func:`write_outcome` wrote.

    Raises:
        UserError: there is none, or a file was changed so that it cannot be read.
    """
    results = read_results(folder / "results.json")
    file = folder / "samples.jsonl"
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise UserError(f"cannot read {str(file)!r} ({error.strerror}); run the evaluation again") from None
    samples = []
    for number, line in enumerate(lines, start=1):
        try:
            sample = parse_json(decode_text(line))
            good = _is_sample(sample)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            good = False
        if not good:
            raise UserError(f"{str(file)!r}: line {number} is no sample; run the evaluation again")
        samples.append(sample)
    return Finished(folder, results, samples)


def _is_sample(value: Any) -> bool:
    """Whether a line is one that the runner writes."""
    texts = (value["key"], value["group"], value["unit"], value.get("answer", ""), value.get("error", ""))
    score = value["score"]
    return (
        all(isinstance(text, str) for text in texts)
        and isinstance(value["request"], dict)
        and {"expected", "read"} <= value.keys()
        and (score is None or _is_number(score))
        and all(_is_number(number) for number in value["sums"].values())
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(float(value)) < 1e100
