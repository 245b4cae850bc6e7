"""Ablations as rows of scores, and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imagebind_llm.evaluation.metrics import Difference, Score
from imagebind_llm.evaluation.report import percent, points, table
from nano_lab.ablations.measure import split

_TASK = {
    "pretrain": "Image-caption training of the bind network and the gates; captions are asked for.",
    "finetune": "Instruction tuning after the published pre-training of equal budget; names are asked for.",
    "cache": "Nothing is trained: the finished model is asked for names.",
}


def summarise(results: Mapping[str, Any]) -> dict[str, Any]:
    """The results with scores for every variant: ``pictures`` and ``zero_shot`` (pooled over sets and seeds),
    ``senses`` one by one, ``text`` where it was asked, and paired differences to the group's first variant.
    """
    found = []
    for group in results["groups"]:
        base = [split(run["outcomes"]["media"]) for run in group["arms"][0]["runs"]]
        variants = []
        for variant in group["arms"]:
            parts = [split(run["outcomes"]["media"]) for run in variant["runs"]]
            rows = {"pictures": 0, "zero_shot": 1}
            scores: dict[str, Any] = {
                name: Score.of(o for part in parts for o in part[i]).to_dict() for name, i in rows.items()
            }
            scores["by_seed"] = {
                name: [round(sum(part[i]) / len(part[i]), 5) for part in parts] for name, i in rows.items()
            }
            if variant is not group["arms"][0]:
                scores["difference"] = {
                    name: Difference.of(_joined(base, i), _joined(parts, i)).to_dict()
                    for name, i in rows.items()
                }
            scores["senses"] = {
                name: Score.of(o for run in variant["runs"] for o in run["outcomes"]["media"][name]).to_dict()
                for name in variant["runs"][0]["outcomes"]["media"]
            }
            if "text" in variant["runs"][0]["outcomes"]:
                scores["text"] = Score.of(
                    o for run in variant["runs"] for o in run["outcomes"]["text"]
                ).to_dict()
            runs = [
                {key: value for key, value in run.items() if key != "outcomes"} for run in variant["runs"]
            ]
            variants.append({**variant, "runs": runs, **scores})
        found.append({**group, "arms": variants})
    return {**results, "groups": found}


def _joined(parts: Sequence[tuple[list[bool], list[bool]]], index: int) -> list[bool]:
    return [outcome for part in parts for outcome in part[index]]


def markdown(summary: Mapping[str, Any]) -> str:
    """One table for each comparison. Shares are per cent with 95 % intervals."""
    settings = summary["settings"]
    budget, asked = settings["budget"], settings["questions"]
    lines = [
        f"Budget of a trained variant: {budget['steps']} steps of {budget['batch_size']} dialogs, drawn from "
        f"{budget['images']:,} pictures; seeds {', '.join(map(str, settings['seeds']))}; language model "
        f"{settings['language_model']}. Asked: up to {asked['items']} items of each sense, unseen phrasings, "
        "greedy answers. Shares in per cent with 95 % intervals over items; differences are paired with the "
        "first row of each table.",
        "",
    ]
    for group in summary["groups"]:
        lines += [f"### {group['title'].capitalize()}", "", _TASK[group["kind"]], "", _table(group)]
    return "\n".join(lines)


def _table(group: Mapping[str, Any]) -> str:
    trained = group["kind"] != "cache"
    text = "text" in group["arms"][0]
    seeds = len(group["arms"][0]["runs"]) > 1
    head = ["", "pictures", "difference", "other senses (zero-shot)", "difference"]
    head += ["zero-shot by seed"] * seeds + ["without media"] * text
    head += ["loss at step 1", "last tenth", "held out"] * trained
    rows = []
    for variant in group["arms"]:
        difference = variant.get("difference", {})
        row = [
            variant["name"],
            percent(variant["pictures"]),
            points(difference.get("pictures")),
            percent(variant["zero_shot"]),
            points(difference.get("zero_shot")),
        ]
        if seeds:
            row.append(" ".join(f"{100 * value:.1f}" for value in variant["by_seed"]["zero_shot"]))
        if text:
            row.append(percent(variant["text"]))
        if trained:
            row += [_mean(variant["runs"], key) for key in ("first_loss", "last_loss", "held_out_loss")]
        rows.append(row)
    return table(head, rows)


def _mean(runs: Sequence[Mapping[str, Any]], key: str) -> str:
    values = [run[key] for run in runs if run.get(key) is not None]
    return f"{sum(values) / len(values):.3f}" if values else "–"
