"""Vectors and faiss: checked unit rows, and making, reading, writing and searching an index of them.

Searching uses faiss' OpenMP threads, as many as the process allows (``OMP_NUM_THREADS`` or
``faiss.omp_set_num_threads``). One query uses one thread of a graph index; a batch is spread over them.
Several Python threads may search one index at once; nobody may add to it meanwhile.

A graph is searched by walking from row to row towards the query. From a single start, the walk ends among the
wrong rows for 1 to 5 % of the queries, most of all for those far from the pictures, as sounds are. So it
starts at several landmarks: of some thousand rows spread over the index, those nearest to the query.
"""

import logging
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from imagebind_llm.common.errors import CacheError

IndexKind = Literal["exact", "hnsw_sq8", "other"]
"""``exact``: float32 vectors, every row compared. ``hnsw_sq8``: one byte a dimension and a neighbour graph.
``other``: a faiss index built elsewhere."""

Vectors = np.ndarray | torch.Tensor | Iterable[np.ndarray | torch.Tensor]
"""One ``[N, D]`` array, or an iterable of ``[n, D]`` blocks (``n`` may vary) that need not fit in memory."""

BLOCK_ROWS = 16384
"""Rows handed to the index at a time: 64 MB at D = 1024."""

_NORM_ROWS = 4096
"""Rows normalised at a time in float64, to bound the temporary copy."""


def unit_rows(block: np.ndarray | torch.Tensor, first_row: int = 0, step: int = 1) -> np.ndarray:
    """Copy ``block [n, D]`` into C-contiguous float32 rows of length 1.

    Lengths are computed in float64, row by row, so a row's result does not depend on the block it came in.

    Args:
        block: any real dtype.
        first_row: number of the block's first row, for messages.
        step: distance between row numbers, for messages.

    Raises:
        CacheError: not two-dimensional, not numbers, or a row that is zero or not finite (with its number).
    """
    array = block.detach().cpu().float().numpy() if isinstance(block, torch.Tensor) else np.asarray(block)
    if array.ndim != 2 or array.shape[1] == 0:
        raise CacheError(f"vectors must have shape [n, D], found {list(array.shape)}")
    if array.dtype.kind not in "fiu":
        raise CacheError(f"vectors must be real numbers, found dtype {array.dtype}")
    out = np.empty(array.shape, dtype=np.float32)
    for start in range(0, len(array), _NORM_ROWS):
        part = array[start : start + _NORM_ROWS].astype(np.float64)
        length = np.linalg.norm(part, axis=1, keepdims=True)
        bad = np.flatnonzero(~np.isfinite(length[:, 0]) | (length[:, 0] == 0))
        if bad.size:
            row = first_row + step * (start + int(bad[0]))
            what = "is all zeros" if length[bad[0], 0] == 0 else "is not finite (NaN or infinity)"
            raise CacheError(f"vector in row {row} {what}; leave it out or encode it again")
        out[start : start + _NORM_ROWS] = part / length
    return out


def unit_blocks(vectors: Vectors, block_rows: int = BLOCK_ROWS) -> Iterator[np.ndarray]:
    """Yield checked float32 unit blocks of exactly ``block_rows`` rows (the last may be shorter).

    Raises:
        CacheError: as :func:`unit_rows`, or when the dimension changes from one block to the next.
    """
    pending: list[np.ndarray] = []
    waiting = seen = 0
    dim = None
    for block in _pieces(vectors, block_rows):
        rows = unit_rows(block, first_row=seen)
        if dim is not None and rows.shape[1] != dim:
            raise CacheError(f"vectors have {dim} dimensions up to row {seen}, then {rows.shape[1]}")
        dim = rows.shape[1]
        seen += len(rows)
        pending.append(rows)
        waiting += len(rows)
        while waiting >= block_rows:
            joined = pending[0] if len(pending) == 1 else np.concatenate(pending)
            yield joined[:block_rows]
            pending = [joined[block_rows:]]
            waiting -= block_rows
    if waiting:
        yield pending[0] if len(pending) == 1 else np.concatenate(pending)


def is_array(vectors: Vectors) -> bool:
    """Whether ``vectors`` is one array (its size known, any row at hand) rather than a stream of blocks."""
    return isinstance(vectors, np.ndarray | torch.Tensor)


def _pieces(vectors: Vectors, block_rows: int) -> Iterator[np.ndarray | torch.Tensor]:
    if isinstance(vectors, np.ndarray | torch.Tensor):
        if vectors.ndim != 2:
            raise CacheError(f"vectors must have shape [n, D], found {list(vectors.shape)}")
        for start in range(0, len(vectors), block_rows):
            yield vectors[start : start + block_rows]
    else:
        yield from vectors


LANDMARKS = 8192
"""At most: 8 MB, and a millisecond a query, at D = 1024. On 300 k x 1024 clustered vectors with queries from
apart they raise recall@10 from 0.960 to 0.985 (0.991 is what the one-byte code allows); 2048 raise it to
0.973."""

ROWS_PER_LANDMARK = 16
"""At least, so that small graphs have few."""

BEGINNINGS = 16
"""Landmarks where a search begins; 4 find a little less, in the same time."""


class Landmarks:
    """Searches ``graph`` (a faiss ``IndexHNSW``) from the nearest of its landmarks.

    The landmarks are rows of the graph as it is now: rows that are added later are found, but none of them
    is a landmark.
    """

    def __init__(self, graph: Any) -> None:
        import faiss

        count = max(1, min(LANDMARKS, graph.ntotal // ROWS_PER_LANDMARK))
        self._graph = graph
        self._storage = faiss.downcast_index(graph.storage)
        self._numbers = np.linspace(0, graph.ntotal - 1, count).astype(np.int64)
        vectors = self._storage.reconstruct_batch(self._numbers)
        # bytes again: what one query costs is reading all landmarks from memory
        self._landmarks = faiss.IndexScalarQuantizer(
            graph.d, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        self._landmarks.train(vectors)
        self._landmarks.add(vectors)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` most similar rows for each query ``[B, D]``, as the graph stores vectors.

        Returns:
            Similarities ``[B, k]`` float32 and row numbers ``[B, k]`` int64, -1 where fewer were reached.
        """
        _, nearest = self._landmarks.search(queries, min(BEGINNINGS, len(self._numbers)))
        rows = self._numbers[nearest]
        vectors = self._storage.reconstruct_batch(rows.reshape(-1)).reshape(*rows.shape, -1)
        return _search_from(self._graph, queries, rows, np.einsum("bnd,bd->bn", vectors, queries), k)


def _search_from(
    graph: Any,
    queries: np.ndarray,
    rows: np.ndarray,
    similarities: np.ndarray,
    k: int,
    sign: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Walk from ``rows [B, n]``, whose similarities to their query are known."""
    import faiss

    queries = np.ascontiguousarray(queries, dtype=np.float32)
    begin = np.ascontiguousarray(rows, dtype=np.int32)
    known = np.ascontiguousarray((_sign() if sign is None else sign) * similarities, dtype=np.float32)
    found = np.empty((len(queries), k), dtype=np.float32)
    numbers = np.empty((len(queries), k), dtype=np.int64)
    all_at_once = 2  # one walk from all beginnings, rather than one each
    pointers = [faiss.swig_ptr(array) for array in (queries, begin, known, found, numbers)]
    # faiss has no form of this call that takes arrays
    graph.search_level_0(len(queries), pointers[0], k, *pointers[1:], begin.shape[1], all_at_once)
    return found, numbers


@lru_cache(1)
def _sign() -> int:
    """How faiss wants a beginning's similarity: as it is, or (before 1.14) negated. Tried on two rows."""
    import faiss

    rows = np.array([[1, 0], [0.6, 0.8]], dtype=np.float32)
    graph = faiss.IndexHNSWFlat(2, 2, faiss.METRIC_INNER_PRODUCT)
    graph.add(rows)
    _, found = _search_from(graph, rows[:1], np.array([[0]]), np.array([[1.0]]), 1, sign=1)
    return 1 if found[0, 0] == 0 else -1  # negated by mistake, the beginning is worse than the other row


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
