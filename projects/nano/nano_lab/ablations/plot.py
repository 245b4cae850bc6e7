"""Ablations as one picture: bars for the choices of training, lines for the settings of the cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagebind_llm.common.files import atomic_write
from imagebind_llm.evaluation.plots import load_pyplot

_SERIES = (("pictures", "pictures", "#4477aa"), ("zero_shot", "other senses (zero-shot)", "#ee6677"))
_COLUMNS = 3


def draw(summary: Mapping[str, Any], path: Path) -> None:
    """One small panel for each comparison; 95 % intervals over items. Sweeps of a setting, whose differences
    are small, show only the part of the scale that they need."""
    pyplot = load_pyplot()
    groups = summary["groups"]
    rows = -(-len(groups) // _COLUMNS)
    figure, grid = pyplot.subplots(rows, _COLUMNS, figsize=(11, 2.9 * rows), squeeze=False)
    panels = grid.flatten()
    for panel, group in zip(panels[: len(groups)], groups, strict=True):
        sweep = group["kind"] == "cache" and len(group["arms"]) > 3
        (_lines if sweep else _bars)(panel, group)
        low = _lowest(group) if sweep else 0
        panel.set_title(group["title"] + (f" (scale from {low} %)" if low else ""), fontsize=9)
        panel.set_ylim(low, 100)
        panel.yaxis.set_major_locator(pyplot.MaxNLocator(5, integer=True))
        panel.tick_params(labelsize=7)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[len(groups) :]:
        panel.axis("off")
    for row in grid:
        row[0].set_ylabel("right answers, %", fontsize=8)
    panels[0].legend(fontsize=7, frameon=False, loc="lower left", bbox_to_anchor=(0, 1.12), ncols=2)
    figure.tight_layout()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=90)
    pyplot.close(figure)


def _bars(panel: Any, group: Mapping[str, Any]) -> None:
    for number, (key, label, colour) in enumerate(_SERIES):
        values, errors = _heights([variant[key] for variant in group["arms"]])
        places = [i + (number - 0.5) * 0.38 for i in range(len(values))]
        panel.bar(
            places, values, 0.36, label=label, color=colour, yerr=errors, capsize=2, error_kw={"lw": 0.8}
        )
    panel.set_xticks(
        range(len(group["arms"])), [_wrapped(variant["name"]) for variant in group["arms"]], fontsize=7
    )


def _lines(panel: Any, group: Mapping[str, Any]) -> None:
    """A sweep: the setting that differs between the variants on the horizontal axis, in equal steps."""
    (setting,) = [
        key for key in group["arms"][0]["cache"] if len({a["cache"][key] for a in group["arms"]}) > 1
    ]
    variants = sorted(group["arms"], key=lambda variant: variant["cache"][setting])
    for number, (key, label, colour) in enumerate(_SERIES):
        values, errors = _heights([variant[key] for variant in variants])
        places = [place + 0.1 * (number - 0.5) for place in range(len(variants))]
        panel.errorbar(places, values, errors, label=label, color=colour, marker="o", ms=3, lw=1, capsize=2)
    panel.set_xticks(range(len(variants)), [f"{variant['cache'][setting]:g}" for variant in variants])


def _lowest(group: Mapping[str, Any]) -> int:
    """Where the scale of a sweep begins: a multiple of ten below all intervals."""
    low = min(100 * variant[key]["low"] for variant in group["arms"] for key, _, _ in _SERIES)
    return max(0, 10 * int(low // 10))


def _heights(scores: list[Mapping[str, Any]]) -> tuple[list[float], list[list[float]]]:
    values = [100 * score["accuracy"] for score in scores]
    below = [100 * (score["accuracy"] - score["low"]) for score in scores]
    above = [100 * (score["high"] - score["accuracy"]) for score in scores]
    return values, [below, above]


def _wrapped(name: str) -> str:
    return name.replace(" only", "\nonly").replace(", ", ",\n").replace(" (", "\n(")
