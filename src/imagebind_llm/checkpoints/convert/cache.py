"""The published faiss index (``knn.index``) → a cache folder: as it is, or encoded anew in a quarter of that.

The index stays on disk, memory-mapped, and is read in blocks. Encoding anew takes minutes per million
vectors, so it writes what it has from time to time and goes on from there after an interruption.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from tqdm import tqdm

from imagebind_llm.cache import index as indexing
from imagebind_llm.cache.entries import EntryWriter
from imagebind_llm.cache.folder import INDEX_FILE, CacheManifest, finish_folder, write_folder
from imagebind_llm.cache.index import BLOCK_ROWS, IndexKind, unit_rows
from imagebind_llm.cache.visual_cache import VisualCache
from imagebind_llm.checkpoints.convert.imagebind import encoder_of
from imagebind_llm.checkpoints.convert.store import check_target, disk_errors, publish, staging
from imagebind_llm.common.errors import CacheError, UserError
from imagebind_llm.common.files import atomic_write, load_json, require_space
from imagebind_llm.common.work_folder import WorkFolder
from imagebind_llm.encoders.registry import find_encoder, load_encoder

CacheKind = Literal["keep", "exact", "hnsw_sq8"]
SAVE_ROWS = 500_000
"""Encoding anew is saved whenever this many more vectors are done."""
_BYTES = {"exact": lambda dim: 4 * dim, "hnsw_sq8": lambda dim: dim + 272}
"""Size of a vector in each kind (32 neighbours of 8 bytes and a level, beside the code)."""
_REOPEN_BLOCKS = 16
_COPY_BYTES = 2**24
_PARTIAL_FILE, _RESULT = "partial.faiss", "cache"


@dataclass(frozen=True)
class ConvertedCache:
    """What was written."""

    folder: Path
    count: int
    dim: int
    kind: str
    bytes: int
    resumed: int
    """Vectors that an interrupted run had already encoded."""


@dataclass(frozen=True)
class CachePlan:
    """A conversion before it happens.

    Attributes:
        file: the index.
        manifest: what is known of it, with the fingerprint of its encoder.
        kind: ``keep``, ``exact`` or ``hnsw_sq8``.
        names: of the vectors, if there are any.
    """

    file: Path
    manifest: CacheManifest
    kind: CacheKind
    names: Sequence[str] | None

    @property
    def bytes(self) -> int:
        """Size of the new index; about that, if it is encoded anew."""
        if self.kind == "keep":
            return self.file.stat().st_size
        return self.manifest.count * _BYTES[self.kind](self.manifest.dim)

    def to_dict(self) -> dict[str, Any]:
        """For the dry run: what becomes what."""
        return {
            "from": self.file.name,
            "index_type": self.manifest.built["index_type"],
            "to": INDEX_FILE,
            "kind": self.manifest.kind if self.kind == "keep" else self.kind,
            "change": "" if self.kind == "keep" else "encoded anew",
            "count": self.manifest.count,
            "dim": self.manifest.dim,
            "bytes": self.bytes,
            "encoder_fingerprint": self.manifest.encoder_fingerprint,
            "names": 0 if self.names is None else len(self.names),
        }


def plan_cache(file: Path, encoder: str, kind: str = "keep", names_file: Path | None = None) -> CachePlan:
    """The conversion of a bare faiss index, checked as far as it can be without reading all of it.

    Args:
        file: an inner-product index of unit vectors that can give its vectors back.
        encoder: the encoder that made the vectors: a folder, a model folder, ``"nano"`` or a hub id. A bare
            index cannot say which did; this is taken as your word, and only the dimension is checked.
        kind: ``keep`` the index byte for byte; ``exact`` or ``hnsw_sq8`` to encode it anew.
        names_file: JSON list of as many names as there are vectors (``cc3m_imagebind_files.json``); they
            become the captions.

    Raises:
        CacheError: not such an index, another dimension, or more or fewer names.
        CheckpointError: the encoder cannot be found or read.
        UserError: an unknown kind.
    """
    if kind not in ("keep", *_BYTES):
        raise UserError(f"--kind is {kind!r}; expected keep, exact or hnsw_sq8")
    for needed in filter(None, (file, names_file)):
        if not needed.is_file():
            raise UserError(f"there is no file {str(needed)!r}; give a file that exists")
    dim, fingerprint = _identity(encoder)
    found = VisualCache.from_index(file, fingerprint)
    if found.dim != dim:
        raise CacheError(
            f"{str(file)!r} has vectors of {found.dim} numbers, the encoder {encoder!r} gives {dim}; "
            "use the encoder that made them"
        )
    names = None if names_file is None else _names(names_file, found.size)
    return CachePlan(file, found.manifest, cast(CacheKind, kind), names)


def convert_cache(plan: CachePlan, out: Path, progress: bool = False) -> ConvertedCache:
    """Make a cache folder of a bare faiss index; it appears whole or not at all.

    Args:
        plan: see :func:`plan_cache`.
        out: the cache folder, new or empty.
        progress: show a bar.

    Raises:
        CacheError: a vector is not of length 1.
        CheckpointError: ``out`` exists, or the disk is too full.
    """
    check_target(out)
    file, manifest, names = plan.file, plan.manifest, plan.names
    with staging(out) as stage, disk_errors(stage):
        facts = file.stat()
        job = {"name": file.name, "bytes": facts.st_size, "modified": facts.st_mtime_ns, "kind": plan.kind}
        work = WorkFolder(stage, job, fresh=True)
        shutil.rmtree(stage / _RESULT, ignore_errors=True)
        resumed = _encoded(stage / _PARTIAL_FILE)
        if plan.kind == "keep":
            require_space(out.parent, plan.bytes, "the result")
            _copy(file, stage / _RESULT, manifest, names, progress)
            resumed = 0
        else:
            require_space(out.parent, 2 * plan.bytes, "the result")
            work.note({})
            _encode(file, stage, manifest, plan.kind, names, resumed, progress)
        publish(stage / _RESULT, out)
        shutil.rmtree(stage)
    size = sum(part.stat().st_size for part in out.iterdir())
    written = CacheManifest.read(out)
    return ConvertedCache(out, written.count, written.dim, written.kind, size, resumed)


def _identity(encoder: str) -> tuple[int, str]:
    """Width and fingerprint of an encoder of any type; that of an ImageBind is read without loading it."""
    if find_encoder(encoder).kind == "imagebind":
        files = encoder_of(encoder)
        return files.config.embedding_dim, files.fingerprint
    loaded: Any = load_encoder(encoder)
    return int(loaded.embedding_dim), str(loaded.fingerprint)


def _encoded(partial: Path) -> int:
    """How many vectors an earlier run has encoded."""
    if not partial.is_file():
        return 0
    try:
        return int(indexing.read_index(partial, memory_map=True).ntotal)
    except CacheError:  # damaged since: what it held is encoded again
        partial.unlink()
        return 0


def _copy(
    file: Path, out: Path, manifest: CacheManifest, names: Sequence[str] | None, progress: bool
) -> None:
    """The index byte for byte, with a manifest and the names."""
    out.mkdir()
    bar = tqdm(total=file.stat().st_size, unit="B", unit_scale=True, disable=not progress)
    with open(file, "rb") as source, open(out / INDEX_FILE, "wb") as target, bar:
        while block := source.read(_COPY_BYTES):
            target.write(block)
            bar.update(len(block))
    if names is not None:
        writer = EntryWriter(names, None)
        writer.take(len(names))
        writer.finish().copy_to(out / "entries.parquet")
    finish_folder(out, manifest)


def _encode(
    file: Path,
    stage: Path,
    manifest: CacheManifest,
    kind: IndexKind,
    names: Sequence[str] | None,
    done: int,
    progress: bool,
) -> None:
    """Read the vectors block by block and put them into a new index."""
    partial = stage / _PARTIAL_FILE
    index: Any
    if done:
        index = indexing.read_index(partial, memory_map=False)
    else:
        index = indexing.new_index(kind, manifest.dim, _sample(file, manifest.count))
    probes = [_sample(file, manifest.count, indexing.PROBES)]
    saved = done
    with tqdm(total=manifest.count, initial=done, unit="vector", disable=not progress) as bar:
        for block in _blocks(file, done, manifest.count):
            index.add(block)
            bar.update(len(block))
            if index.ntotal - saved >= SAVE_ROWS and index.ntotal < manifest.count:
                with atomic_write(partial) as temporary:
                    indexing.write_index(index, temporary)
                saved = int(index.ntotal)
    built: dict[str, Any] = {"from_file": file.name, "factory": "Flat"}
    if kind == "hnsw_sq8":
        built |= {"factory": indexing.HNSW_FACTORY, "ef_construction": indexing.EF_CONSTRUCTION}
        built |= {"ef_search": indexing.EF_SEARCH} | indexing.measure(index, np.concatenate(probes))
    entries = None
    if names is not None:
        writer = EntryWriter(names, None)
        writer.take(len(names))
        entries = writer.finish()
    made = CacheManifest(
        count=int(index.ntotal),
        dim=manifest.dim,
        kind=kind,
        encoder_fingerprint=manifest.encoder_fingerprint,
        built=built,
        has_entries=entries is not None,
    )
    write_folder(stage / _RESULT, index, made, entries)


def _blocks(file: Path, start: int, count: int) -> Iterator[np.ndarray]:
    """Unit rows from ``start`` on. The index is opened anew now and then: pages once read are let go."""
    index: Any = None
    for number, first in enumerate(range(start, count, BLOCK_ROWS)):
        if number % _REOPEN_BLOCKS == 0:
            del index
            index = indexing.read_index(file, memory_map=True)
        rows = np.arange(first, min(first + BLOCK_ROWS, count))
        yield unit_rows(indexing.reconstruct(index, rows), first_row=first)


def _sample(file: Path, count: int, rows: int = indexing.TRAINING_ROWS) -> np.ndarray:
    """Unit rows from all over the index, to set the code's ranges or to probe the result."""
    index = indexing.read_index(file, memory_map=True)
    numbers = np.unique(np.linspace(0, count - 1, num=min(rows, count)).astype(np.int64))
    return unit_rows(indexing.reconstruct(index, numbers))


def _names(path: Path, count: int) -> list[str]:
    """The names in a JSON file, one for each vector."""
    try:
        names = load_json(path)
    except ValueError as error:
        raise CacheError(f"{str(path)!r} is not JSON ({error}); get the file again") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CacheError(f"{str(path)!r} is not a JSON list of names")
    if len(names) != count:
        raise CacheError(
            f"{str(path)!r} has {len(names)} names for {count} vectors; use the pair that belongs"
        )
    return names
