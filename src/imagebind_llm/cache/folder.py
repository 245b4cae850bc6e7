"""A cache folder on disk: ``index.faiss``, ``manifest.json`` and perhaps ``entries.parquet``."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from imagebind_llm.cache import index as indexing
from imagebind_llm.cache.entries import EntryTable
from imagebind_llm.cache.manifest import ENTRIES_FILE, INDEX_FILE, MANIFEST_FILE, CacheManifest
from imagebind_llm.common.errors import CacheError
from imagebind_llm.common.files import atomic_directory


def read_folder(
    folder: Path, expected_fingerprint: str | None, memory_map: bool
) -> tuple[Any, CacheManifest, Path | None]:
    """Index, manifest and path of the entries (``None`` without any), checked against each other.

    Raises:
        CacheError: see :meth:`VisualCache.load`.
    """
    manifest = CacheManifest.read(folder)
    manifest.check_encoder(expected_fingerprint)
    path = folder / INDEX_FILE
    if not path.is_file():
        raise CacheError(f"{str(folder)!r} has no {INDEX_FILE}; copy the cache again")
    index_bytes = path.stat().st_size
    _agree(path, "bytes", index_bytes, manifest.index_bytes)
    index = indexing.read_index(path, memory_map)
    _agree(path, "vectors", int(index.ntotal), manifest.count)
    _agree(path, "dimensions", int(index.d), manifest.dim)
    _agree(path, "index kind", indexing.kind_of(index), manifest.kind)
    if not manifest.has_entries:
        return index, manifest, None
    entries_path = folder / ENTRIES_FILE
    if not entries_path.is_file():
        raise CacheError(
            f"{str(folder)!r} has no {ENTRIES_FILE}, its manifest says it has; copy the cache again"
        )
    return index, manifest, entries_path


def write_folder(folder: Path, index: Any, manifest: CacheManifest, entries: EntryTable | None) -> None:
    """Write a cache folder, all or nothing, in place of a cache that is already there.

    Raises:
        CacheError: ``folder`` holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise CacheError(f"{str(folder)!r} is a file; give a folder for the cache")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST_FILE).is_file():
        raise CacheError(f"{str(folder)!r} holds files that are not a cache; give a new or empty folder")
    with atomic_directory(folder) as temporary:
        indexing.write_index(index, temporary / INDEX_FILE)
        if entries is not None:
            entries.copy_to(temporary / ENTRIES_FILE)
        size = (temporary / INDEX_FILE).stat().st_size
        replace(manifest, index_bytes=size).write(temporary)


def _agree(path: Path, what: str, found: int | str, said: int | str) -> None:
    if found != said:
        raise CacheError(
            f"{str(path)!r} has {what} {found}, its manifest says {said}; copy or rebuild the cache"
        )
