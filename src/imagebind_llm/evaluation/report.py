"""Results: read, and shown as Markdown tables."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imagebind_llm.checkpoints.card import CardSection, Evaluation
from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.common.files import load_json
from imagebind_llm.evaluation.suite import suite_kind

SCHEMA = 1
Score = Mapping[str, Any]


def percent(score: Score | None) -> str:
    """``97.2 (96.4–97.9)``: per cent and the 95 % interval; a dash without a score."""
    if score is None:
        return "–"
    return f"{100 * score['accuracy']:.1f} ({100 * score['low']:.1f}–{100 * score['high']:.1f})"


def points(difference: Score | None) -> str:
    """``+2.1 (+0.3…+3.9)``: a difference in points and its 95 % interval; a dash without one."""
    if difference is None:
        return "–"
    value, low, high = (100 * difference[key] for key in ("difference", "low", "high"))
    return f"{value:+.1f} ({low:+.1f}…{high:+.1f})"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def markdown(results: Mapping[str, Any]) -> str:
    """The scores of :func:`.runner.run_suite` as a report."""
    rows: list[Sequence[object]] = [
        [name, score["n"], percent(score)] for name, score in sorted(results["groups"].items())
    ]
    rows.append(["all", results["score"]["n"], percent(results["score"])])
    text = f"# {results['task']}\n\n" + table(["items", "n", "right, % (95 % interval)"], rows)
    if results["failed"]:
        text += f"\n{results['failed']} items could not be asked and count as wrong.\n"
    return text


def read_results(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the ``results.json`` of an evaluation.

    Raises:
        UserError: it is missing, not JSON, of another schema or incomplete, or its suite is not installed.
    """
    name = os.fspath(path)
    try:
        values = load_json(Path(path))
    except OSError as error:
        raise UserError(
            f"cannot read {name!r} ({error.strerror}); make it with: imagebind-llm eval"
        ) from None
    except ValueError as error:
        raise UserError(f"{name!r} is not JSON ({error}); run the evaluation again") from None
    schema = values.get("schema") if isinstance(values, dict) else None
    if schema != SCHEMA:
        raise UserError(f"{name!r} has schema {schema!r}; expected {SCHEMA}; run the evaluation again")
    missing = [part for part in ("task", "model") if part not in values]
    if missing:
        raise UserError(f"{name!r} lacks {', '.join(missing)}; run the evaluation again")
    read = suite_kind(values["task"]).read
    return dict(values if read is None else read(Path(path)))


def evaluation_for_card(folder: Path) -> Evaluation:
    """The results in an evaluation folder (or the file itself), as a model card takes them.

    Raises:
        CheckpointError: there are none.
        UserError: see :func:`read_results`.
    """
    file = folder / "results.json" if folder.is_dir() else folder
    if not file.is_file():
        raise CheckpointError(f"{str(folder)!r} has no results.json; make it with: imagebind-llm eval")
    results = read_results(file)
    return Evaluation(results, card_section(results))


def card_section(results: Mapping[str, Any]) -> CardSection:
    """What a model card says of ``results``.

    Raises:
        UserError: their suite is not installed.
    """
    card = suite_kind(str(results.get("task"))).card
    if card is not None:
        return card(results)
    score = results["score"]
    entry = {
        "task": {"type": "any-to-any", "name": results["task"]},
        "dataset": {"name": results["task"], "type": results["task"]},
        "metrics": [{"type": "accuracy", "name": "accuracy", "value": round(100 * score["accuracy"], 2)}],
    }
    return CardSection(markdown(results).partition("\n")[2].lstrip(), [entry])
