"""Vectors on their way into an index: checked, unit length, float32, in blocks of a steady size."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from imagebind_llm.common.errors import CacheError

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
