"""Compare two finished evaluations of one suite, item by item."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import numpy as np

from imagebind_llm.common.errors import UserError, one_line
from imagebind_llm.evaluation.bootstrap import Change, Sums, changes, holm
from imagebind_llm.evaluation.folder import Finished
from imagebind_llm.evaluation.page import card, in_turn
from imagebind_llm.evaluation.page_parts import figure, flat, interval, render, words
from imagebind_llm.evaluation.report import table
from imagebind_llm.evaluation.suite import Item, Sample, Suite, suite_kind
from imagebind_llm.evaluation.tiles import Tiles

EXAMPLES = 12
"""Of each kind on the page."""
_IN_TEXT = 5
_LEGEND = (
    "Shares in per cent; intervals are of a bootstrap over the same units of both runs, p-values of 10,000 "
    "exchanges of the runs' answers, unit by unit."
)
_SEVERAL = (
    "{} metrics were tested, so one of them may differ by chance; the last column is Holm's correction."
)

_Record = Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found.

    Attributes:
        runs: both evaluations.
        pairs: the samples of each item that both have, in the first run's order.
        left_out: how many items only the first run has, and how many only the second.
        changes: metric → how it differs, second less first; the main one comes first.
        corrected: metric → its p-value corrected for the number of metrics (Holm); NaN where there is none.
        units: independent units that were compared.
    """

    runs: tuple[Finished, Finished]
    pairs: Sequence[tuple[_Record, _Record]]
    left_out: tuple[int, int]
    changes: Mapping[str, Change]
    corrected: Mapping[str, float]
    units: int

    @property
    def names(self) -> tuple[str, str]:
        """What both models are called, with a digest of the weights where there is one."""
        first, second = (_name(run) for run in self.runs)
        return first, second

    @property
    def better(self) -> list[tuple[_Record, _Record]]:
        """Pairs that score higher in the second run, the largest difference first."""
        return _by_difference(self.pairs, 1)

    @property
    def worse(self) -> list[tuple[_Record, _Record]]:
        """Pairs that score lower in the second run, the largest difference first."""
        return _by_difference(self.pairs, -1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: ``task``, ``first``, ``second``, ``n``, ``units``, ``left_out``,
        ``metrics``, ``gained`` and ``lost`` (keys), ``settings`` that differ (``name: [first, second]``)."""
        corrected = {name: None if np.isnan(p) else round(p, 5) for name, p in self.corrected.items()}
        return {
            "task": self.runs[0].results["task"],
            "first": {"folder": str(self.runs[0].folder), "model": self.names[0]},
            "second": {"folder": str(self.runs[1].folder), "model": self.names[1]},
            "n": len(self.pairs),
            "units": self.units,
            "left_out": list(self.left_out),
            "metrics": {
                name: {**change.to_dict(), "p_holm": corrected[name]} for name, change in self.changes.items()
            },
            "gained": [second["key"] for _, second in self.better],
            "lost": [second["key"] for _, second in self.worse],
            "settings": {name: [one, other] for name, one, other in self.differing()},
        }

    def differing(self) -> list[tuple[str, str, str]]:
        """Facts of models, settings and environments that are not the same; ``–`` where one has none."""
        first, second = (
            dict(flat({part: run.results.get(part) or {} for part in ("model", "settings", "environment")}))
            for run in self.runs
        )
        names = dict.fromkeys([*first, *second])
        return [
            (name, first.get(name, "–"), second.get(name, "–"))
            for name in names
            if first.get(name) != second.get(name)
        ]


def compare(first: Finished, second: Finished, shared: bool = False) -> Comparison:
    """Compare two runs over the same items.

    Args:
        first: the run to start from.
        second: the run whose gains and losses are of interest.
        shared: leave out items that only one run has, instead of refusing.

    Raises:
        UserError: the runs are of other suites or other items, an item was not the same in both, the suite is
            not installed or has scores of its own making, or nothing was counted.
    """
    tasks = [run.results["task"] for run in (first, second)]
    if tasks[0] != tasks[1]:
        raise UserError(
            f"{str(first.folder)!r} is of {tasks[0]!r} and {str(second.folder)!r} of {tasks[1]!r}; give two "
            "evaluations of one suite"
        )
    one, other = (_by_key(run) for run in (first, second))
    left_out = len(one.keys() - other.keys()), len(other.keys() - one.keys())
    keys = [key for key in one if key in other]
    if not keys or (any(left_out) and not shared):
        only = next(key for key in [*one, *other] if key not in one or key not in other)
        where = first.folder if only in one else second.folder
        remedy = "; --shared compares those" if keys else ""
        raise UserError(
            f"the runs have other items: {left_out[0]} are only in {str(first.folder)!r} and {left_out[1]} "
            f"only in {str(second.folder)!r} (such as {one_line(only, 60)!r} of {str(where)!r}); they share "
            f"{len(keys)}{remedy}"
        )
    pairs = [(one[key], other[key]) for key in keys]
    for before, after in pairs:
        part = next((part for part in ("expected", "unit") if before.get(part) != after.get(part)), None)
        if part is None and bool(before["sums"]) != bool(after["sums"]):
            part = "number of sums"
        if part is not None:
            raise UserError(
                f"item {one_line(before['key'], 60)!r} has another {part} in {str(second.folder)!r} than in "
                f"{str(first.folder)!r}; run one of them again, with the same data and settings"
            )
    suite = _suite(first)
    sums = [_sums(samples) for samples in zip(*pairs, strict=True)]
    found = dict(changes(sums[0], sums[1], suite.metrics))
    if not found:
        raise UserError("none of the items is counted in a metric; there is nothing to compare")
    names = sorted(found, key=lambda name: name != suite.main)
    corrected = holm([found[name].p for name in names])
    return Comparison(
        (first, second),
        pairs,
        left_out,
        {name: found[name] for name in names},
        dict(zip(names, corrected, strict=True)),
        sums[0].units,
    )


def _by_key(run: Finished) -> dict[str, _Record]:
    found: dict[str, _Record] = {sample["key"]: sample for sample in run.samples}
    if len(found) < len(run.samples):
        raise UserError(f"{str(run.folder / 'samples.jsonl')!r} has a key twice; run the evaluation again")
    return found


def _sums(samples: Sequence[_Record]) -> Sums:
    items = [Item(sample["key"], {}, unit=sample["unit"]) for sample in samples]
    return Sums.of(items, [Sample(sample["sums"]) for sample in samples])


def _suite(run: Finished) -> Suite:
    """The suite of a run, made as it was then."""
    task = run.results["task"]
    make = suite_kind(task).make
    if make is None:
        raise UserError(
            f"suite {task!r} makes its results itself, without sums over items; it cannot be compared"
        )
    known = inspect.signature(make, eval_str=True).parameters
    given = run.results["settings"].get("suite") or {}
    arguments = {
        name: Path(value) if isinstance(value, str) and _is_path(known[name].annotation) else value
        for name, value in given.items()
        if name in known
    }
    return make(**arguments)


def _is_path(kind: Any) -> bool:
    """Whether an option's type is a path, or a path or nothing."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind is Path or Path in get_args(kind)


def _name(run: Finished) -> str:
    model = run.results["model"]
    name, digest = str(model.get("name") or "a model"), model.get("weights_sha256")
    return f"{name} ({digest[:8]})" if isinstance(digest, str) else name


def _by_difference(pairs: Sequence[tuple[_Record, _Record]], sign: int) -> list[tuple[_Record, _Record]]:
    found = [
        (sign * (after["score"] - before["score"]), before, after)
        for before, after in pairs
        if before["score"] is not None and after["score"] is not None
    ]
    found = [entry for entry in found if entry[0] > 0]
    return [(before, after) for _, before, after in sorted(found, key=lambda one: (-one[0], one[1]["key"]))]


def _rows(found: Comparison) -> list[dict[str, Any]]:
    units = found.runs[0].results["shown"]
    rows = []
    for name, change in found.changes.items():
        unit = units.get(name, "share")
        plain = change.to_dict()
        rows.append(
            {
                "name": name,
                "first": figure(plain["first"], unit),
                "second": figure(plain["second"], unit),
                "difference": figure(plain["difference"], unit, sign=True),
                "interval": interval(plain, unit, sign=True),
                "p": _p(change.p),
                "p_holm": _p(found.corrected[name]),
                "change": plain,
                "share": unit == "share",
            }
        )
    return rows


def _p(value: float) -> str:
    if np.isnan(value):
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _notes(found: Comparison) -> list[str]:
    notes = []
    if any(found.left_out):
        notes.append(
            f"{found.left_out[0]} items of A and {found.left_out[1]} of B are in that run only, and left out."
        )
    failed = [sum("error" in sample for sample in samples) for samples in zip(*found.pairs, strict=True)]
    if any(failed):
        notes.append(f"Could not be asked, and count as wrong: {failed[0]} of A, {failed[1]} of B.")
    first, second = (run.results["settings"].get("suite") for run in found.runs)
    if first != second:
        notes.append("The suite was set otherwise in the two runs; metrics are made as in A.")
    tested = sum(not np.isnan(change.p) for change in found.changes.values())
    return notes + ([_SEVERAL.format(tested)] if tested > 1 else [])


def comparison_markdown(found: Comparison) -> str:
    """The comparison for a terminal or a document."""
    rows = _rows(found)
    several = sum(bool(row["p"]) for row in rows) > 1
    head = ["metric", "A", "B", "B less A (95 %)", "p", *(["p, all tests"] if several else [])]
    cells = [
        [
            row["name"],
            row["first"],
            row["second"],
            row["difference"] + (f" ({row['interval']})" if row["interval"] else ""),
            row["p"] or "–",
            *([row["p_holm"] or "–"] if several else []),
        ]
        for row in rows
    ]
    text = f"# {found.runs[0].results['task']}\n\nA: {found.names[0]}, in {found.runs[0].folder}\n"
    text += f"B: {found.names[1]}, in {found.runs[1].folder}\n\n{table(head, cells)}\n"
    text += f"{len(found.pairs)} items" + f" in {found.units} units" * (found.units != len(found.pairs))
    text += f". {_LEGEND}\n"
    text += "".join(f"\n{note}\n" for note in _notes(found))
    better, worse = found.better, found.worse
    if better or worse:
        text += f"\n{len(better)} items score higher in B, {len(worse)} lower.\n"
        lines = []
        for title, pairs in (("higher", better), ("lower", worse)):
            for before, after in in_turn(pairs, _IN_TEXT):
                said = [_quoted(sample) for sample in (before, after)]
                expected = one_line(words(before["expected"]), 60)
                lines.append([title, one_line(before["key"], 50), expected, *said])
        escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
        text += "\n" + table(["in B", "item", "expected", "A", "B"], escaped)
    differing = [
        (name, one, other) for name, one, other in found.differing() if name != "settings.items_sha256"
    ]
    if differing:
        cells = [[name, one_line(one, 40), one_line(other, 40)] for name, one, other in differing]
        text += "\n" + table(["setting", "A", "B"], cells)
    return text


def _quoted(sample: _Record) -> str:
    return one_line(sample.get("answer") or words(sample["read"]) or sample.get("error") or "–", 60)


def comparison_page(found: Comparison) -> str:
    """The comparison as a page like :func:`.page.page`, with the items that differ most."""
    rows = _rows(found)
    charted = [row for row in rows if row["share"] and row["change"]["difference"] is not None]
    ends = [row["change"][end] for row in charted for end in ("difference", "low", "high")]
    reach = max((abs(end) for end in ends if end is not None), default=0.0)
    reach = min(1.0, max(0.01, 1.1 * reach))
    better, worse, tiles = found.better, found.worse, Tiles()
    scored = any(before["score"] is not None for before, _ in found.pairs)
    other = [] if scored else [pair for pair in found.pairs if pair[0].get("answer") != pair[1].get("answer")]
    sections = [
        (
            title,
            [(card(before, tiles), card(after)) for before, after in in_turn(pairs, EXAMPLES)],
            len(pairs),
        )
        for title, pairs in (("Better in B", better), ("Worse in B", worse), ("Answered otherwise", other))
    ]
    return render(
        "comparison.html",
        task=found.runs[0].results["task"],
        names=found.names,
        n=len(found.pairs),
        main=rows[0] if found.runs[0].results["main"] in found.changes else None,
        gained=len(better) if scored else None,
        lost=len(worse),
        notes=_notes(found),
        legend=_LEGEND,
        rows=rows,
        several=sum(bool(row["p"]) for row in rows) > 1,
        charted=charted,
        axis=(-reach, reach),
        ends=[figure(end, "share", sign=True) for end in (-reach, reach)],
        sections=sections,
        differing=found.differing(),
        facts={
            f"Run {which}": flat({part: run.results.get(part) or {} for part in ("model", "settings")})
            for which, run in zip("AB", found.runs, strict=True)
        },
    )
