"""What every source of training samples gives: records, by index or as a stream.

Two steps, so that looking through a data set does not decode it: ``Source.read`` finds and checks the row and
says where its media are; :meth:`Record.load` opens the pictures. Both raise :class:`BadSample`, and
:class:`~imagebind_llm.data.mixture.SourceMixture` does both, so what it draws can be used. Here too: a source
as a recipe describes it, and where positions in its files are remembered.
"""

import difflib
import glob
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

from imagebind_llm.common.errors import BadSample, ConfigError, TrainingDataError, UserError, reason_of
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.walk import visible_files

if TYPE_CHECKING:
    from imagebind_llm.media.base import Limits

__all__ = ["BadSample", "Embedded", "Record", "Source", "StreamingSource", "replace_media"]


CAPTION_INSTRUCTION = "Generate caption of this image"
"""What the published recipe asks for each image-caption pair."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """A medium that was embedded before: ``vector [D]``, unit length, float32. Stands where a path would."""

    vector: np.ndarray


@dataclass(frozen=True)
class Record:
    """One sample to learn from.

    Attributes:
        key: where it is, unique in its source.
        messages: as :mod:`imagebind_llm.model.messages` reads them; content is a string or a list of parts,
            and a media part ``{"type": "image", "image": source}`` holds a path, bytes, a PIL image, an array
            or an :class:`Embedded`. Without media parts it is text only.
        source: name of the source.
    """

    key: str
    messages: list[dict[str, Any]]
    source: str

    def load(self, limits: "Limits | None" = None) -> "Record":
        """The same record with its pictures opened: paths and bytes become upright RGB PIL images.

        Other media are left alone; they are decoded where they are encoded.

        Raises:
            BadSample: a picture is missing, damaged, of an unknown format or larger than the limits.
        """

        def opened(modality: Modality, source: Any) -> Any:
            if modality is not Modality.IMAGE or not isinstance(source, str | bytes | Path):
                return source
            from imagebind_llm.media.base import Limits, name_of, read_source
            from imagebind_llm.media.budget import reading
            from imagebind_llm.media.image import open_image, to_rgb

            bounds = limits or Limits()
            try:
                with reading(name_of(source), bounds):
                    return to_rgb(open_image(read_source(source, bounds), name_of(source), bounds))
            except UserError as error:
                raise BadSample(self.key, str(error)) from error
            except Exception as error:  # a decoder's own errors: whatever it is, it is this picture's fault
                raise BadSample(self.key, f"{name_of(source)}: damaged image data ({error})") from error

        return replace(self, messages=replace_media(self.messages, opened))


@runtime_checkable
class Source(Protocol):
    """Samples by number.

    One that reads many samples at once may also have ``blocks``, a sequence ``[0, …, len]`` of where such
    blocks start; then training mixes a few blocks at a time (:mod:`imagebind_llm.data.order`).
    """

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when the listing does; 16 hex digits."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> Record:
        """Sample ``0 … len-1``; always the same one for the same index.

        Raises:
            BadSample: this one is corrupt; others may be fine.
        """
        ...


@runtime_checkable
class StreamingSource(Protocol):
    """Samples one after the other, of unknown number."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when the data set's name, version or columns do; 16 hex digits."""
        ...

    def stream(self, start: int = 0) -> Iterator[Record | BadSample]:
        """From sample ``start`` on; corrupt ones come as :class:`BadSample` objects, in their place."""
        ...


def read_sample(source: Source, index: int) -> Record:
    """Sample ``index`` of a source.

    Raises:
        BadSample: also for errors that the source did not foresee.
    """
    try:
        return source.read(index)
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise BadSample(f"sample {index}", f"{type(error).__name__}: {reason_of(error)}") from error


def replace_media(
    messages: Sequence[Mapping[str, Any]], change: Callable[[Modality, Any], Any]
) -> list[dict[str, Any]]:
    """A copy of ``messages`` in which each media part's source is what ``change(modality, source)`` gives."""
    media = {modality.value for modality in Modality.known()} - {Modality.TEXT.value}
    changed: list[dict[str, Any]] = []
    for message in messages:
        content = message["content"]
        if not isinstance(content, str):
            parts = []
            for part in content:
                kind = part["type"]
                if kind in media:
                    part = {**part, kind: change(Modality(kind), part[kind])}
                parts.append(part)
            content = parts
        changed.append({**message, "content": content})
    return changed


SourceKind = Literal[
    "tsv", "csv", "llava", "alpaca", "webdataset", "parquet", "datasets", "folder", "embedded"
]

_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "tsv": {"image": "url", "caption": "caption"},
    "csv": {"image": "url", "caption": "caption"},
    "parquet": {"image": "image", "caption": "caption"},
    "datasets": {"image": "image", "caption": "caption"},
    "webdataset": {"caption": "caption"},
    "folder": {"image": "file_name", "caption": "caption"},
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


_ENDS = 65536
_MOST_NAMES = 1_000_000


def list_files(path: str, suffixes: Sequence[str]) -> list[Path]:
    """The file ``path``, the files of a folder that end in one of ``suffixes``, or those a pattern matches
    (``*``, ``{000..099}``, ``{a,b}``; every one of the latter must be there).

    Returns:
        Sorted by name, at least one.

    Raises:
        TrainingDataError: there are none.
    """
    place = Path(path).expanduser()
    if place.is_file():
        return [place]
    if place.is_dir():
        found = sorted(file for file in visible_files(place) if file.name.lower().endswith(tuple(suffixes)))
        if not found:
            raise TrainingDataError(f"the folder {path!r} holds no files that end in {' or '.join(suffixes)}")
        return found
    found = []
    for pattern in braces(str(place)):
        matched = [Path(name) for name in glob.glob(pattern, recursive=True) if os.path.isfile(name)]
        if not matched:
            of = "" if pattern == str(place) else f", of {path!r}"
            raise TrainingDataError(f"there is no file {pattern!r}{of}, nor does it match any as a pattern")
        found += matched
    return sorted(set(found))


def braces(pattern: str) -> list[str]:
    """What a shell makes of ``{000..099}`` (as WebDataset's lists of shards are written) and of ``{a,b}``.

    Raises:
        TrainingDataError: more than a million names.
    """
    made = [""]
    for part in re.split(r"(\{\d+\.\.\d+\}|\{[^{},]*(?:,[^{},]*)+\})", pattern):
        numbers = re.fullmatch(r"\{(\d+)\.\.(\d+)\}", part)
        if numbers:
            first, last = int(numbers[1]), int(numbers[2])
            if len(made) * (abs(last - first) + 1) > _MOST_NAMES:
                raise TrainingDataError(f"the pattern {pattern!r} stands for over {_MOST_NAMES} files; use *")
            padded = any(len(text) > 1 and text[0] == "0" for text in numbers.groups())
            width = max(map(len, numbers.groups())) if padded else 0
            ends = [f"{number:0{width}}" for number in range(min(first, last), max(first, last) + 1)]
        elif part.startswith("{") and part.endswith("}") and "," in part:
            ends = part[1:-1].split(",")
        else:
            ends = [part]
        made = [start + end for start in made for end in ends]
    return made


def names_of(files: Sequence[Path]) -> list[str]:
    """How keys call files: by their names, or by what their paths differ in where names repeat."""
    names = [file.name for file in files]
    if len(set(names)) == len(names):
        return names
    above = os.path.commonpath([file.absolute().parent for file in files])
    return [os.path.relpath(file.absolute(), above) for file in files]


def digest(*parts: Any) -> str:
    """16 hex digits of plain values."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()[:16]


def files_digest(files: Sequence[Path]) -> str:
    """Of names, sizes and both ends of files; the same wherever they are copied to. An edit that keeps a
    file's size and its first and last 64 kB is not seen."""
    total = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_ENDS)
            file.seek(max(0, size - _ENDS))
            total.update(json.dumps([path.name, size]).encode() + head + file.read(_ENDS))
    return total.hexdigest()[:16]


def index_path(folder: Path | None, files: Sequence[Path], layout: str, suffix: str) -> Path:
    """Where the index of ``files`` belongs; another one as soon as a file changes.

    Args:
        folder: None = the user's cache folder.
        layout: what kind of index, with its version.
    """
    if folder is None:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        folder = Path(cache).expanduser() / "imagebind-llm" / "index"
    facts = []
    for path in files:
        found = path.stat()
        facts.append([str(path.resolve()), found.st_size, found.st_mtime_ns])
    return folder / f"{digest(layout, facts)}{suffix}"
