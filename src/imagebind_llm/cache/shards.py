"""Encoded pictures on disk, a shard at a time, so that a run can be interrupted."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagebind_llm.common.errors import CacheError
from imagebind_llm.common.files import atomic_write

_JOB_FILE = "job.json"


@dataclass
class ShardRow:
    """One picture of a shard: ``reason`` is set for those that were left out, the rest for the others."""

    path: str
    caption: str | None
    embedding: np.ndarray | None = None
    thumbnail: bytes | None = None
    reason: str | None = None


def claim(work: Path, job: dict[str, Any]) -> None:
    """Make the work folder this job's, or make sure that it is."""
    path = work / _JOB_FILE
    if not path.is_file():
        if work.is_dir() and any(not p.name.startswith(".") for p in work.iterdir()):
            raise CacheError(f"the work folder {str(work)!r} holds other files; choose another or empty it")
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(job, indent=2) + "\n", encoding="utf-8")
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CacheError(f"{str(path)!r} is damaged; delete the work folder and start again") from error
    for name, value in job.items():
        if not isinstance(found, dict) or found.get(name) != value:
            was = found.get(name) if isinstance(found, dict) else found
            raise CacheError(
                f"the work folder {str(work)!r} belongs to a run with {name} {was!r}, this one has "
                f"{value!r}; delete it to start again, or choose another"
            )


def write_shard(path: Path, rows: Sequence[ShardRow]) -> None:
    """Write a shard, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "path": pa.array([r.path for r in rows], pa.string()),
            "caption": pa.array([r.caption for r in rows], pa.string()),
            "embedding": pa.array(
                [None if r.embedding is None else r.embedding.tobytes() for r in rows], pa.binary()
            ),
            "thumbnail": pa.array([r.thumbnail for r in rows], pa.binary()),
            "reason": pa.array([r.reason for r in rows], pa.string()),
        }
    )
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary)


def left_out(shard: Path) -> list[tuple[str, str]]:
    """Path and reason of the pictures of a shard that could not be read."""
    table = _read(shard, ("path", "reason"))
    pairs = zip(table["path"].to_pylist(), table["reason"].to_pylist(), strict=True)
    return [(path, reason) for path, reason in pairs if reason is not None]


def column(shards: Sequence[Path], name: str) -> Iterator[Any]:
    """Values of one column for all readable pictures, one shard in memory at a time."""
    for path in shards:
        table = _read(path, (name, "reason"))
        yield from table.filter(table["reason"].is_null())[name].to_pylist()


def embeddings(shards: Sequence[Path]) -> Iterator[np.ndarray]:
    """Embeddings ``[n, D]`` of all readable pictures, a block for each shard that has any."""
    for path in shards:
        rows = [np.frombuffer(data, np.float32) for data in column([path], "embedding")]
        if len({len(row) for row in rows}) > 1:
            raise CacheError(
                f"{str(path)!r} has embeddings of several lengths; delete this file and run again"
            )
        if rows:
            yield np.stack(rows)


def _read(path: Path, columns: Sequence[str]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, columns=list(columns))
    except (OSError, pa.ArrowException) as error:
        raise CacheError(f"{str(path)!r} is damaged; delete this file and run again") from error
