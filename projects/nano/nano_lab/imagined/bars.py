"""Results as bars, with intervals, the control arm, chance and targets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagebind_llm.evaluation.plots import load_pyplot, save_figure

_COLOURS = {"digits": "#4477aa", "objects": "#ccbb44", "mixture": "#aa3377"}
_KINDS = {"digits": "digits", "objects": "objects", "mixture": "mixtures"}


def draw_bars(results: Mapping[str, Any], path: Path) -> None:
    """A bar for each task, lying, so that names can be read."""
    pyplot = load_pyplot()
    tasks = results["tasks"]
    figure, axes = pyplot.subplots(figsize=(8.5, 0.36 * len(tasks) + 1.8))
    for kind, colour in _COLOURS.items():
        places = [place for place, task in enumerate(tasks) if task["kind"] == kind]
        if not places:
            continue
        scores = [tasks[place]["right"] for place in places]
        axes.barh(
            places,
            [100 * score["accuracy"] for score in scores],
            0.7,
            color=colour,
            label=_KINDS[kind],
            xerr=[
                [100 * (score["accuracy"] - score["low"]) for score in scores],
                [100 * (score["high"] - score["accuracy"]) for score in scores],
            ],
            capsize=2,
            error_kw={"lw": 0.8},
        )
    for place, task in enumerate(tasks):
        marks = [
            ("control arm", task["control"]["accuracy"], "#ee6677", "-"),
            ("chance", task["chance"], "black", ":"),
            ("target", task["target"], "#228833", "-"),
        ]
        for name, share, colour, style in marks:
            if share is not None:
                line = axes.vlines(
                    100 * share, place - 0.42, place + 0.42, colors=colour, linestyles=style, lw=1.6
                )
                if name not in [label.get_label() for label in axes.collections]:
                    line.set_label(name)
    axes.set_yticks(
        range(len(tasks)), [f"{task['name']} ({task['right']['n']})" for task in tasks], fontsize=8
    )
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("the judge sees in the drawing what was asked for, %")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.4, 1.0), ncols=6, fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
