"""Drawings of the claims, as PNG bytes that are the same whenever the numbers are."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from imagebind_llm.evaluation.plots import load_pyplot
from imagebind_llm.evaluation.suite import Floats

_LABELS = {"first": "the first alone", "second": "the second alone", "both": "both", "other": "anything else"}
_COLOURS = {"first": "#4477aa", "second": "#ee6677", "both": "#228833", "other": "#999999"}
_HUES = ("#bbbbbb", "#ee6677", "#aa3377", "#228833", "#ccbb44", "#66ccee", "#4477aa", "#cc6633")


def png(figure: Any) -> bytes:
    """A figure as PNG, and close it."""
    figure.tight_layout()
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    load_pyplot().close(figure)
    return stream.getvalue()


def draw_curves(curves: Mapping[str, Mapping[str, Any]]) -> bytes:
    """What is named at every weight.

    Args:
        curves: title → ``first`` and ``second`` (what is mixed) and ``points``
            (:meth:`.mixtures.Point.to_dict`).
    """
    pyplot = load_pyplot()
    figure, panels = pyplot.subplots(
        1, len(curves), figsize=(4.2 * len(curves), 3.8), sharey=True, squeeze=False
    )
    for axes, (title, curve) in zip(panels[0], curves.items(), strict=True):
        weights = [point["weight"] for point in curve["points"]]
        for name, label in _LABELS.items():
            shares = [point[name] for point in curve["points"]]
            axes.plot(
                weights,
                [100 * share["accuracy"] for share in shares],
                color=_COLOURS[name],
                marker=".",
                label=label,
            )
            axes.fill_between(
                weights,
                [100 * share["low"] for share in shares],
                [100 * share["high"] for share in shares],
                color=_COLOURS[name],
                alpha=0.2,
                linewidth=0,
            )
        axes.set_title(f"{title} (n = {curve['points'][0]['n']})", fontsize=9)
        axes.set_xlabel(f"weight of the second, {curve['second']}")
        axes.set_ylim(0, 100)
        axes.set_xlim(0, 1)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("named, %")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(
        handles, labels, fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4
    )
    return png(figure)


def draw_maps(maps: Mapping[str, Sequence[tuple[str, Floats]]]) -> bytes:
    """Embeddings in a plane, one panel for each title; a set keeps its colour, its mean is a cross.

    Args:
        maps: title → sets (name, ``[n, 2]`` places), the same names in each.
    """
    pyplot = load_pyplot()
    figure, panels = pyplot.subplots(
        1, len(maps), figsize=(5.2 * len(maps), 4.8), sharex=True, sharey=True, squeeze=False
    )
    for axes, (title, sets) in zip(panels[0], maps.items(), strict=True):
        for number, (name, places) in enumerate(sets):
            colour = _HUES[number % len(_HUES)]
            axes.scatter(places[:, 0], places[:, 1], s=7, color=colour, alpha=0.5, linewidths=0, label=name)
            axes.plot(*places.mean(axis=0), marker="X", color=colour, markeredgecolor="black", markersize=7)
        axes.set_title(title, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
    panels[0][-1].legend(
        fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=2
    )
    return png(figure)
