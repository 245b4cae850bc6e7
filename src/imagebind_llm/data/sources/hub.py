"""Hugging Face data sets: from the hub or a folder, whole or streamed.

Pictures are taken as they are stored and decoded here, under this package's limits.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import BadSample, TrainingDataError, reason_of, require
from imagebind_llm.data.sources.base import Record, SourceSettings, digest
from imagebind_llm.data.sources.captions import caption_record
from imagebind_llm.data.sources.parquet import picture_of

_LOOKED_AT = 64
"""Captions that the fingerprint of a data set covers, spread over it evenly."""


class _Cells:
    """What whole and streamed data sets have in common: a row becomes a record."""

    def __init__(self, settings: SourceSettings, data: Any) -> None:
        self.name = settings.label
        self._settings = settings
        self._image, self._caption = settings.column("image"), settings.column("caption")
        datasets = require("datasets", "train", "kind: datasets")
        names = list(data.column_names or [])
        missing = [name for name in (self._image, self._caption) if names and name not in names]
        if missing:
            raise TrainingDataError(
                f"the data set {settings.path!r} has no column {missing[0]!r}, only {', '.join(names)}; set "
                "columns: {image: …, caption: …}"
            )
        if data.features is not None and isinstance(data.features.get(self._image), datasets.Image):
            data = data.cast_column(self._image, datasets.Image(decode=False))
        self._data = data

    def _record(self, index: int, row: dict[str, Any]) -> Record:
        key = f"{self._settings.split}:{index}"
        value = row.get(self._image)
        root = self._settings.root or "."
        return caption_record(
            key, self.name, picture_of(key, value, root), row.get(self._caption), self._settings.instruction
        )


class HubSource(_Cells):
    """A :class:`~imagebind_llm.data.sources.base.Source` of a data set on this machine."""

    def __init__(self, settings: SourceSettings, data: Any) -> None:
        super().__init__(settings, data)
        if not len(self):
            raise TrainingDataError(f"the data set {settings.path!r} holds no rows in {settings.split!r}")
        step = max(1, len(self) // _LOOKED_AT)
        captions = self._data.select(range(0, len(self), step))[self._caption]
        self.fingerprint = digest("datasets", len(self), str(self._data.features), list(map(str, captions)))

    def __len__(self) -> int:
        return len(self._data)

    def read(self, index: int) -> Record:
        """See :class:`~imagebind_llm.data.sources.base.Source`."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._record(index, self._data[index])


class HubStream(_Cells):
    """A :class:`~imagebind_llm.data.sources.base.StreamingSource` of a data set read while it comes."""

    def __init__(self, settings: SourceSettings, data: Any) -> None:
        super().__init__(settings, data)
        version = getattr(data.info, "version", None)
        self.fingerprint = digest(
            "stream", settings.path, settings.config, settings.split, str(data.features), str(version)
        )

    def stream(self, start: int = 0) -> Iterator[Record | BadSample]:
        """See :class:`~imagebind_llm.data.sources.base.StreamingSource`."""
        for index, row in enumerate(self._data.skip(start) if start else self._data, start=start):
            try:
                yield self._record(index, row)
            except BadSample as bad:
                yield bad


def open_source(settings: SourceSettings, index_folder: Path | None) -> HubSource | HubStream:
    """See :func:`imagebind_llm.data.sources.open_source`. These data sets carry their own index."""
    datasets = require("datasets", "train", "kind: datasets")
    place = Path(settings.path).expanduser()
    try:
        if (place / "dataset_info.json").is_file() or (place / "dataset_dict.json").is_file():
            data = datasets.load_from_disk(str(place))
            if isinstance(data, datasets.DatasetDict):
                data = data[settings.split]
            if settings.streaming:
                data = data.to_iterable_dataset()
        else:
            data = datasets.load_dataset(
                settings.path, settings.config, split=settings.split, streaming=settings.streaming
            )
    except Exception as error:  # the library's own, the hub's, and those of the layers below
        reason = reason_of(error)
        raise TrainingDataError(f"cannot open the data set {settings.path!r}: {reason}") from error
    return (HubStream if settings.streaming else HubSource)(settings, data)
