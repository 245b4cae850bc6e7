"""How honest nano's doubt is: strange pictures by source, and known against unknown as a threshold moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imagebind_llm.evaluation.calibration import calibration
from imagebind_llm.evaluation.metrics import Score
from imagebind_llm.evaluation.report import percent, table
from nano_lab.evaluation.confidence import Judged, confidences, curve, separation
from nano_lab.evaluation.drawn_inputs import large_photographs
from nano_lab.evaluation.model import AssistantUnderTest
from nano_lab.evaluation.sets import EmbeddedSet, embed_set, picture_sets, settings_of
from nano_lab.evaluation.strange_pictures import IMAGENET_CHOOSING, strange_pictures
from nano_lab.evaluation.variants import HEADLINE, about, naming_turns
from nano_lab.grammar import is_doubt, judge
from nano_lab.world.senses import World

KEEP = 0.97
"""The threshold chosen keeps at least this share of the right names."""


def judged(model: AssistantUnderTest, data: EmbeddedSet, seed: int) -> Judged:
    """Ask what each picture of a set is."""
    questions = about(naming_turns(seed, data.name, data.labels, *HEADLINE), data.conditions())
    answers = model.answer(questions)
    return Judged(
        np.array([judge(text, (int(label),)) for text, label in zip(answers, data.labels, strict=True)]),
        np.array([is_doubt(text) for text in answers]),
        confidences(model, questions, answers),
    )


def evaluate_doubt(model: AssistantUnderTest, data: Path, seed: int, items: int) -> dict[str, Any]:
    """Doubt about strange pictures, and its price in known ones.

    The threshold is chosen on the first half of ImageNet's other classes and on the first half of the known
    pictures; what is reported beside it comes from the other halves.
    """
    settings = settings_of(model.bot.processor.media)
    world = World(data, "test", settings)
    sets = [*picture_sets(world, items), *large_photographs(data, settings, items)]
    known = [judged(model, embed_set(model, raw), seed) for raw in sets]
    strange = {
        raw.name: judged(model, embed_set(model, raw), seed)
        for raw in strange_pictures(data, settings, seed, items)
    }
    first = _joined([_half(part, 0) for part in known])
    second = _joined([_half(part, 1) for part in known])
    choosing = strange.pop(IMAGENET_CHOOSING, None)
    unknown = _joined(list(strange.values()))
    chosen = 0.0
    if choosing is not None:
        rows = curve(first, choosing)
        chosen = max(
            (row["threshold"] for row in rows if row["known_right"] >= KEEP * rows[0]["known_right"]),
            default=0.0,
        )
    return {
        "sources": {
            name: {
                "doubts": Score.of(part.doubted).to_dict(),
                "doubts_below_threshold": Score.of(part.doubted | (part.sure < chosen)).to_dict(),
            }
            for name, part in strange.items()
        },
        "of_known": {
            raw.name: {
                "right": Score.of(part.right).to_dict(),
                "doubts": Score.of(part.doubted).to_dict(),
            }
            for raw, part in zip(sets, known, strict=True)
        },
        "calibration": {
            "known": _calibration(_joined(known), lambda part: part.right, seed),
            "unknown": _calibration(unknown, lambda part: part.doubted, seed),
        },
        "threshold": chosen,
        "curve": curve(second, unknown),
        "separation": separation(second, unknown),
        "known": len(second.sure),
        "unknown": len(unknown.sure),
    }


def _calibration(part: Judged, right: Callable[[Judged], np.ndarray], seed: int) -> dict[str, Any] | None:
    """Whether confidence is the probability of being right; each picture is a unit of its own."""
    pictures = [str(number) for number in range(len(part.sure))]
    return calibration(part.sure.tolist(), right(part).astype(float).tolist(), pictures, seed)


def _half(part: Judged, number: int) -> Judged:
    return Judged(part.right[number::2], part.doubted[number::2], part.sure[number::2])


def _joined(parts: list[Judged]) -> Judged:
    return Judged(
        np.concatenate([part.right for part in parts]),
        np.concatenate([part.doubted for part in parts]),
        np.concatenate([part.sure for part in parts]),
    )


def doubt_tables(results: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    sources = [
        [name, row["doubts"]["n"], percent(row["doubts"]), percent(row["doubts_below_threshold"])]
        for name, row in results["sources"].items()
    ]
    head = ["source", "n", "doubts", f"doubts, or names with confidence below {results['threshold']:g}"]
    names = ("known_right", "known_wrong", "known_doubted", "unknown_doubted")
    known = [
        [name, row["right"]["n"], percent(row["right"]), percent(row["doubts"])]
        for name, row in results["of_known"].items()
    ]
    rows = [
        [f"{row['threshold']:g}", *(f"{100 * row[name]:.1f}" for name in names)] for row in results["curve"]
    ]
    calibrated = []
    for name, what in (("known", "named"), ("unknown", "doubted")):
        if (found := results["calibration"][name]) is not None:
            error = found["error"]
            ends = f"{100 * error['low']:.1f}–{100 * error['high']:.1f}"
            calibrated.append(
                [
                    f"{name}, right: {what}",
                    found["n"],
                    f"{100 * found['confidence']:.1f}",
                    f"{100 * found['right']:.1f}",
                    f"{100 * error['value']:.1f} ({ends})",
                ]
            )
    moving = ["threshold", "known: named rightly", "named wrongly", "doubted", "unknown: doubted"]
    return (
        "## Doubt\n\n"
        + table(head, sources)
        + "\n"
        + table(["known things", "n", "named rightly", "doubts"], known)
        + f"\n{results['known']} known and {results['unknown']} unknown pictures, as a threshold on "
        + f"confidence moves (separation {results['separation']:.3f}):\n\n"
        + table(moving, rows)
        + "\nWhether confidence can be read as the probability of being right:\n\n"
        + table(["pictures", "n", "mean confidence", "right", "expected calibration error"], calibrated)
    )
