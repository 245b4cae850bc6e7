"""Many short dialogs in few rows: no token is padding that need not be.

Each dialog in a row counts its positions from 0 and keeps its own conditions. Given such positions and no
mask, transformers lets each token see its own dialog only, within the window of layers that have one. So the
loss is that of the same dialogs one by one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.media.batch import MediaBatch, MediaPart
from imagebind_llm.model.loss import IGNORED_LABEL, next_labels, predicts_label

_MASKED = ("eager", "sdpa", "flex_attention")
"""Attention implementations for which transformers makes a mask out of the positions of each row."""

_TOKEN_FIELDS = ("input_ids", "labels", "position_ids", "condition_ids", "segment_ids")
"""The ``[R, T]`` tensors of a batch."""

SHORT_ROW = 128
"""Tokens: rows are not made longer than this only to hold more examples. The cost of attention grows with the
square of a row's length, and rows of 512 cost a fifth more for the same tokens."""


@dataclass(frozen=True)
class Example:
    """One dialog to learn from.

    ``input_ids``, ``loss_mask`` (tokens to predict) and ``condition_ids`` (-1: none) have one length;
    ``conditions [n, D]`` are what the condition ids point to. Those in ``media`` are not embedded yet: their
    rows are zeros until the encoder has seen their parts. ``name`` says which sample it is made of.
    """

    input_ids: Sequence[int]
    loss_mask: Sequence[bool]
    condition_ids: Sequence[int]
    conditions: Tensor | None = None
    media: Mapping[int, Sequence[MediaPart]] = field(default_factory=dict)
    name: str = ""

    def __len__(self) -> int:
        return len(self.input_ids)


class PackedBatch(NamedTuple):
    """Rows of dialogs, as the model takes them.

    Attributes:
        input_ids: ``[R, T]`` int64.
        labels: ``[R, T]`` int64, -100 where nothing is learnt (the model shifts them).
        position_ids: ``[R, T]`` int64, from 0 in each dialog and 0 in padding. Give the model these, no
            attention mask and ``use_cache=False``: then dialogs do not see each other.
        condition_ids: ``[R, T]`` int64 rows of ``conditions``, -1 for none.
        conditions: ``[N, D]`` float32, None without any.
        segment_ids: ``[R, T]`` int64, the example each token belongs to, -1 for padding.
        media: what is still to be encoded, None without any; ``media_rows [M]`` int64 are the rows of
            ``conditions`` it makes.
    """

    input_ids: Tensor
    labels: Tensor
    position_ids: Tensor
    condition_ids: Tensor
    conditions: Tensor | None
    segment_ids: Tensor
    media: MediaBatch | None = None
    media_rows: Tensor | None = None

    @property
    def learnt_tokens(self) -> int:
        """Tokens that are predicted."""
        return int((self.labels[:, 1:] != IGNORED_LABEL).sum())


def assign_rows(lengths: Sequence[int], row_length: int) -> list[list[int]]:
    """Which examples share a row: first fit, longest first.

    Raises:
        ValueError: one is longer than a row.
    """
    if lengths and max(lengths) > row_length:
        raise ValueError(f"an example has {max(lengths)} tokens, a row {row_length}")
    rows: list[list[int]] = []
    room: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda n: -lengths[n]):
        row = next((row for row, left in enumerate(room) if left >= lengths[number]), len(rows))
        if row == len(rows):
            rows.append([])
            room.append(row_length)
        rows[row].append(number)
        room[row] -= lengths[number]
    return rows


def pack(examples: Sequence[Example], row_length: int, pad_token: int) -> PackedBatch:
    """Lay examples into rows of at most ``row_length`` tokens; all are as long as the longest.

    A dialog's first token is never learnt: nothing in its part of the row comes before it.
    """
    lengths = [len(example) for example in examples]
    rows = assign_rows(lengths, min(row_length, max(SHORT_ROW, *lengths)))
    count, length = len(rows), max(sum(len(examples[n]) for n in row) for row in rows)
    input_ids = torch.full((count, length), pad_token, dtype=torch.int64)
    labels = torch.full((count, length), IGNORED_LABEL, dtype=torch.int64)
    position_ids = torch.zeros((count, length), dtype=torch.int64)
    condition_ids = torch.full((count, length), -1, dtype=torch.int64)
    segment_ids = torch.full((count, length), -1, dtype=torch.int64)
    first_condition, conditions = 0, []
    media: dict[int, Sequence[MediaPart]] = {}
    starts = {}
    for number, example in enumerate(examples):
        starts[number] = first_condition
        if example.conditions is not None:
            media |= {first_condition + place: parts for place, parts in example.media.items()}
            conditions.append(example.conditions)
            first_condition += len(example.conditions)
    for row, members in enumerate(rows):
        at = 0
        for number in members:
            example = examples[number]
            part = slice(at, at + len(example))
            ids = torch.tensor(example.input_ids)
            loss_mask = torch.tensor(example.loss_mask)
            loss_mask[0] = False
            input_ids[row, part] = ids
            labels[row, part] = torch.where(loss_mask, ids, IGNORED_LABEL)
            position_ids[row, part] = torch.arange(len(example))
            seen = torch.tensor(example.condition_ids)
            condition_ids[row, part] = torch.where(seen >= 0, seen + starts[number], -1)
            segment_ids[row, part] = number
            at += len(example)
    return PackedBatch(
        input_ids,
        labels,
        position_ids,
        condition_ids,
        torch.cat(conditions) if conditions else None,
        segment_ids,
        MediaBatch.collate(list(media.values())) if media else None,
        torch.tensor(list(media)) if media else None,
    )


def laid_for(batch: PackedBatch, attention: str) -> PackedBatch:
    """``batch`` in the layout that an attention implementation of transformers takes.

    Masks are made for each row, but flash kernels look for dialogs only in a batch of one row. They pay
    nothing for its length.

    Raises:
        ConfigError: it is not known whether ``attention`` keeps dialogs apart.
    """
    if attention in _MASKED:
        return batch
    if "flash" not in attention:
        raise ConfigError(
            f"attention {attention!r} may not keep the dialogs of a packed row apart; load the language "
            f"model with one of {', '.join(_MASKED)} or a flash_attention"
        )
    joined = {name: getattr(batch, name).reshape(1, -1) for name in _TOKEN_FIELDS}
    return batch._replace(**joined)


def examples_right(logits: Tensor, batch: PackedBatch) -> Tensor:
    """Is every learnt token of an example the likeliest one? Then greedy decoding of each answer, given the
    true ones before it, would reproduce it exactly.

    Args:
        logits: ``[n, V]`` where :func:`~imagebind_llm.model.loss.predicts_label` says so.
        batch: of ``E`` examples.

    Returns:
        ``[E]`` booleans.
    """
    count = int(batch.segment_ids.max()) + 1
    predicting = predicts_label(batch.labels)
    wrong = logits.argmax(-1) != next_labels(batch.labels, predicting)
    misses = torch.zeros(count, dtype=torch.int64, device=logits.device)
    misses.index_add_(0, batch.segment_ids[predicting], wrong.long())
    return misses == 0
