"""Making a cache from vectors, all at once or block by block."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Literal

import numpy as np

from imagebind_llm.cache import index as indexing
from imagebind_llm.cache.entries import EntryWriter, Thumbnail
from imagebind_llm.cache.folder import CacheManifest
from imagebind_llm.cache.index import IndexKind, Vectors, is_array, unit_blocks, unit_rows
from imagebind_llm.cache.visual_cache import VisualCache
from imagebind_llm.common.errors import CacheError


def build_cache(
    vectors: Vectors,
    kind: Literal["exact", "hnsw_sq8", "auto"] = "auto",
    captions: Iterable[str | None] | None = None,
    thumbnails: Iterable[Thumbnail] | None = None,
    encoder_fingerprint: str | None = None,
    *,
    progress: Callable[[int], None] | None = None,
) -> VisualCache:
    """Build a cache in memory.

    Args:
        vectors: ``[N, D]`` image embeddings, or an iterable of ``[n, D]`` blocks. Beside the index itself a
            stream needs memory for three times :data:`~imagebind_llm.cache.index.TRAINING_ROWS` vectors
            (float32) at most. Rows are normalised. For ``hnsw_sq8`` the first rows of a stream set the
            code's ranges, so give it shuffled; of an array, rows from all over are taken.
        kind: ``exact`` compares with every row (4·D bytes a vector); ``hnsw_sq8`` uses a neighbour graph over
            one-byte codes (about D + 272 bytes a vector and two milliseconds a query; built with one OpenMP
            thread it is the same every time); ``auto`` is exact up to 50 000 vectors.
        captions: one for each vector (``None`` where there is none), in step with ``vectors``.
        thumbnails: likewise, PIL images or JPEG/PNG bytes.
        encoder_fingerprint: the encoder that made the vectors. Without it, loading with a check is refused.
        progress: called with the number of vectors done so far.

    Raises:
        CacheError: unknown kind, no vectors, a zero or non-finite row (with its number), a dimension that
            changes, or captions or thumbnails that are more or fewer than the vectors.
    """
    if kind not in ("exact", "hnsw_sq8", "auto"):
        raise CacheError(f"unknown cache kind {kind!r}, expected 'exact', 'hnsw_sq8' or 'auto'")
    blocks = unit_blocks(vectors)
    head = _take(blocks, 0 if kind == "exact" else indexing.TRAINING_ROWS)
    if not head:
        raise CacheError("0 vectors to build a cache from, expected at least 1")
    chosen: IndexKind = kind if kind != "auto" else _choose(sum(map(len, head)))
    training = _training_rows(vectors, head) if chosen == "hnsw_sq8" else head[0]
    index = indexing.new_index(chosen, head[0].shape[1], training)
    built: dict[str, object] = {"factory": "Flat"}
    if chosen == "hnsw_sq8":
        built = {
            "factory": indexing.HNSW_FACTORY,
            "ef_construction": indexing.EF_CONSTRUCTION,
            "ef_search": indexing.EF_SEARCH,
            "training_rows": len(training),
        }
    del training

    writer = None if captions is None and thumbnails is None else EntryWriter(captions, thumbnails)
    probes: list[np.ndarray] = []
    for block in chain(_drain(head), blocks):
        if writer is not None:
            writer.take(len(block))
        index.add(block)
        probes.append(block[:: max(1, len(block) // indexing.PROBES)].copy())
        if progress is not None:
            progress(int(index.ntotal))
    if chosen == "hnsw_sq8":
        built |= indexing.measure(index, np.concatenate(probes))
    entries = None if writer is None else writer.finish()
    manifest = CacheManifest(
        count=int(index.ntotal),
        dim=int(index.d),
        kind=chosen,
        encoder_fingerprint=encoder_fingerprint,
        built=built,
        has_entries=entries is not None,
    )
    return VisualCache(index, manifest, entries)


def _choose(known_rows: int) -> IndexKind:
    return "exact" if known_rows <= indexing.AUTO_EXACT_ROWS else "hnsw_sq8"


def _take(blocks: Iterator[np.ndarray], rows: int) -> list[np.ndarray]:
    """The first blocks that together have at least ``rows`` rows; at least one block, if there is one."""
    head: list[np.ndarray] = []
    taken = 0
    for block in blocks:
        head.append(block)
        taken += len(block)
        if taken >= rows:
            break
    return head


def _drain(head: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Blocks in order, each forgotten once it is used."""
    while head:
        yield head.pop(0)


def _training_rows(vectors: Vectors, head: list[np.ndarray]) -> np.ndarray:
    if is_array(vectors):
        step = -(-len(vectors) // indexing.TRAINING_ROWS)  # type: ignore[arg-type]
        return unit_rows(vectors[::step], step=step)  # type: ignore[index]
    return np.concatenate(head)[: indexing.TRAINING_ROWS]
