"""Which sequences run: those that wait are let in while there are rows and key-value memory for them."""

import threading
from collections import deque
from collections.abc import Sequence as Sequences
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from imagebind_llm.inference.prefixes import Layers, Trace
from imagebind_llm.inference.sampler import Choice, Sampling

FinishReason = Literal["stop", "length"]


@dataclass
class Sequence:
    """One request on its way through the engine.

    Attributes:
        number: its name.
        prompt: token ids.
        condition_ids: the condition each of them sees, -1 for none.
        conditions: ``[N, D]``, or None.
        sampling: how to choose its tokens.
        limit: how many new tokens it may have.
        choice: the state of its sampling.
        trace: what its keys and values depend on; None unless they are to be remembered.
        known: length of the beginning of the prompt whose keys and values are known, and these.
        delta: ``[K, C]`` what its condition adds to each injected layer (or, of several vectors, what tokens
            attend to there), once it runs; None for nothing.
        new: how many tokens have been written.
    """

    number: int
    prompt: list[int]
    condition_ids: list[int]
    conditions: Tensor | None
    sampling: Sampling
    limit: int
    choice: Choice
    trace: Trace | None = None
    known: tuple[int, Layers] = (0, [])
    delta: Tensor | None = None
    new: int = 0

    @property
    def need(self) -> int:
        """Most entries of key-value memory that it can come to."""
        return len(self.prompt) + self.limit

    def accept(self, token: int) -> FinishReason | None:
        """Add a new token; says why the sequence ends with it, if it does."""
        self.new += 1
        self.choice.append(token)
        if token in self.sampling.end_tokens:
            return "stop"
        return "length" if self.new >= self.limit else None


class Scheduler:
    """First come, first served.

    Args:
        max_rows: sequences that run at once.
        max_tokens: entries of key-value memory for them: the number of rows times the longest that one of
            them may become. A sequence that needs more on its own runs alone.
        max_prefill: prompt tokens (with padding) that are read in one step, so that those who are already
            writing do not wait long. A longer prompt is read on its own.

    Attributes:
        waiting: not let in yet.
        running: those with a row, in the order of the rows.
    """

    def __init__(self, max_rows: int, max_tokens: int, max_prefill: int) -> None:
        self.max_rows = max_rows
        self.max_tokens = max_tokens
        self.max_prefill = max_prefill
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._queue = threading.Lock()  # callers add and abort while another thread makes a step

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self.waiting and not self.running

    def submit(self, sequence: Sequence) -> None:
        """Put a sequence at the end of the queue."""
        with self._queue:
            self.waiting.append(sequence)

    def put_back(self, sequences: Sequences[Sequence]) -> None:
        """Put sequences at the beginning of the queue, in their order."""
        with self._queue:
            self.waiting.extendleft(reversed(sequences))

    def admit(self) -> list[Sequence]:
        """Take those from the queue that can start now; they are not in ``running`` yet."""
        with self._queue:
            return self._admit()

    def _admit(self) -> list[Sequence]:
        admitted: list[Sequence] = []
        longest = max((sequence.need for sequence in self.running), default=0)
        widest = 0
        while self.waiting:
            candidate = self.waiting[0]
            rows = len(self.running) + len(admitted) + 1
            longest = max(longest, candidate.need)
            widest = max(widest, len(candidate.prompt))
            fits = rows <= self.max_rows and rows * longest <= self.max_tokens
            if rows > 1 and not fits:
                break
            if admitted and (len(admitted) + 1) * widest > self.max_prefill:
                break
            admitted.append(self.waiting.popleft())
        return admitted

    def leave(self, row: int) -> Sequence:
        """Remove a running sequence; the last one takes its row."""
        gone = self.running[row]
        last = self.running.pop()
        if row < len(self.running):
            self.running[row] = last
        return gone

    def drop(self, number: int) -> bool:
        """Remove a waiting sequence, if it is one."""
        with self._queue:
            left = [sequence for sequence in self.waiting if sequence.number != number]
            found = len(left) < len(self.waiting)
            if found:
                self.waiting = deque(left)
        return found


def left_padded(rows: Sequences[Sequences[int]], value: int) -> Tensor:
    """``[B, T]`` int64."""
    width = max(len(row) for row in rows)
    return torch.tensor([[value] * (width - len(row)) + list(row) for row in rows])
