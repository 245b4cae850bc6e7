"""What a part of the measurement returns: tables of plain values, of which pages and cards are made.

A part is a mapping with ``title``, ``notes`` (sentences), ``tables`` and ``goals``, and perhaps
``calibration`` (name → what :func:`imagebind_llm.evaluation.calibration.calibration` returns).
"""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from imagebind_llm.evaluation.bootstrap import Sums, estimates
from imagebind_llm.evaluation.suite import Floats, Item, Sample

Row = dict[str, Any]
"""``name``, ``n``, ``units`` (drawn together by the bootstrap), and ``metrics``: metric → ``value``, ``low``,
``high``."""
Part = dict[str, Any]


def row_of_results(name: str, results: Mapping[str, Any], failed_of: str = "") -> Row:
    """The row of a suite's results (:func:`imagebind_llm.evaluation.runner.run_suite`).

    Args:
        name: what the row is called.
        results: of the suite.
        failed_of: what an item is called, for the note on those that could not be asked.
    """
    row: Row = {
        "name": name,
        "n": results["n"],
        "units": results["units"],
        "metrics": dict(results["metrics"]),
    }
    if results.get("failed"):
        row["note"] = f"{results['failed']} {failed_of or 'items'} could not be read and count as wrong"
    return row


def row_of_samples(
    name: str,
    items: Sequence[Item],
    samples: Sequence[Sample],
    metrics: Callable[[Mapping[str, Floats]], Mapping[str, Floats]],
    points: Container[str] = (),
) -> Row:
    """The row of what was judged without a suite: each metric with its bootstrap interval over units.

    Args:
        name: of the row.
        items: what was judged.
        samples: what each adds.
        metrics: made of their sums.
        points: those that are no shares.
    """
    sums = Sums.of(items, samples)
    found = estimates(sums, metrics, points=points)
    counted = sum(bool(sample.sums) for sample in samples)
    return {
        "name": name,
        "n": counted,
        "units": sums.units,
        "metrics": {metric: estimate.to_dict() for metric, estimate in found.items()},
    }


def table(title: str, columns: Mapping[str, str], rows: Sequence[Row], n_is: str = "n") -> dict[str, Any]:
    """A table.

    Args:
        title: above it.
        columns: metric → how it is shown: ``"share"`` (per cent) or ``"points"`` (as it is).
        rows: of it.
        n_is: head of the column with the numbers.
    """
    return {"title": title, "columns": dict(columns), "rows": list(rows), "n_is": n_is}


def goal(what: str, wanted: float, row: Row, metric: str, at_most: bool = False, unit: str = "share") -> Row:
    """A goal of the project beside what was measured.

    Args:
        what: in words.
        wanted: the bound, in the metric's unit.
        row: where the metric stands.
        metric: which.
        at_most: the value may not be above the bound; else not below.
        unit: as a table's columns have it.
    """
    found = row["metrics"][metric]
    value = found["value"]
    met = value is not None and (value <= wanted if at_most else value >= wanted)
    return {
        "what": what,
        "goal": wanted,
        "at_most": at_most,
        "unit": unit,
        "n": row["n"],
        **found,
        "met": bool(met),
    }
