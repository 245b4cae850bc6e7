"""A source as a recipe describes it."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.data.sources.base import CAPTION_INSTRUCTION

SourceKind = Literal[
    "tsv", "csv", "llava", "alpaca", "webdataset", "parquet", "datasets", "folder", "embedded"
]

_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "tsv": {"image": "url", "caption": "caption"},
    "csv": {"image": "url", "caption": "caption"},
    "parquet": {"image": "image", "caption": "caption"},
    "datasets": {"image": "image", "caption": "caption"},
    "webdataset": {"caption": "caption"},
    "alpaca": {"instruction": "instruction", "input": "input", "output": "output"},
}
"""The columns (or JSON fields) each kind reads, and their names unless ``columns`` says otherwise."""


@dataclass(frozen=True)
class SourceSettings:
    """One source of a mixture."""

    kind: SourceKind
    """What the data look like: tables of captions (tsv, csv, parquet), JSON dialogs (llava, alpaca), tar
    files of img2dataset (webdataset), a Hugging Face data set (datasets), a folder of pictures with captions
    (folder), or what ``imagebind-llm data embed`` wrote (embedded)."""
    path: str
    """A file, a folder or a pattern (``shards/*.tar``); tsv and csv: also a YAML file with a list META;
    datasets: a hub id or a folder. Of any kind: the ``source.yaml`` that ``data clean`` wrote."""
    weight: float = 1.0
    """Share of the draws; only the ratios count."""
    name: str | None = None
    """What reports call it; null = the path's last part."""
    columns: dict[str, str] = field(default_factory=dict)
    """Other names of the columns that are read, for example ``{image: file, caption: text}``."""
    root: str | None = None
    """Folder that relative picture paths start from; null = the folder of the file that names them."""
    instruction: str = CAPTION_INSTRUCTION
    """What the user asks for each image-caption pair."""
    split: str = "train"
    """datasets only: which split."""
    config: str | None = None
    """datasets only: which configuration."""
    streaming: bool = False
    """datasets only: read while downloading; for ``data embed``, not for drawing at random."""

    def __post_init__(self) -> None:
        if not self.weight >= 0 or self.weight == float("inf"):
            raise ConfigError(f"source {self.path!r}: weight is {self.weight}; expected 0 or more")
        known = _COLUMNS.get(self.kind, {})
        for column in self.columns:
            if column not in known:
                near = difflib.get_close_matches(column, list(known), n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known) or 'none'}"
                raise ConfigError(f"source {self.path!r} of kind {self.kind}: columns has {column!r}; {hint}")
        if self.kind != "datasets" and (self.streaming or self.config is not None or self.split != "train"):
            raise ConfigError(
                f"source {self.path!r} of kind {self.kind}: split, config and streaming belong to "
                "kind: datasets; leave them out"
            )

    @property
    def label(self) -> str:
        """``name``, or what stands for it."""
        return self.name or self.path.rstrip("/").rpartition("/")[2]

    def column(self, role: str) -> str:
        """What the file calls the column ``role``."""
        return self.columns.get(role, _COLUMNS[self.kind][role])
