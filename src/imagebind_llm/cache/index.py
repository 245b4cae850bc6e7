"""Everything that knows faiss: making, reading, writing and searching an index of unit vectors.

Searching uses faiss' OpenMP threads, as many as the process allows (``OMP_NUM_THREADS`` or
``faiss.omp_set_num_threads``). One query uses one thread of a graph index; a batch is spread over them.
Several Python threads may search one index at once; nobody may add to it meanwhile.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from imagebind_llm.cache.landmarks import Landmarks
from imagebind_llm.cache.manifest import IndexKind
from imagebind_llm.common.errors import CacheError

_log = logging.getLogger(__name__)

AUTO_EXACT_ROWS = 50_000
"""``kind="auto"`` compares every row up to this many (200 MB and about 20 ms a query on one thread at D =
1024), and builds a graph above."""

TRAINING_ROWS = 100_000
"""Rows that set each dimension's range for the one-byte code."""

HNSW_FACTORY = "RR,HNSW32,SQ8"
"""A random rotation, a graph of 32 neighbours, a byte a dimension. The rotation spreads what a vector says
evenly over the dimensions. Embeddings have a few dimensions much larger than the rest, and a byte is too
coarse for those: without the rotation recall@10 is 0.01 to 0.02 lower (``benchmarks/cache.py``)."""
EF_CONSTRUCTION = 40
"""Candidates looked at for a new row's neighbours; 100 and 200 take longer to build and find no more."""
EF_SEARCH = 256
"""Candidates kept in a search: 128 loses some queries from far off, 512 takes twice the time and finds little
more (``benchmarks/cache.py``)."""

PROBES = 64
"""Rows looked up again after a build, to measure the graph and the code (each compared with every row)."""


def new_index(kind: IndexKind, dim: int, training: np.ndarray) -> Any:
    """An empty index; ``training [n, dim]`` unit rows set the code's ranges (unused by ``exact``)."""
    import faiss

    if kind == "exact":
        return faiss.IndexFlatIP(dim)
    index: Any = faiss.index_factory(dim, HNSW_FACTORY, faiss.METRIC_INNER_PRODUCT)
    graph = graph_of(index)
    graph.hnsw.efConstruction = EF_CONSTRUCTION
    graph.hnsw.efSearch = EF_SEARCH
    index.train(training)  # the rotation's seed is fixed: the same every time
    return index


def graph_of(index: Any) -> Any:
    """The graph in an index (it has ``hnsw`` and ``storage``), or None. A rotation may stand before it."""
    import faiss

    inner = faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index
    return inner if isinstance(inner, faiss.IndexHNSW) else None


def _codes(index: Any) -> Any:
    """A graph's rows as an index that compares a query with every one of them."""
    import faiss

    flat: Any = faiss.IndexPreTransform(faiss.downcast_index(graph_of(index).storage))
    for transform in reversed(_transforms(index)):
        flat.prepend_transform(transform)
    flat.own_fields = False  # the graph's
    return flat


def _transforms(index: Any) -> list[Any]:
    """What an index does to a vector before it looks it up or stores it, in order."""
    import faiss

    if not isinstance(index, faiss.IndexPreTransform):
        return []
    chain: Any = index.chain
    return [chain.at(number) for number in range(chain.size())]


def _turned(index: Any, rows: np.ndarray) -> np.ndarray:
    for transform in _transforms(index):
        rows = transform.apply(rows)
    return rows


def measure(index: Any, rows: np.ndarray) -> dict[str, float]:
    """What a graph index loses, on ``rows [n, D]`` that are in it.

    Returns:
        ``graph_recall_at_10``: share of the true ten nearest coded rows that the graph finds (a cache full of
        identical pictures breaks graphs: this shows it). ``code_cosine``: mean cosine of a row to its code.
    """
    rows = np.unique(rows, axis=0)  # copies of one picture find each other and would hide what is lost
    rows = np.ascontiguousarray(rows[:: max(1, len(rows) // PROBES)][:PROBES])
    k = min(10, index.ntotal)
    codes = _codes(index)
    exact = codes.search(rows, k)[0]
    found = top_k(index, rows, k, landmarks_of(index))[0]
    # By similarity, not by row number: among identical pictures any of them is right.
    recall = float(np.mean(found >= exact[:, -1:] - 1e-6))
    decoded = codes.sa_decode(codes.sa_encode(rows))
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
    graph = graph_of(index)
    if isinstance(graph, faiss.IndexHNSWSQ):
        storage: Any = faiss.downcast_index(graph.storage)
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


def landmarks_of(index: Any) -> Landmarks | None:
    """Where searches of a graph begin; None for an index that is no graph."""
    graph = graph_of(index)
    return None if graph is None else Landmarks(graph)


def top_k(
    index: Any, rows: np.ndarray, k: int, landmarks: Landmarks | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` most similar rows for each unit query: similarities ``[B, k]`` and row numbers ``[B, k]``.

    ``landmarks`` are those of the index: with them a graph loses fewer queries.
    """
    if landmarks is None:
        similarities, found = index.search(rows, k)
    else:
        similarities, found = landmarks.search(_turned(index, rows), k)
    short = np.flatnonzero((found < 0).any(axis=1))
    if short.size and graph_of(index) is not None:
        # A graph may not reach k rows; those queries are compared with every row instead.
        similarities[short], found[short] = _codes(index).search(rows[short], k)
        short = np.flatnonzero((found < 0).any(axis=1))
    if short.size:
        raise CacheError(
            f"the index ({type(index).__name__}) found {int((found[short[0]] >= 0).sum())} neighbours, "
            f"{k} were asked for; ask for fewer or rebuild it as 'exact'"
        )
    return similarities, found


def reconstruct(index: Any, numbers: np.ndarray) -> np.ndarray:
    """Stored vectors ``[n, D]`` of ``numbers [n]`` (decoded, where the index keeps codes)."""
    import faiss

    numbers = np.ascontiguousarray(numbers, dtype=np.int64)
    inner = faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index
    rows = inner.reconstruct_batch(numbers)
    for transform in reversed(_transforms(index)):  # all rows at once: faiss would turn each back alone
        rows = transform.reverse_transform(rows)
    return np.asarray(rows)
