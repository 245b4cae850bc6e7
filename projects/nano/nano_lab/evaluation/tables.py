"""Nano's results as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagebind_llm.evaluation.report import percent, points, table


def senses_table(results: Mapping[str, Any]) -> str:
    """Every sense: encoder alone, cache off and on, the default, the shuffled control."""
    rows = [
        [
            f"{row['name']} ({row['origin']})",
            row["cache_off"]["n"],
            percent(row["encoder"]),
            percent(row["cache_off"]),
            percent(row.get("cache_on")),
            points(row.get("difference")),
            row["default"],
            percent(row["doubt"]),
            percent(row["shuffled"]),
            f"{100 * row['chance']:.1f}",
        ]
        for row in results["senses"]
    ]
    head = [
        "sense", "n", "encoder alone", "cache off", "cache on", "on − off", "default", "doubts", "shuffled",
        "chance",
    ]  # fmt: skip
    return table(head, rows)


def strange_table(results: Mapping[str, Any]) -> str:
    """Far-off input: how often nano doubts (right) and how often it names something (wrong)."""
    rows = [
        [
            row["name"],
            row["cache_off"]["n"],
            percent(row["cache_off"]),
            percent(row.get("cache_on")),
            row["default"],
            percent(row["invented"]),
            percent(row["encoder"]),
        ]
        for row in results["strange"]
    ]
    head = [
        "input",
        "n",
        "doubts, cache off",
        "doubts, cache on",
        "default",
        "invents",
        "encoder alone: unclear",
    ]
    total = results["strange_total"]
    return table(head, rows) + f"\nAll together, at the defaults: {percent(total)} of {total['n']} doubted.\n"


def mixtures_table(results: Mapping[str, Any]) -> str:
    """Mixtures: both things named and nothing else."""
    rows = [
        [
            row["name"],
            row["cache_off"]["n"],
            percent(row.get("encoder")),
            percent(row["cache_off"]),
            percent(row.get("cache_on")),
            row["default"],
        ]
        for row in results["mixtures"]
    ]
    return table(["mixture", "n", "encoder alone (nearest two)", "cache off", "cache on", "default"], rows)


def wordings_table(results: Mapping[str, Any]) -> str:
    """The same items asked in both languages, in seen and unseen phrasings."""
    cells = [f"{language}/{split}" for language in ("en", "zh") for split in ("train", "heldout")]
    wordings = results["wordings"]
    rows = [[row["name"], *(percent(row[cell]) for cell in cells)] for row in wordings["by_sense"]]
    rows.append(["all", *(percent(wordings["all"][cell]) for cell in cells)])
    head = ["sense", "English, seen", "English, unseen", "Chinese, seen", "Chinese, unseen"]
    gaps = (
        f"\nUnseen against seen phrasings: {points(wordings['unseen_minus_seen'])} points. "
        f"Chinese against English: {points(wordings['chinese_minus_english'])} points.\n"
    )
    return table(head, rows) + gaps


def skills_table(results: Mapping[str, Any]) -> str:
    """Other kinds of questions, dialogs, text alone and no media."""
    rows: list[list[object]] = [
        [f"questions: {name}", score["n"], percent(score)] for name, score in results["kinds"].items()
    ]
    rows += [[f"dialogs: {name}", score["n"], percent(score)] for name, score in results["dialogs"].items()]
    rows += [[f"text only: {name}", score["n"], percent(score)] for name, score in results["text"].items()]
    silent = results["no_media"]
    rows.append(
        [
            "media left out: right by luck",
            silent["named_right"]["n"],
            percent(silent["named_right"]),
        ]
    )
    rows.append(
        [
            "media left out: says that nothing was given",
            silent["said_nothing_given"]["n"],
            percent(silent["said_nothing_given"]),
        ]
    )
    return table(["what", "n", "right, %"], rows)


def targets_table(results: Mapping[str, Any]) -> str:
    """The project's own targets and what was measured at the default settings."""
    rows = []
    for row in results["targets"]:
        if row["low"] is None:
            rows.append([row["name"], row["target"], row["value"], "yes" if row["met"] else "**no**"])
            continue
        sign = "+" if row["target"] < 0 else ""
        measured = (
            f"{100 * row['value']:{sign}.1f} ({100 * row['low']:{sign}.1f}…{100 * row['high']:{sign}.1f})"
        )
        rows.append(
            [row["name"], f"≥ {100 * row['target']:.0f}", measured, "yes" if row["met"] else "**no**"]
        )
    return table(["target", "wanted", "measured", "met"], rows)


def report(results: Mapping[str, Any]) -> str:
    """The whole report."""
    model, settings = results["model"], results["settings"]
    total = sum(results["seconds"].values())
    parts = [
        "# Evaluation of nano\n",
        f"Model `{model['name']}`, weights sha256 `{(model['weights_sha256'] or 'unknown')[:16]}`, "
        f"encoder `{model['fingerprints'].get('encoder')}`, commit `{results['environment']['commit']}`, "
        f"seed {settings['seed']}, greedy decoding, {total:.0f} s.\n",
        "Shares in per cent with 95 % intervals. An answer counts when it names the true label and no other. "
        "Main numbers: English, phrasings never used in training. The language model saw image–text pairs "
        f"only. Encoder alone: nearest mean of {results['class_means']}.\n",
        "## Senses\n", senses_table(results),
        "## Targets\n", targets_table(results),
        "## Far-off input\n", strange_table(results),
        "## Mixtures\n", mixtures_table(results),
        "## Languages and phrasings\n", wordings_table(results),
        "## Other questions\n", skills_table(results),
    ]  # fmt: skip
    return "\n".join(parts)
