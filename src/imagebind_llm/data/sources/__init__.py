"""Where samples come from: one file per kind of data, one table of kinds."""

from importlib import import_module
from pathlib import Path

from imagebind_llm.common.errors import BadSample
from imagebind_llm.data.sources.base import (
    Embedded,
    Record,
    Source,
    SourceKind,
    SourceSettings,
    StreamingSource,
)
from imagebind_llm.data.sources.described import follow

__all__ = [
    "BadSample",
    "Embedded",
    "Record",
    "Source",
    "SourceKind",
    "SourceSettings",
    "StreamingSource",
    "open_source",
]

_MODULES: dict[SourceKind, str] = {
    "tsv": "tables",
    "csv": "tables",
    "llava": "dialogs",
    "alpaca": "dialogs",
    "webdataset": "tars",
    "parquet": "parquet",
    "datasets": "hub",
    "folder": "folders",
    "embedded": "embedded",
}
"""Kind → module of this package; each has ``open_source(settings, index_folder)``."""


def open_source(settings: SourceSettings, index_folder: Path | None = None) -> Source | StreamingSource:
    """The source that ``settings`` describe, or the file at their path (a ``source.yaml`` of ``data clean``).

    Args:
        index_folder: where the positions of rows are kept, so that a large file is looked through once;
            None = ``imagebind-llm/index`` in the user's cache folder (``$XDG_CACHE_HOME`` or ``~/.cache``).
            Nothing is written beside the data.

    Raises:
        TrainingDataError: there are no such data, or they are not of this kind at all.
        ConfigError: the settings do not fit the kind.
        MissingExtraError: the kind needs a library that is not installed.
    """
    settings = follow(settings)
    module = import_module(f"{__name__}.{_MODULES[settings.kind]}")
    source: Source | StreamingSource = module.open_source(settings, index_folder)
    return source
