"""Keys and values of the rows that are being generated: rows join and leave between two steps.

All rows of a layer lie in one rectangle and end at the same column, as a left-padded batch does, so every
attention implementation and every kind of mask (sliding windows too) of transformers works on it unchanged.
A step writes one column in place. A row that leaves gives its place to the last one.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

_SPARE_COLUMNS = 64
"""Columns allocated beyond those in use, at least; then half as many again, so that copying stays rare."""


class _Layer(DynamicLayer):
    """One layer, as a decoder's attention sees it: it gives a column, and gets the columns in use."""

    keys: Tensor
    values: Tensor

    def __init__(self, rows: "KeyValueRows") -> None:
        super().__init__()
        self._rows = rows
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        count, (start, end) = key_states.shape[0], self._rows.columns
        self.keys[:count, :, end] = key_states[:, :, 0]
        self.values[:count, :, end] = value_states[:, :, 0]
        return self.keys[:count, :, start : end + 1], self.values[:count, :, start : end + 1]

    def get_seq_length(self) -> int:
        start, end = self._rows.columns
        return end - start


class KeyValueRows:
    """The rectangle, and how many tokens each row has in it.

    Args:
        max_rows: how many rows there may be.

    Attributes:
        lengths: cached tokens of each row, in the order of the rows.
        cache: what is passed to the model as ``past_key_values`` for one token of every row.
    """

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self.lengths: list[int] = []
        self.cache: Cache | None = None
        self._layers: list[_Layer] = []
        self._end = 0

    @property
    def columns(self) -> tuple[int, int]:
        """First column in use, and the one the next token goes to."""
        return self._end - max(self.lengths, default=0), self._end

    @property
    def mask(self) -> Tensor | None:
        """``[B, columns + 1]`` int64 attention mask of the next step; None where no row is padded."""
        longest = max(self.lengths)
        if min(self.lengths) == longest:
            return None
        column = torch.arange(longest + 1)
        return (column >= longest - torch.tensor(self.lengths)[:, None]).long()

    def join(self, filled: DynamicCache, lengths: Sequence[int]) -> None:
        """Add rows.

        Args:
            filled: keys and values ``[n, H, T, D]`` of their tokens, left-padded.
            lengths: how many of the ``T`` columns belong to each row.
        """
        width = max(lengths)
        given: list[Any] = filled.layers
        first, count = len(self.lengths), len(lengths)
        self._reserve(given, first + count, width)
        padding = None
        if min(lengths) < width:
            padding = torch.arange(width) < width - torch.tensor(lengths)[:, None]
        for layer, new in zip(self._layers, given, strict=True):
            for own, states in ((layer.keys, new.keys), (layer.values, new.values)):
                part = states[:, :, -width:]
                if padding is not None:  # whatever attention made of it must not become a not-a-number here
                    part = part.masked_fill(padding.to(part.device)[:, None, :, None], 0)
                own[first : first + count, :, : self._end - width] = 0  # of rows that were here before
                own[first : first + count, :, self._end - width : self._end] = part
        self.lengths += lengths

    def advance(self) -> None:
        """Every row has got the token of a step."""
        self._end += 1
        self.lengths = [length + 1 for length in self.lengths]

    def make_room(self) -> None:
        """Before a step: see that there is a column for it."""
        rows, _, total, _ = self._layers[0].keys.shape
        if self._end == total:
            self._lay_out(self._layers, rows, max(self.lengths))

    def leave(self, row: int) -> None:
        """Remove a row; the last one takes its place."""
        last = len(self.lengths) - 1
        if row != last:
            start = self._end - self.lengths[last]
            for layer in self._layers:
                for own in (layer.keys, layer.values):
                    own[row, :, start : self._end] = own[last, :, start : self._end]
                    own[row, :, :start] = 0  # a mask does not hide what is not a number
        self.lengths[row] = self.lengths[last]
        self.lengths.pop()
        if not self.lengths:
            self.clear()

    def clear(self) -> None:
        """Remove all rows and give their memory back."""
        self.lengths, self.cache, self._layers, self._end = [], None, [], 0

    def copy_of(self, row: int) -> list[tuple[Tensor, Tensor]]:
        """Keys and values ``[1, H, T, D]`` of one row, layer by layer."""
        part = slice(self._end - self.lengths[row], self._end)
        return [
            (layer.keys[row : row + 1, :, part].clone(), layer.values[row : row + 1, :, part].clone())
            for layer in self._layers
        ]

    def _reserve(self, like: Sequence[Any], rows: int, width: int) -> None:
        """See that there are so many rows, and ``width`` columns before the end."""
        if not self._layers:
            self._lay_out(like, rows, width)
        elif self._layers[0].keys.shape[0] < rows or self._end < width:
            # twice as many rows: joining one by one must not copy all of them each time
            self._lay_out(self._layers, min(self._max_rows, max(rows, 2 * len(self.lengths))), width)

    def _lay_out(self, like: Sequence[Any], rows: int, width: int) -> None:
        """New rectangles, with what is in use in them.

        Zeros, because an attention mask does not hide what is not a number. ``like``: the layers to take
        sizes from, and what is in use.
        """
        start, old_end = self.columns
        used = len(self.lengths)
        end = max(width, old_end - start)
        total = end + max(_SPARE_COLUMNS, end // 2)

        def moved(given: Tensor) -> Tensor:
            heads, size = given.shape[1], given.shape[3]
            fresh = torch.zeros(rows, heads, total, size, dtype=given.dtype, device=given.device)
            if used:
                old = given[:used, :, start:old_end]
                fresh[:used, :, end - old.shape[2] : end] = old
            return fresh

        fresh = [(moved(layer.keys), moved(layer.values)) for layer in like]  # all, or none if out of memory
        if not self._layers:
            self._layers = [_Layer(self) for _ in like]
            self.cache = Cache(layers=list(self._layers))
        for layer, (keys, values) in zip(self._layers, fresh, strict=True):
            layer.keys, layer.values = keys, values
        self._end = end


def cache_of(layers: Sequence[tuple[Tensor, Tensor]], length: int) -> DynamicCache:
    """A key-value cache that holds the first ``length`` columns of ``layers`` (see
    :meth:`KeyValueRows.copy_of`)."""
    cache = DynamicCache()
    for number, (keys, values) in enumerate(layers):
        cache.update(keys[:, :, :length], values[:, :, :length], number)
    return cache
