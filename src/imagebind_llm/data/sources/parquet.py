"""Parquet files with a picture and a caption column.

Pictures are bytes, paths, or the ``{bytes, path}`` pairs of Hugging Face data sets. Rows are read a row group
at a time, and the last few groups are kept. ``blocks`` says where groups start, so that training mixes a few
groups at a time and reads each once a pass.
"""

import bisect
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import BadSample, TrainingDataError
from imagebind_llm.data.sources.base import Record, SourceSettings, digest, files_digest, list_files, names_of
from imagebind_llm.data.sources.captions import caption_record, picture_path

_IMAGE = ("image", "jpg", "png", "webp")
"""After Hugging Face's, those of img2dataset's encodings."""
_CAPTION = ("caption", "txt", "text")
_KEPT = 8
"""Row groups in memory: as many as training mixes, and those it goes on to."""
_KEPT_BYTES = 1 << 30
"""What they may take together; the latest one is kept in any case."""


class ParquetSource:
    """A :class:`~imagebind_llm.data.sources.base.Source` of Parquet files.

    Args:
        settings: they may say what the columns are called.
        files: in order.
        image, caption: what the columns may be called else; the first that is there is taken.
    """

    def __init__(
        self, settings: SourceSettings, files: list[Path], image: Sequence[str], caption: Sequence[str]
    ) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.name = settings.label
        self._settings = settings
        self._files = files
        self._names = names_of(files)
        self._firsts = [0]
        self._groups: list[tuple[int, int]] = []
        self._kept: OrderedDict[int, Any] = OrderedDict()
        for number, path in enumerate(files):
            try:
                with pq.ParquetFile(path) as file:
                    facts, names = file.metadata, file.schema_arrow.names
            except (OSError, pa.ArrowException) as error:
                raise TrainingDataError(f"{str(path)!r} is no readable Parquet file ({error})") from None
            if not number:
                self._image = _chosen(names, settings.columns.get("image"), image)
                self._caption = _chosen(names, settings.columns.get("caption"), caption)
            missing = [name for name in (self._image, self._caption) if name not in names]
            if missing:
                raise TrainingDataError(
                    f"{str(path)!r} has no column {missing[0]!r}, only {', '.join(names)}; set columns: "
                    "{image: …, caption: …} (--column image=NAME)"
                )
            for group in range(facts.num_row_groups):
                self._groups.append((number, group))
                self._firsts.append(self._firsts[-1] + facts.row_group(group).num_rows)
        if not len(self):
            raise TrainingDataError(f"{settings.path!r} holds no rows; expected at least one sample")
        self.fingerprint = digest(files_digest(files), len(self))

    def __len__(self) -> int:
        return self._firsts[-1]

    def read(self, index: int) -> Record:
        """See :class:`~imagebind_llm.data.sources.base.Source`."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        group = bisect.bisect_right(self._firsts, index) - 1
        file, within = self._groups[group]
        path = self._files[file]
        key = f"{self._names[file]}:{within}:{index - self._firsts[group]}"
        rows = self._rows(group)
        if isinstance(rows, str):
            raise BadSample(key, f"row group {within} is damaged ({rows})")
        row = rows.slice(index - self._firsts[group], 1).to_pylist()[0]
        picture = picture_of(key, row[self._image], self._settings.root or path.parent)
        return caption_record(key, self.name, picture, row[self._caption], self._settings.instruction)

    @property
    def blocks(self) -> list[int]:
        """The first row of each row group, and the number of rows."""
        return self._firsts

    def _rows(self, group: int) -> Any:
        """The rows of a group (an Arrow table), or why they cannot be read (a string)."""
        if group not in self._kept:
            import pyarrow as pa
            import pyarrow.parquet as pq

            file, within = self._groups[group]
            rows: Any
            try:
                with pq.ParquetFile(self._files[file]) as opened:
                    rows = opened.read_row_group(within, [self._image, self._caption])
            except (OSError, ValueError, pa.ArrowException) as error:
                rows = str(error)
            self._kept[group] = rows
            while len(self._kept) > 1 and (len(self._kept) > _KEPT or self._kept_bytes() > _KEPT_BYTES):
                self._kept.popitem(last=False)
        self._kept.move_to_end(group)
        return self._kept[group]

    def _kept_bytes(self) -> int:
        return sum(rows.nbytes for rows in self._kept.values() if not isinstance(rows, str))


def _chosen(names: Sequence[str], said: str | None, known: Sequence[str]) -> str:
    return said or next((name for name in known if name in names), known[0])


def picture_of(key: str, value: Any, root: str | Path) -> Any:
    """The picture of a table's cell: bytes or a path.

    Raises:
        BadSample: it is empty or neither.
    """
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes | bytearray) and value:
        return bytes(value)
    if value is None or value == b"":
        raise BadSample(key, "no picture")
    return picture_path(key, value, root)


def open_source(settings: SourceSettings, index_folder: Path | None) -> ParquetSource:
    """See :func:`imagebind_llm.data.sources.open_source`. A Parquet file carries its own index."""
    return ParquetSource(settings, list_files(settings.path, (".parquet",)), _IMAGE, _CAPTION)
