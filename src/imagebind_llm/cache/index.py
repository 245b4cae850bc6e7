"""Everything that knows faiss: making, reading, writing and searching an index of unit vectors.

Searching uses faiss' OpenMP threads, as many as the process allows (``OMP_NUM_THREADS`` or
``faiss.omp_set_num_threads``). One query uses one thread of a graph index; a batch is spread over them.
Several Python threads may search one index at once; nobody may add to it meanwhile.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from imagebind_llm.cache.errors import CacheError
from imagebind_llm.cache.manifest import IndexKind

_log = logging.getLogger(__name__)

AUTO_EXACT_ROWS = 50_000
"""``kind="auto"`` compares every row up to this many (200 MB and about 20 ms a query on one thread at D =
1024), and builds a graph above."""

TRAINING_ROWS = 100_000
"""Rows that set each dimension's range for the one-byte code."""

HNSW_FACTORY = "HNSW32,SQ8"
EF_CONSTRUCTION = 40
EF_SEARCH = 128
"""HNSW values measured on 200 k x 1024: recall@10 0.995, the ceiling of the one-byte code, at about 1 ms."""

PROBES = 64
"""Rows looked up again after a build, to measure the graph and the code (each compared with every row)."""


def new_index(kind: IndexKind, dim: int, training: np.ndarray) -> Any:
    """An empty index; ``training [n, dim]`` unit rows set the code's ranges (unused by ``exact``)."""
    import faiss

    if kind == "exact":
        return faiss.IndexFlatIP(dim)
    index: Any = faiss.index_factory(dim, HNSW_FACTORY, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    index.hnsw.efSearch = EF_SEARCH
    index.train(training)
    return index


def measure(index: Any, rows: np.ndarray) -> dict[str, float]:
    """What a graph index loses, on ``rows [n, D]`` that are in it.

    Returns:
        ``graph_recall_at_10``: share of the true ten nearest coded rows that the graph finds (a cache full of
        identical pictures breaks graphs: this shows it). ``code_cosine``: mean cosine of a row to its code.
    """
    import faiss

    rows = np.unique(rows, axis=0)  # copies of one picture find each other and would hide what is lost
    rows = np.ascontiguousarray(rows[:: max(1, len(rows) // PROBES)][:PROBES])
    k = min(10, index.ntotal)
    storage = faiss.downcast_index(index.storage)
    exact = storage.search(rows, k)[0]
    found = index.search(rows, k)[0]
    # By similarity, not by row number: among identical pictures any of them is right.
    recall = float(np.mean(found >= exact[:, -1:] - 1e-6))
    decoded = storage.sa_decode(storage.sa_encode(rows))
    cosine = float(np.mean(np.sum(decoded * rows, axis=1) / np.linalg.norm(decoded, axis=1)))
    if recall < 0.9:
        _log.warning(
            "the graph finds %.3f of the true neighbours (expected >= 0.9): many rows may be identical; "
            "remove duplicates or build with kind='exact'",
            recall,
        )
    if cosine < 0.995:
        _log.warning(
            "the one-byte code keeps a cosine of %.4f (expected >= 0.995): the first rows do not represent "
            "the rest; shuffle them or build with kind='exact'",
            cosine,
        )
    return {"graph_recall_at_10": round(recall, 4), "code_cosine": round(cosine, 6)}


def kind_of(index: Any) -> IndexKind:
    """Which of our kinds an index is."""
    import faiss

    if isinstance(index, faiss.IndexFlat):
        return "exact"
    if isinstance(index, faiss.IndexHNSWSQ):
        storage: Any = faiss.downcast_index(index.storage)
        if storage.sq.qtype == faiss.ScalarQuantizer.QT_8bit:
            return "hnsw_sq8"
    return "other"


def read_index(path: Path, memory_map: bool) -> Any:
    """Read a faiss file.

    Args:
        path: the file.
        memory_map: leave vectors and graph on disk; pages come in as they are searched and are shared between
            processes. Ignored where faiss cannot (older faiss, other index types).

    Raises:
        CacheError: no such file, truncated, not an index, or not of inner-product type.
    """
    import faiss

    if not path.is_file():
        raise CacheError(f"no index file at {str(path)!r}")
    flags = getattr(faiss, "IO_FLAG_MMAP_IFC", 0) if memory_map else 0
    try:
        index = faiss.read_index(str(path), flags)
    except RuntimeError as error:
        raise CacheError(
            f"{str(path)!r} ({path.stat().st_size} bytes) is truncated or not a faiss index; "
            "copy or build it again"
        ) from error
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise CacheError(
            f"{str(path)!r} has faiss metric {index.metric_type}, expected {faiss.METRIC_INNER_PRODUCT} "
            "(inner product); rebuild it with that metric"
        )
    if index.ntotal < 1:
        raise CacheError(f"{str(path)!r} holds 0 vectors, expected at least 1; rebuild it")
    return index


def write_index(index: Any, path: Path) -> None:
    """Write a faiss file (not atomic: give it a temporary path)."""
    import faiss

    faiss.write_index(index, str(path))


def owned_copy(index: Any) -> Any:
    """A copy that holds its memory. Faiss aborts the process when rows are added to a memory-mapped index."""
    import faiss

    return faiss.deserialize_index(faiss.serialize_index(index))


def check_reconstructs(index: Any, path: Path) -> None:
    """Make sure that vectors can be read back and are unit rows, as :class:`VisualCache` relies on.

    Raises:
        CacheError: naming the index type, or a row and its length.
    """
    try:
        rows = reconstruct(
            index, np.linspace(0, index.ntotal - 1, num=min(100, index.ntotal)).astype(np.int64)
        )
    except RuntimeError as error:
        raise CacheError(
            f"{str(path)!r} is a {type(index).__name__} that cannot give its vectors back; "
            "expected one that stores them, such as IndexFlatIP or HNSW32,SQ8"
        ) from error
    lengths = np.linalg.norm(rows, axis=1)
    worst = float(lengths[np.argmax(np.abs(lengths - 1))])
    if not abs(worst - 1) < 0.05:  # room for lossy codes
        raise CacheError(
            f"{str(path)!r} holds a vector of length {worst:.4g}, expected unit vectors; "
            "normalise them and build the index again"
        )


def top_k(index: Any, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` most similar rows for each unit query: similarities ``[B, k]`` and row numbers ``[B, k]``."""
    import faiss

    similarities, found = index.search(rows, k)
    short = np.flatnonzero((found < 0).any(axis=1))
    if short.size and hasattr(index, "storage"):
        # A graph may not reach k rows; those queries are compared with every row instead.
        similarities[short], found[short] = faiss.downcast_index(index.storage).search(rows[short], k)
        short = np.flatnonzero((found < 0).any(axis=1))
    if short.size:
        raise CacheError(
            f"the index ({type(index).__name__}) found {int((found[short[0]] >= 0).sum())} neighbours, "
            f"{k} were asked for; ask for fewer or rebuild it as 'exact'"
        )
    return similarities, found


def reconstruct(index: Any, numbers: np.ndarray) -> np.ndarray:
    """Stored vectors ``[n, D]`` of ``numbers [n]`` (decoded, where the index keeps codes)."""
    return np.asarray(index.reconstruct_batch(np.ascontiguousarray(numbers, dtype=np.int64)))
