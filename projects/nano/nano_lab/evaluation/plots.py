"""Nano's results as pictures: bars with intervals for all senses, and a confusion table for each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagebind_llm.evaluation.plots import load_pyplot, save_figure

_BARS = (
    ("encoder", "encoder alone", "0.75"),
    ("cache_off", "cache off", "#4477aa"),
    ("cache_on", "cache on", "#ee6677"),
)
"""Part of the results, name and colour of each bar."""


def draw_all(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw every picture into ``folder`` and return their paths."""
    made = [folder / "senses.png"]
    draw_senses(results, made[0])
    for row in results["senses"]:
        made.append(folder / f"confusion-{row['name'].lower().replace(' ', '-')}.png")
        draw_confusion(row, made[-1])
    return made


def draw_senses(results: Mapping[str, Any], path: Path) -> None:
    """Accuracy of every sense: encoder alone, cache off, cache on; 95 % intervals, chance and targets."""
    pyplot = load_pyplot()
    senses = results["senses"]
    bars = [bar for bar in _BARS if all(bar[0] in row for row in senses)]
    figure, axes = pyplot.subplots(figsize=(1.0 * len(senses) + 2.5, 4.5))
    width = 0.8 / len(bars)
    for number, (key, label, colour) in enumerate(bars):
        places = [i + (number - (len(bars) - 1) / 2) * width for i in range(len(senses))]
        values = [100 * row[key]["accuracy"] for row in senses]
        below = [100 * (row[key]["accuracy"] - row[key]["low"]) for row in senses]
        above = [100 * (row[key]["high"] - row[key]["accuracy"]) for row in senses]
        axes.bar(
            places,
            values,
            width,
            label=label,
            color=colour,
            yerr=[below, above],
            capsize=2,
            error_kw={"lw": 0.8},
        )
    for i, row in enumerate(senses):
        chance = axes.hlines(100 * row["chance"], i - 0.45, i + 0.45, colors="black", linestyles=":", lw=1.2)
        if i == 0:
            chance.set_label("chance")
        if row["target"] is not None:
            target = axes.hlines(100 * row["target"], i - 0.45, i + 0.45, colors="#228833", lw=1.2)
            if i == 0:
                target.set_label("target")
    names = [f"{row['name']}\n({row['origin']})" for row in senses]
    axes.set_xticks(range(len(senses)), names, rotation=35, ha="right", fontsize=8)
    axes.set_ylim(0, 100)
    axes.set_ylabel("named rightly, %")
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=5, fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def draw_reliability(results: Mapping[str, Any], path: Path) -> None:
    """Of the answers about as sure, the share that is right; for known and for unknown pictures.

    Args:
        results: of ``--part doubt``.
        path: a PNG.
    """
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(figsize=(4.8, 4.2))
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="calibrated")
    for name, what, colour in (("known", "named rightly", "#4477aa"), ("unknown", "doubted", "#ee6677")):
        if (found := results["calibration"][name]) is None:
            continue
        bins = found["bins"]
        shares = [one["right"] for one in bins]
        ends = [
            [one["right"] - one["low"] for one in bins],
            [one["high"] - one["right"] for one in bins],
        ]
        label = f"{name}, {what} (n = {found['n']}, error {100 * found['error']['value']:.1f} points)"
        places = [one["confidence"] for one in bins]
        axes.errorbar(places, shares, yerr=ends, marker="o", capsize=2, lw=1.2, color=colour, label=label)
    axes.set_xlabel("confidence")
    axes.set_ylabel("right")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def draw_confusion(row: Mapping[str, Any], path: Path) -> None:
    """What was named for each true label, in per cent of the label's items."""
    pyplot = load_pyplot()
    found = row["confusion"]
    counts = found["counts"]
    shares = [[100 * n / max(1, sum(line)) for n in line] for line in counts]
    rows, columns = found["rows"], found["columns"]
    figure, axes = pyplot.subplots(figsize=(0.42 * len(columns) + 2.2, 0.36 * len(rows) + 2.0))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for i, line in enumerate(shares):
        for j, share in enumerate(line):
            if share >= 0.5:
                colour = "white" if share > 55 else "black"
                axes.text(j, i, f"{share:.0f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(columns)), columns, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set_xlabel("named")
    axes.set_ylabel("true")
    axes.set_title(
        f"{row['name']}, cache {row['default']}, n = {row['cache_off']['n']} (% of row)", fontsize=9
    )
    save_figure(figure, path)
