"""A cache folder on disk: ``index.faiss``, ``manifest.json`` and perhaps ``entries.parquet``."""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from imagebind_llm import __version__
from imagebind_llm.cache import index as indexing
from imagebind_llm.cache.entries import EntryTable
from imagebind_llm.cache.index import IndexKind
from imagebind_llm.common.errors import CacheError, short
from imagebind_llm.common.files import gigabytes, load_json, sha256
from imagebind_llm.common.folders import atomic_directory

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
INDEX_FILE = "index.faiss"
ENTRIES_FILE = "entries.parquet"
CHECKED_BYTES = 256 * 2**20
"""Files up to this size are compared with their SHA-256 whenever they are opened, in about a quarter of a
second; larger ones when asked (``doctor``, ``cache info --check``): a cache of millions is only mapped."""


@dataclass(frozen=True)
class CacheManifest:
    """Facts that are checked whenever a cache is loaded.

    Attributes:
        count: number of vectors.
        dim: their dimension ``D``.
        kind: see :data:`IndexKind`.
        encoder_fingerprint: the encoder that made the vectors; ``None`` = not known.
        metric: always ``inner_product`` (of unit vectors, so the cosine).
        built: how the index was made and what was measured on it (factory, ef values, recall…), for people.
        index_bytes: size of ``index.faiss``; 0 for a cache that was never saved.
        has_entries: whether captions or thumbnails are stored.
        sha256: hex digits by file name (index, entries); without those of a file it is not compared.
        created_by: package and version that wrote the folder.
        format_version: layout of the folder.
    """

    count: int
    dim: int
    kind: IndexKind
    encoder_fingerprint: str | None = None
    metric: str = "inner_product"
    built: dict[str, Any] = field(default_factory=dict)
    index_bytes: int = 0
    has_entries: bool = False
    sha256: dict[str, str] = field(default_factory=dict)
    created_by: str = f"imagebind-llm {__version__}"
    format_version: int = FORMAT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def write(self, folder: Path) -> None:
        """Write ``manifest.json`` into ``folder``."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False)
        (folder / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")

    @staticmethod
    def read(folder: Path) -> "CacheManifest":
        """Read ``manifest.json`` of ``folder``.

        Raises:
            CacheError: no such folder or file, not JSON, another format version, missing or unknown fields.
        """
        path = folder / MANIFEST_FILE
        if not folder.is_dir():
            raise CacheError(f"no cache folder at {str(folder)!r}; build one with: imagebind-llm cache build")
        if not path.is_file():
            raise CacheError(
                f"{str(folder)!r} has no {MANIFEST_FILE}, so it is not a cache folder; "
                "a bare faiss index is made into one with: imagebind-llm convert cache (in Python: "
                "VisualCache.from_index)"
            )
        try:
            values = load_json(path)
        except ValueError as error:
            raise CacheError(
                f"{str(path)!r} is not valid JSON ({error}); rebuild or copy the cache again"
            ) from error
        version = values.get("format_version") if isinstance(values, dict) else None
        if version != FORMAT_VERSION:
            raise CacheError(
                f"{str(path)!r} has format version {short(version)}, this package reads {FORMAT_VERSION}; "
                "rebuild the cache"
            )
        known = {f.name for f in fields(CacheManifest)}
        if set(values) | {"sha256"} != known:  # which caches of the first versions have not
            raise CacheError(
                f"{str(path)!r} has fields {sorted(values)}, expected {sorted(known)}; "
                "rebuild or copy the cache again"
            )
        _check_values(path, values)
        manifest = CacheManifest(**values)
        if not all(type(n) is int and n > 0 for n in (manifest.count, manifest.dim, manifest.index_bytes)):
            raise CacheError(
                f"{str(path)!r} has count {short(manifest.count)}, dim {short(manifest.dim)}, index_bytes "
                f"{short(manifest.index_bytes)}; all must be positive integers; rebuild or copy the cache"
            )
        return manifest

    def check_encoder(self, expected: str | None) -> None:
        """Refuse a cache made by another encoder; ``expected=None`` does not ask.

        Raises:
            CacheError: naming both fingerprints.
        """
        if expected is not None and self.encoder_fingerprint != expected:
            raise CacheError(
                f"this cache was made by encoder {self.encoder_fingerprint or 'unknown (none recorded)'}, "
                f"but the model uses encoder {expected}; rebuild the cache with that encoder"
            )


def _check_values(path: Path, values: dict[str, Any]) -> None:
    for name in ("built", "sha256"):
        if not isinstance(values.get(name, {}), dict):
            raise CacheError(f"{str(path)!r} has {name} {values[name]!r:.60}; expected an object; {_COPY}")
    if not isinstance(values["has_entries"], bool) or values["metric"] != "inner_product":
        raise CacheError(
            f"{str(path)!r} has has_entries {values['has_entries']!r:.60} and metric "
            f"{values['metric']!r:.60}; expected true or false, and 'inner_product'; {_COPY}"
        )


_COPY = "rebuild or copy the cache again"


def check_sum(path: Path, manifest: CacheManifest, any_size: bool = False) -> bool:
    """Compare a file of a cache with its recorded SHA-256; whether that was done.

    Args:
        path: the file.
        manifest: of its folder.
        any_size: also if it is larger than :data:`CHECKED_BYTES`.

    Raises:
        CacheError: they differ.
    """
    recorded = manifest.sha256.get(path.name)
    if recorded is None or (path.stat().st_size > CHECKED_BYTES and not any_size):
        return False
    if sha256(path) != recorded:
        raise CacheError(
            f"{str(path)!r} ({gigabytes(path.stat().st_size)}) is not what was written: its SHA-256 is "
            f"another than its manifest says; {_COPY}"
        )
    return True


def check_all(folder: Path) -> list[str]:
    """Compare all files of a cache, of any size, with their SHA-256; the names of those that have one.

    Raises:
        CacheError: a file is not what was written, or not there.
    """
    _, manifest, entries = read_folder(folder, None, memory_map=True)
    files = [folder / INDEX_FILE, *([] if entries is None else [entries])]
    return [file.name for file in files if check_sum(file, manifest, any_size=True)]


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
    check_sum(path, manifest)
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
    with atomic_directory(folder, CacheError) as temporary:
        indexing.write_index(index, temporary / INDEX_FILE)
        if entries is not None:
            entries.copy_to(temporary / ENTRIES_FILE)
        finish_folder(temporary, manifest)


def finish_folder(folder: Path, manifest: CacheManifest) -> None:
    """Write the manifest of a folder that holds all else, with size and SHA-256 of its files."""
    sums = {name: sha256(folder / name) for name in (INDEX_FILE, ENTRIES_FILE) if (folder / name).is_file()}
    size = (folder / INDEX_FILE).stat().st_size
    replace(manifest, index_bytes=size, has_entries=ENTRIES_FILE in sums, sha256=sums).write(folder)


def _agree(path: Path, what: str, found: int | str, said: int | str) -> None:
    if found != said:
        raise CacheError(
            f"{str(path)!r} has {what} {found}, its manifest says {short(said)}; copy or rebuild the cache"
        )
