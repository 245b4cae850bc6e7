"""Drawings of the results: captions beside their controls, naming, and calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imagebind_llm.evaluation.plots import load_pyplot, save_figure

_COLOUR = "#4477aa"


def draw(results: Mapping[str, Any], out: Path) -> list[str]:
    """Draw what the results have into ``out``; returns the names of the files."""
    made = []
    parts = results["parts"]
    if "captions" in parts:
        rows = parts["captions"]["tables"][0]["rows"]
        _bars(rows, ("BLEU-1", "BLEU-4", "CIDEr"), ("%", "%", ""), out / "captions.png")
        made.append("captions.png")
    named = [
        (f"{title}: {row['name']}", row["metrics"][metric])
        for title, name, place, metric in (
            ("photographs", "photographs", 1, "the class or above"),
            ("sounds", "sounds", 1, "right"),
            ("furniture", "furniture", 2, "right category"),
        )
        if name in parts and len(parts[name]["tables"]) > place
        for row in parts[name]["tables"][place]["rows"]
    ]
    if named:
        rows = [{"name": title, "metrics": {"named": value}} for title, value in named]
        _bars(rows, ("named",), ("%",), out / "naming.png")
        made.append("naming.png")
    tables = {title: found for part in parts.values() for title, found in part.get("calibration", {}).items()}
    if tables:
        _reliability(tables, out / "calibration.png")
        made.append("calibration.png")
    return made


def _bars(
    rows: Sequence[Mapping[str, Any]], metrics: Sequence[str], units: Sequence[str], path: Path
) -> None:
    """Bars with 95 % intervals, one panel a metric, a row a bar."""
    pyplot = load_pyplot()
    figure, panels = pyplot.subplots(
        1, len(metrics), figsize=(3.2 * len(metrics) + 3, 0.4 * len(rows) + 1.2), sharey=True, squeeze=False
    )
    places = range(len(rows))
    for axes, metric, unit in zip(panels[0], metrics, units, strict=True):
        factor = 100 if unit == "%" else 1
        found = [row["metrics"][metric] for row in rows]
        values = [factor * (one["value"] or 0.0) for one in found]
        below = [0.0 if one["low"] is None else factor * (one["value"] - one["low"]) for one in found]
        above = [0.0 if one["high"] is None else factor * (one["high"] - one["value"]) for one in found]
        error = [[max(0.0, end) for end in below], [max(0.0, end) for end in above]]
        axes.barh(places, values, color=_COLOUR, xerr=error, capsize=2, error_kw={"lw": 0.8})
        axes.set_title(f"{metric}, %" if unit == "%" else metric, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_yticks(places, [row["name"] for row in rows], fontsize=8)
    panels[0][0].invert_yaxis()
    save_figure(figure, path)


def _reliability(tables: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Share of right answers over mean confidence, bins of equally many answers, Wilson's intervals."""
    pyplot = load_pyplot()
    figure, panels = pyplot.subplots(
        1, len(tables), figsize=(2.9 * len(tables), 3.2), sharey=True, squeeze=False
    )
    for axes, (title, found) in zip(panels[0], tables.items(), strict=True):
        bins = found["bins"]
        at, right = [one["confidence"] for one in bins], [one["right"] for one in bins]
        error = [
            [one["right"] - one["low"] for one in bins],
            [one["high"] - one["right"] for one in bins],
        ]
        axes.plot([0, 1], [0, 1], color="0.7", lw=1)
        axes.errorbar(at, right, yerr=error, fmt="o", ms=3, lw=0.8, capsize=2, color=_COLOUR)
        axes.set_title(f"{title}\nn = {found['n']}, ECE {100 * found['error']['value']:.1f}", fontsize=8)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel("confidence", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("right", fontsize=8)
    save_figure(figure, path)
