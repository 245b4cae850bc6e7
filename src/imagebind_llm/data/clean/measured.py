"""What was measured, on disk: shards of Parquet that are written whole, one after the other.

A folder of shards belongs to one source, one encoder and one way of measuring (``job.json``); thresholds do
not matter here, so they can be changed without measuring again. ``complete.json`` says that the source ended.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import CleanError
from imagebind_llm.common.files import atomic_write

THUMBNAIL_SIDE = 112
"""Longer side of the pictures in the report, pixels (about 3 kB each)."""

LIGHT = ("key", "caption", "error", "text_hash", "width", "height", "contrast", "pixel_hash", "near_hash")
"""Columns needed to judge, beside ``agreement``: some hundred bytes a sample."""

_SHARD = re.compile(r"shard-(\d{6})\.parquet")


class Measured:
    """The shards in a folder.

    Args:
        folder: made if it is not there.
        job: plain values that must be the same for every run that adds to the folder.

    Raises:
        CleanError: the folder belongs to another job or holds something else.
    """

    def __init__(self, folder: Path, job: dict[str, Any]) -> None:
        self.folder = folder
        self._claim(job)
        numbers = sorted(int(found[1]) for p in folder.iterdir() if (found := _SHARD.fullmatch(p.name)))
        if numbers != list(range(len(numbers))):
            raise CleanError(f"{str(folder)!r} lacks shards in between; delete the folder and start again")
        self.shards = [self._path(number) for number in numbers]

    @property
    def complete(self) -> bool:
        """Whether the source was measured to its end."""
        return (self.folder / "complete.json").is_file()

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write the next shard, whole or not at all."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._path(len(self.shards))
        with atomic_write(path) as temporary:
            pq.write_table(pa.Table.from_pylist(list(rows), schema=_schema()), temporary)
        self.shards.append(path)

    def finish(self) -> None:
        """Remember that there are no more samples."""
        with atomic_write(self.folder / "complete.json") as path:
            path.write_text(json.dumps({"shards": len(self.shards)}) + "\n", encoding="utf-8")

    def sizes(self) -> list[int]:
        """Samples in each shard."""
        import pyarrow.parquet as pq

        return [_guard(path, lambda p: int(pq.read_metadata(p).num_rows)) for path in self.shards]

    def tables(self, columns: Sequence[str]) -> Iterator[Any]:
        """The shards in order as Arrow tables of some columns, one in memory at a time."""
        import pyarrow.parquet as pq

        for path in self.shards:
            yield _guard(path, lambda p: pq.read_table(p, columns=list(columns)))

    def take(self, rows: Sequence[int], columns: Sequence[str]) -> dict[int, dict[str, Any]]:
        """Some columns of some samples, by number."""
        wanted = sorted(set(rows))
        found: dict[int, dict[str, Any]] = {}
        first = 0
        import pyarrow.parquet as pq

        for path, size in zip(self.shards, self.sizes(), strict=True):
            here = [row - first for row in wanted if first <= row < first + size]
            if here:
                table = _guard(path, lambda p: pq.read_table(p, columns=list(columns)))
                for row, values in zip(here, table.take(here).to_pylist(), strict=True):
                    found[first + row] = values
            first += size
        return found

    def _path(self, number: int) -> Path:
        return self.folder / f"shard-{number:06d}.parquet"

    def _claim(self, job: dict[str, Any]) -> None:
        path = self.folder / "job.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(".*"):  # of a process that was killed while it wrote
            leftover.unlink()
        if not path.is_file():
            if any(self.folder.iterdir()):
                raise CleanError(f"{str(self.folder)!r} holds other files; choose another --out or empty it")
            with atomic_write(path) as temporary:
                temporary.write_text(json.dumps(job, indent=1) + "\n", encoding="utf-8")
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise CleanError(f"{str(path)!r} is damaged; delete its folder and start again") from None
        for name, value in job.items():
            if found.get(name) != value:
                raise CleanError(
                    f"{str(self.folder)!r} was measured with {name} {found.get(name)!r}, this run has "
                    f"{value!r}; delete that folder to measure again, or choose another --out"
                )


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema(
        [
            ("key", pa.string()),
            ("caption", pa.string()),
            ("error", pa.string()),
            ("text_hash", pa.binary(16)),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("contrast", pa.float32()),
            ("pixel_hash", pa.binary(16)),
            ("near_hash", pa.uint64()),
            ("signature", pa.binary(768)),
            ("thumbnail", pa.binary()),
            ("agreement", pa.float32()),
            ("embedding", pa.binary()),
        ]
    )


def _guard(path: Path, read: Any) -> Any:
    import pyarrow as pa

    try:
        return read(path)
    except (OSError, pa.ArrowException) as error:
        raise CleanError(
            f"{str(path)!r} is damaged ({' '.join(str(error).split())}); delete its folder and start again"
        ) from error
