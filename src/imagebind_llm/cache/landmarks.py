"""Where searches of a neighbour graph begin.

A graph is searched by walking from row to row towards the query. From one beginning for all, the walk ends
among the wrong pictures for a few queries of a hundred, most of all for those that lie apart from the
pictures, as sounds do: neighbours of one group know each other and nobody else. So it begins at several
places: those of some thousand landmarks, rows spread over the whole index, that are nearest to the query.
"""

from functools import lru_cache
from typing import Any

import numpy as np

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
