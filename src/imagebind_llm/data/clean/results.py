"""Verdicts → lists, scores, groups and the cleaned source."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from imagebind_llm.common.errors import BadSample, CleanError
from imagebind_llm.data.clean.cleaned import cleaned_source
from imagebind_llm.data.clean.judge import KEPT, REASONS, Verdicts
from imagebind_llm.data.clean.measured import Measured
from imagebind_llm.data.clean.rules import NAMES, UNREADABLE
from imagebind_llm.data.clean.sample import storable
from imagebind_llm.data.mixture import samples
from imagebind_llm.data.sources.base import Source, StreamingSource
from imagebind_llm.data.sources.settings import SourceSettings


def write_scores(measured: Measured, verdicts: Verdicts, path: Path) -> None:
    """One row a sample: ``index``, ``key``, ``reason`` (null = kept), ``duplicate_of`` (an index or null) and
    a column of scores for each rule (null where it does not apply)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("index", pa.int64()),
            ("key", pa.string()),
            ("reason", pa.string()),
            ("duplicate_of", pa.int64()),
            *((name, pa.float32()) for name in NAMES),
        ]
    )
    first = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for keys in _keys(measured):
            part = slice(first, first + len(keys))
            reasons = [None if r == KEPT else REASONS[r] for r in verdicts.reason[part]]
            originals = [None if o < 0 else int(o) for o in verdicts.original[part]]
            columns: list[Any] = [
                pa.array(range(first, first + len(keys)), pa.int64()),
                pa.array(keys, pa.string()),
                pa.array(reasons, pa.string()),
                pa.array(originals, pa.int64()),
            ]
            for place in range(len(NAMES)):
                values = verdicts.scores[part, place]
                columns.append(pa.array(values, pa.float32(), mask=np.isnan(values)))
            writer.write_table(pa.table(columns, schema=schema))
            first += len(keys)


def write_lists(measured: Measured, verdicts: Verdicts, source: str, folder: Path) -> None:
    """``kept.jsonl`` and ``dropped.jsonl``, in the order of the source, and ``quarantine.jsonl``, what could
    not be read, in the form of :class:`~imagebind_llm.data.quarantine.Quarantine`."""
    originals = sorted({int(o) for o in verdicts.original[verdicts.original >= 0]})
    keys = {row: values["key"] for row, values in measured.take(originals, ["key"]).items()}
    index = 0
    with (
        (folder / "kept.jsonl").open("w", encoding="utf-8") as kept,
        (folder / "dropped.jsonl").open("w", encoding="utf-8") as dropped,
        (folder / "quarantine.jsonl").open("w", encoding="utf-8") as quarantine,
    ):
        for table in measured.tables(["key", "error"]):
            for key, error in zip(table["key"].to_pylist(), table["error"].to_pylist(), strict=True):
                line: dict[str, Any] = {"index": index, "key": key}
                number = int(verdicts.reason[index])
                if number == KEPT:
                    _line(kept, line)
                else:
                    line["reason"] = REASONS[number]
                    if error is not None:
                        line["detail"] = error
                        _line(quarantine, {"source": source, "key": key, "reason": error})
                    else:
                        line["score"] = _plain(verdicts.scores[index, number - 1])
                    if verdicts.original[index] >= 0:
                        line["duplicate_of"] = keys[int(verdicts.original[index])]
                    _line(dropped, line)
                index += 1


def duplicate_groups(verdicts: Verdicts) -> Iterator[tuple[int, np.ndarray]]:
    """Each kept sample that has duplicates, with their numbers, in the order of the source."""
    members = np.flatnonzero(verdicts.original >= 0)
    members = members[np.argsort(verdicts.original[members], kind="stable")]
    if len(members):
        for group in np.split(members, np.flatnonzero(np.diff(verdicts.original[members])) + 1):
            yield int(verdicts.original[group[0]]), group


def write_groups(measured: Measured, verdicts: Verdicts, path: Path) -> None:
    """One line a group: ``{"kept": key, "duplicates": [{"key", "reason", "score"}, …]}``."""
    involved = np.flatnonzero(verdicts.original >= 0)
    numbers = sorted({*involved.tolist(), *verdicts.original[involved].tolist()})
    keys = {row: values["key"] for row, values in measured.take(numbers, ["key"]).items()}
    with path.open("w", encoding="utf-8") as file:
        for original, members in duplicate_groups(verdicts):
            found = [
                {
                    "key": keys[int(row)],
                    "reason": REASONS[verdicts.reason[row]],
                    "score": _plain(verdicts.scores[row, verdicts.reason[row] - 1]),
                }
                for row in members
            ]
            _line(file, {"kept": keys[original], "duplicates": found})


def write_cleaned(
    source: Source | StreamingSource,
    settings: SourceSettings,
    measured: Measured,
    verdicts: Verdicts,
    folder: Path,
    place: Path,
) -> None:
    """Go through the source once more and write what is kept.

    Raises:
        CleanError: the source no longer gives the samples that were measured.
    """
    keys = (key for part in _keys(measured) for key in part)
    items = samples(source)
    with cleaned_source(settings, folder, place) as writer:
        for index, key in enumerate(keys):
            item = next(items, None)
            if item is None or storable(item.key) != key:
                raise CleanError(
                    f"sample {index} was {key!r} when it was measured and is now "
                    f"{getattr(item, 'key', None)!r}; clean a source that nobody changes meanwhile"
                )
            if verdicts.reason[index] == KEPT:
                if isinstance(item, BadSample):
                    raise CleanError(f"{item}; it could be read when it was measured")
                writer.write(item)


def summary(verdicts: Verdicts) -> dict[str, Any]:
    """Counts and bounds, for programs."""
    rows = verdicts.counts
    return {
        "samples": len(verdicts.reason),
        "kept": verdicts.kept,
        "dropped": {name: count for name, count in rows.items() if count or name == UNREADABLE},
        "duplicate_groups": len(np.unique(verdicts.original[verdicts.original >= 0])),
        "duplicates_with_other_words": verdicts.retold,
        "bounds": {name: [_plain(low), _plain(high)] for name, (low, high) in verdicts.bounds.items()},
    }


def _keys(measured: Measured) -> Iterator[list[str]]:
    for table in measured.tables(["key"]):
        yield table["key"].to_pylist()


def _line(file: Any, value: dict[str, Any]) -> None:
    file.write(json.dumps(value, ensure_ascii=False) + "\n")


def _plain(value: Any) -> float | None:
    """A float32 as the shortest number that is the same float32."""
    if value is None or math.isnan(float(value)):
        return None
    return float(str(np.float32(value)))
