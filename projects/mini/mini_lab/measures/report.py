"""The results as Markdown: every number with n and its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imagebind_llm.evaluation.report import shown
from imagebind_llm.evaluation.report import table as markdown_table

_INTERVALS = (
    "Shares in per cent; in brackets 95 % bootstrap intervals over the items, not over training runs. What "
    "belongs together is drawn together."
)


def report(results: Mapping[str, Any], plots: Sequence[str] = ()) -> str:
    """The whole page."""
    limit = results["settings"]["limit"]
    parts = [
        f"# {results['model']['name']}, measured\n",
        f"Weights sha256 `{results['model']['weights_sha256'] or 'unknown'}`. {_INTERVALS}\n",
    ]
    if limit is not None:
        parts.append(f"**A quick look at no more than {limit} items of each set, not the whole.**\n")
    parts.append(goals(results))
    parts += [section(part) for part in results["parts"].values()]
    if calibrated := calibration(results):
        parts.append(calibrated)
    parts += [f"![{name.partition('.')[0]}]({name})\n" for name in plots]
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in results["seconds"].items())
    parts.append(f"Measured in: {seconds}; at commit {', '.join(results['commits'])}.\n")
    return "\n".join(part for part in parts if part)


def section(part: Mapping[str, Any], level: int = 2) -> str:
    """A part: its notes and its tables."""
    text = f"{'#' * level} {part['title']}\n\n"
    for found in part["tables"]:
        if not found["rows"]:
            continue
        text += f"**{found['title']}**\n\n{_table(found)}\n"
    text += "".join(f"{note}\n\n" for note in [*_row_notes(part), *part["notes"]])
    return text


def _table(found: Mapping[str, Any]) -> str:
    columns = found["columns"]
    rows = []
    for row in found["rows"]:
        count = str(row["n"]) if row["units"] == row["n"] else f"{row['n']} in {row['units']} groups"
        cells = [shown(row["metrics"].get(metric), unit) for metric, unit in columns.items()]
        rows.append([row["name"], count, *cells])
    return markdown_table(["", found["n_is"], *(_head(name) for name in columns)], rows)


def _head(metric: str) -> str:
    return metric.replace("_", " ")


def _row_notes(part: Mapping[str, Any]) -> list[str]:
    return [
        f"{row['name']}: {row['note']}." for one in part["tables"] for row in one["rows"] if "note" in row
    ]


def goals(results: Mapping[str, Any], level: int = 2) -> str:
    """The project's goals beside what was measured; met or not."""
    rows = []
    for part in results["parts"].values():
        for one in part["goals"]:
            factor = 100 if one["unit"] == "share" else 1
            bound = f"{'≤' if one['at_most'] else '≥'} {factor * one['goal']:.3g}"
            rows.append(
                [one["what"], one["n"], bound, shown(one, one["unit"]), "yes" if one["met"] else "no"]
            )
    if not rows:
        return ""
    return f"{'#' * level} The project's goals\n\n" + markdown_table(
        ["", "n", "goal", "measured", "met"], rows
    )


def calibration(results: Mapping[str, Any], level: int = 2) -> str:
    """Expected calibration errors of all ways of asking that came with confidences."""
    rows = []
    for part in results["parts"].values():
        for title, found in part.get("calibration", {}).items():
            separation = found["separation"]
            rows.append(
                [
                    title,
                    found["n"],
                    f"{100 * found['confidence']:.1f}",
                    f"{100 * found['right']:.1f}",
                    shown(found["error"]),
                    "–" if separation is None else f"{separation:.3f}",
                ]
            )
    if not rows:
        return ""
    head = ["", "answers", "mean confidence, %", "right, %", "ECE, points", "separation"]
    return (
        f"{'#' * level} Calibration\n\n{markdown_table(head, rows)}\n"
        "*ECE*: expected calibration error over ten bins of equally many answers. *Separation*: how "
        "often a right "
        "answer is surer than a wrong one. A confidence is the probability of these very words; it falls "
        "with "
        "their number.\n"
    )
