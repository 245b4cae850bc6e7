"""Results as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagebind_llm.evaluation.report import percent, table


def report(results: Mapping[str, Any]) -> str:
    """The judge, every task, the solids, the sounds, and what holds for all of them."""
    judge, tasks = results["judge"], results["tasks"]
    far = {task["name"]: 100 * abs(task["control"]["accuracy"] - task["chance"]) for task in tasks}
    farthest = max(far, key=lambda name: far[name])
    lines = [
        f"The judge, trained on {judge['trained_on']} real pictures, names real test pictures rightly: "
        f"digits {percent(judge['digits'])} %, objects {percent(judge['objects'])} % (95 % intervals).",
        "",
        tasks_table(tasks),
        f"The control arm is at most {far[farthest]:.1f} points from chance ({farthest}).",
        "",
        solids_table(results["solids"]),
        sounds_table(results["sounds"])
        if results["sounds"] is not None
        else "Sounds: this generator has none, so there is nothing to judge.",
    ]
    return "\n".join(lines) + "\n"


def tasks_table(tasks: list[Mapping[str, Any]]) -> str:
    """Every task: how often the judge sees what was asked for."""
    rows = [
        [
            task["name"],
            task["right"]["n"],
            percent(task["right"]),
            percent(task["control"]),
            f"{100 * task['chance']:.1f}",
            "" if task["target"] is None else f"≥ {100 * task['target']:.0f}",
            {None: "", True: "yes", False: "**no**"}[task["met"]],
        ]
        for task in tasks
    ]
    return table(["drawn", "n", "right, %", "control arm, %", "chance, %", "target", "met"], rows)


def solids_table(solids: list[Mapping[str, Any]]) -> str:
    """Drawings made solid, seen from in front."""
    rows = [
        [row["name"], row["right"]["n"], percent(row["right"]), row["refused"], percent(row["control"])]
        for row in solids
    ]
    return table(["made", "n", "right, %", "refused", "control arm, %"], rows)


def sounds_table(sounds: list[Mapping[str, Any]]) -> str:
    """Sounds that were looked up, and things that have none."""
    rows = [
        [
            row["name"],
            row["right"]["n"],
            percent(row["right"]),
            row["refused"],
            percent(row["control"]),
            "" if row["without"] is None else row["without"]["n"],
            "" if row["without"] is None else percent(row["without"]),
        ]
        for row in sounds
    ]
    heads = ["looked up", "n", "right, %", "refused", "control arm, %", "n without a sound", "refused, %"]
    return table(heads, rows)
