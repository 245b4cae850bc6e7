"""Keys and values of dialogs that have been read before, so that a chat does not read its history again."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

Layers = list[tuple[Tensor, Tensor]]
"""Keys and values ``[1, H, T, D]`` of each layer."""


@dataclass(frozen=True)
class Trace:
    """What the keys and values of a row depend on: its tokens, and the condition that each of them sees.

    ``tokens [T]`` int64; ``seen [T]`` uint64, the first 8 bytes of a SHA-256 of the condition, 0 for none.
    """

    tokens: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, tokens: Sequence[int], condition_ids: Sequence[int], conditions: Tensor | None) -> "Trace":
        """Of a prompt (and what was written after it)."""
        names = [0]  # the last one, found by the index -1: no condition
        if conditions is not None:
            rows = conditions.detach().float().cpu().numpy()
            names = [int.from_bytes(hashlib.sha256(row.tobytes()).digest()[:8], "big") for row in rows] + [0]
        return cls(
            np.asarray(tokens, np.int64), np.asarray(names, np.uint64)[np.asarray(condition_ids, np.int64)]
        )

    def __len__(self) -> int:
        return len(self.tokens)

    def common(self, other: "Trace") -> int:
        """Length of the longest common prefix."""
        length = min(len(self), len(other))
        differs = self.tokens[:length] != other.tokens[:length]
        differs |= self.seen[:length] != other.seen[:length]
        return int(differs.argmax()) if differs.any() else length


class PrefixMemory:
    """The rows read last, up to ``max_tokens`` tokens together; the one not used for longest goes first."""

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._rows: OrderedDict[int, tuple[Trace, Layers]] = OrderedDict()
        self._added = 0

    @property
    def tokens(self) -> int:
        """How many tokens are kept."""
        return sum(len(trace) for trace, _ in self._rows.values())

    def add(self, trace: Trace, layers: Layers) -> None:
        """Keep a row, instead of one that is the beginning of it."""
        if len(trace) > self._max_tokens:
            return
        for number, (known, _) in list(self._rows.items()):
            if known.common(trace) == len(known):
                del self._rows[number]
        self._rows[self._added] = (trace, layers)
        self._added += 1
        while self.tokens > self._max_tokens:
            self._rows.popitem(last=False)

    def longest(self, trace: Trace) -> tuple[int, Layers]:
        """Length of the longest beginning of ``trace`` that is known (0: none), and its keys and values.

        At least the last token is never part of it: the model must read one to go on.
        """
        best, length = -1, 0
        for number, (known, _) in self._rows.items():
            common = min(known.common(trace), len(trace) - 1)
            if common > length:
                best, length = number, common
        if not length:
            return 0, []
        self._rows.move_to_end(best)
        return length, self._rows[best][1]

    def clear(self) -> None:
        """Forget all."""
        self._rows.clear()
