"""The report of an evaluation: one page of HTML that needs nothing else."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imagebind_llm.evaluation.page_parts import figure, flat, interval, label_of, render, spread, words
from imagebind_llm.evaluation.tiles import Tiles, sources

WORST, BEST, FAILED = 24, 6, 6
"""Examples of each kind."""
MOST_GROUPS = 200
MOST_LABELS = 40
_LONGEST_LABEL = 40
_BINS = 20
NOTHING = "(nothing)"
"""The label of an answer that could not be read."""

_Record = Mapping[str, Any]


def page(
    results: Mapping[str, Any], samples: Sequence[_Record], contents: Mapping[str, bytes] | None = None
) -> str:
    """The report, which is the same text for the same arguments and media.

    Args:
        results: of :class:`.runner.Outcome`.
        samples: of the same.
        contents: of the same.

    Returns:
        HTML of at most some 15 MB. It shows pictures and sounds if their files are still there.
    """
    asked = [sample for sample in samples if "error" not in sample and sample["sums"]]
    failed = [sample for sample in samples if "error" in sample]
    scored = [sample for sample in asked if sample["score"] is not None]
    bad = [sample for sample in scored if sample["score"] < 1]
    good = [sample for sample in scored if sample["score"] >= 1]
    lowest = worst(bad, WORST)
    shown_already = {sample["key"] for sample in lowest}
    highest = sorted(bad, key=lambda sample: (-sample["score"], sample["key"]))
    highest = [sample for sample in highest if sample["key"] not in shown_already][:BEST]
    tiles = Tiles(contents)
    shown = results["shown"]
    metrics = [
        metric_row(name, estimate, shown.get(name, "share")) for name, estimate in results["metrics"].items()
    ]
    return render(
        "report.html",
        results=results,
        name=str(results["model"].get("name") or "a model"),
        main=next((row for row in metrics if row["name"] == results["main"]), None),
        metrics=metrics,
        groups=_groups(results),
        confusion=_confusion(asked),
        calibration=results.get("calibration"),
        scores=_scores(scored, len(failed)),
        worst=[card(sample, tiles) for sample in lowest],
        failed=[card(sample, tiles) for sample in spread(failed, FAILED)],
        failures=_failures(failed),
        best=[card(sample, tiles) for sample in spread(good, BEST)],
        highest=[] if good else [card(sample, tiles) for sample in highest],
        others=[card(sample, tiles) for sample in spread(asked, WORST)] if not scored else [],
        facts={
            "Model": flat(results["model"]),
            "Settings": flat(results["settings"]),
            "Environment": flat(results.get("environment") or {}),
        },
        right=len(good),
        wrong=len(bad),
    )


def metric_row(name: str, estimate: Mapping[str, Any], unit: str) -> dict[str, Any]:
    """What a page shows of one metric."""
    return {
        "name": name,
        "value": figure(estimate["value"], unit),
        "percent": unit == "share" and estimate["value"] is not None,
        "interval": interval(estimate, unit),
        "estimate": estimate,
        "share": unit == "share",
    }


def card(sample: _Record, tiles: Tiles | None = None) -> dict[str, Any]:
    """What a page shows of one item and its answer; of its media only if there are tiles."""
    answer, read = sample.get("answer"), words(sample["read"])
    return {
        "key": sample["key"],
        "group": sample["group"],
        "tiles": tiles.of(sample["request"]) if tiles else [],
        "question": str(sample["request"].get("question") or ""),
        "expected": words(sample["expected"]),
        "answer": answer,
        "read": read if read != (answer or "").strip() else "",
        "score": sample["score"],
        "confidence": sample.get("confidence"),
        "error": sample.get("error"),
    }


def worst(samples: Sequence[_Record], count: int) -> list[_Record]:
    """The lowest scores, in turn from each group; then by score and key."""

    def order(sample: _Record) -> tuple[float, str]:
        return sample["score"], sample["key"]

    ordered = [(sample,) for sample in sorted(samples, key=order)]
    return sorted((sample for (sample,) in in_turn(ordered, count)), key=order)


def in_turn(entries: Sequence[tuple[_Record, ...]], count: int) -> list[tuple[_Record, ...]]:
    """At most ``count`` entries: the first of each group, the second of each, and so on, in their order."""
    turns: Counter[str] = Counter()
    ranked = []
    for number, entry in enumerate(entries):
        group = entry[0]["group"]
        ranked.append((turns[group], number, entry))
        turns[group] += 1
    chosen = sorted(ranked, key=lambda one: one[:2])[:count]
    return [entry for _, _, entry in sorted(chosen, key=lambda one: one[1])]


def _groups(results: Mapping[str, Any]) -> dict[str, Any] | None:
    """Groups from the worst to the best by the main metric, and the axis on which they are drawn."""
    main = results["main"]
    unit = results["shown"].get(main, "share")
    groups = [
        {"name": name, "n": group["n"], "metrics": group["metrics"], **metric_row(name, found, unit)}
        for name, group in results["groups"].items()
        if (found := group["metrics"].get(main)) is not None
    ]
    if not groups:
        return None
    groups.sort(
        key=lambda row: (row["estimate"]["value"] is None, row["estimate"]["value"] or 0.0, row["name"])
    )
    ends = [end for row in groups for end in row["estimate"].values() if end is not None and unit != "share"]
    axis = (min(0.0, *ends), max(0.0, *ends) or 1.0) if len(ends) > 1 else (0.0, 1.0)
    names = list(results["metrics"])
    return {
        "rows": groups[:MOST_GROUPS],
        "more": max(0, len(groups) - MOST_GROUPS),
        "axis": axis,
        "ends": [figure(end, unit) for end in axis],
        "names": names,
        "cells": [
            [
                (figure(found["value"], unit_), interval(found, unit_)) if found else ("–", "")
                for name in names
                for found, unit_ in [(row["metrics"].get(name), results["shown"].get(name, "share"))]
            ]
            for row in groups[:MOST_GROUPS]
        ],
    }


def _confusion(samples: Sequence[_Record]) -> dict[str, Any] | None:
    """How often each label was read as which; None unless few labels are expected and read."""
    pairs = []
    for sample in samples:
        expected, read = label_of(sample["expected"]), label_of(sample["read"])
        if expected is None or (read is None and sample["read"] is not None):
            return None
        pairs.append((expected, NOTHING if read is None else read))
    rows = sorted({expected for expected, _ in pairs})
    others = sorted({read for _, read in pairs} - {*rows, NOTHING})
    columns = [*rows, *others, *([NOTHING] if any(read == NOTHING for _, read in pairs) else [])]
    few = 2 <= len(columns) <= MOST_LABELS and rows and 2 * len(rows) <= len(pairs)
    if not few or max(map(len, columns)) > _LONGEST_LABEL or all(read == NOTHING for _, read in pairs):
        return None
    counts = Counter(pairs)
    totals = Counter(expected for expected, _ in pairs)
    return {
        "columns": columns,
        "rows": [
            (
                row,
                totals[row],
                [(counts[row, column], counts[row, column] / totals[row]) for column in columns],
            )
            for row in rows
        ],
    }


def _scores(scored: Sequence[_Record], failed: int) -> dict[str, Any] | None:
    """How the scores of items are distributed; of right and wrong answers only their numbers."""
    if not scored:
        return None
    values = np.clip([sample["score"] for sample in scored], 0.0, 1.0)
    if np.isin(values, (0.0, 1.0)).all():
        right = int(values.sum())
        parts = [("right", right), ("wrong", len(values) - right), ("failed", failed)]
        total = len(values) + failed
        return {"bars": [], "parts": [(name, count, count / total) for name, count in parts if count]}
    counts = np.histogram(values, np.linspace(0, 1, _BINS + 1))[0]
    top = int(counts.max())
    return {
        "parts": [],
        "bars": [
            (f"{at / _BINS:.2f} to {(at + 1) / _BINS:.2f}", int(count), int(count) / top)
            for at, count in enumerate(counts)
        ],
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "most": top,
    }


def _failures(failed: Sequence[_Record]) -> list[tuple[str, int]]:
    """What went wrong and how often, the names of files aside."""
    counts: Counter[str] = Counter()
    for sample in failed:
        message = sample["error"]
        for _, source in sources(sample["request"]):
            if isinstance(source, str) and source:
                message = message.replace(source, "FILE")
        counts[message] += 1
    return sorted(counts.items(), key=lambda found: (-found[1], found[0]))[:20]
