"""Results: read, and shown as Markdown tables."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imagebind_llm.checkpoints.card import CardSection, Evaluation
from imagebind_llm.common.errors import CheckpointError, UserError, one_line
from imagebind_llm.common.files import load_json
from imagebind_llm.evaluation.suite import suite_kind

SCHEMA = 2
"""Of a results file; a reader refuses another."""
_PARTS = (
    "task", "model", "settings", "n", "units", "main", "shown", "metrics", "groups", "failed", "first_error",
    "environment",
)  # fmt: skip
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


def shown(estimate: Mapping[str, Any] | None, unit: str = "share") -> str:
    """``97.2 (96.4–97.9)``: a metric and its 95 % interval, shares in per cent; a dash without a value."""
    if estimate is None or estimate["value"] is None:
        return "–"
    factor = 100 if unit == "share" else 1
    text = f"{factor * estimate['value']:.1f}" if unit == "share" else f"{estimate['value']:.4g}"
    if estimate["low"] is None or estimate["high"] is None:
        return text
    ends = [factor * estimate[end] for end in ("low", "high")]
    return text + (" ({:.1f}–{:.1f})" if unit == "share" else " ({:.4g}–{:.4g})").format(*ends)


def markdown(results: Mapping[str, Any]) -> str:
    """The results of :func:`.runner.run_suite` as a report."""
    metrics, units = results["metrics"], results["shown"]
    by_group = results["groups"]
    head = ["items", "n", *metrics]
    rows: list[Sequence[object]] = []
    for name, group in [*sorted(by_group.items()), ("all", results)]:
        cells = [shown(group["metrics"].get(metric), units.get(metric, "share")) for metric in metrics]
        rows.append([name, group["n"], *cells])
    text = f"# {results['task']}\n\n"
    if by_group or len(metrics) <= 4:
        text += table(head, rows)
    else:
        turned = [[metric, cell] for metric, cell in zip(metrics, rows[0][2:], strict=True)]
        text += table(["metric", f"n = {results['n']}"], turned)
    text += "\nShares in per cent; in brackets 95 % bootstrap intervals"
    if results["units"] != results["n"]:
        text += (
            f". What belongs together, as questions about one picture, is drawn together ({results['units']})"
        )
    text += ".\n"
    if (found := results.get("calibration")) is not None:
        text += f"\n{_calibration_words(found)}\n"
    if results["failed"]:
        text += (
            f"\n{results['failed']} of the items could not be asked and count as wrong; the first: "
            f"{one_line(results['first_error'], 200)}\n"
        )
    return text


def _calibration_words(found: Mapping[str, Any]) -> str:
    error = found["error"]
    return (
        f"Mean confidence {100 * found['confidence']:.1f} %, right {100 * found['right']:.1f} %, of the "
        f"{found['n']} answers that came with a confidence; expected calibration error "
        f"{100 * error['value']:.1f} ({100 * error['low']:.1f}–{100 * error['high']:.1f}) points."
    )


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
    if not isinstance(values, dict) or not isinstance(values.get("task"), str):
        raise UserError(f"{name!r} lacks task; run the evaluation again")
    read = suite_kind(values["task"]).read
    if read is not None:
        return dict(read(Path(path)))
    schema = values.get("schema")
    if schema != SCHEMA:
        raise UserError(f"{name!r} has schema {schema!r}; expected {SCHEMA}; run the evaluation again")
    missing = [part for part in _PARTS if part not in values]
    if missing:
        raise UserError(f"{name!r} lacks {', '.join(missing)}; run the evaluation again")
    return values


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
    main = results["main"]
    value = results["metrics"][main]["value"]
    if value is not None and results["shown"].get(main, "share") == "share":
        value = round(100 * value, 2)
    entry = {
        "task": {"type": "any-to-any", "name": results["task"]},
        "dataset": {"name": results["task"], "type": results["task"]},
        "metrics": [{"type": main, "name": main, "value": value}],
    }
    return CardSection(markdown(results).partition("\n")[2].lstrip(), [] if value is None else [entry])
