"""Which token of a packed batch receives which delta: two static buffers that the layers read.

The buffers are made once and written in place between two forward passes, so that a pass may be a recorded
graph (a CUDA graph, a compiled model). vLLM packs the tokens of all requests of a step one after the other;
``query_start_loc`` says where each begins. A request's tokens may come in several steps (a long prompt is
read in chunks), may be partly known (prefix cache) or come again (after it was put aside for others): only
their positions in the request count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from imagebind_llm.serving.vllm.carried import NAME, Carried

ROWS = "_imagebind_llm_rows"
"""The attribute of vLLM's model that holds its :class:`ConditionRows`."""


@dataclass(frozen=True)
class _Request:
    rows: np.ndarray
    """The row of the table for each token of the prompt, int64 ``[P]``."""
    last: int
    """The row for the tokens after it."""
    keys: tuple[str, ...]


class ConditionRows:
    """The deltas of the conditions in use, and the row of each token of the batch.

    Args:
        layers: injected layers, ``K``.
        width: of the stream, ``C``.
        places: most different conditions at a time, ``S``.
        tokens: most tokens of a batch, ``T``.
        dtype: of the stream.
        device: of the model.

    Attributes:
        table: ``[K, S + 1, C]``; row 0 is zero: no condition.
        rows: int64 ``[T]``, a row of the table for each token of the batch.
    """

    def __init__(
        self,
        layers: int,
        width: int,
        places: int,
        tokens: int,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
    ) -> None:
        self.table = torch.zeros(layers, places + 1, width, dtype=dtype, device=device)
        self.rows = torch.zeros(tokens, dtype=torch.int64, device=device)
        self._staged = np.zeros(tokens, dtype=np.int64)
        self._sent = np.zeros(tokens, dtype=np.int64)
        self._filled = 0
        self._requests: dict[str, _Request] = {}
        self._places: dict[str, int] = {}
        self._users: dict[str, int] = {}
        self._free = list(range(places, 0, -1))

    # --- requests

    @property
    def known(self) -> set[str]:
        """Names of the requests with conditions."""
        return set(self._requests)

    @property
    def in_use(self) -> int:
        """Different conditions that hold a row of the table."""
        return len(self._places)

    def add(self, name: str, carried: Carried) -> None:
        """Take a request in; equal conditions share a row. Without conditions there is nothing to do.

        Raises:
            RuntimeError: more different conditions than places (whoever lets requests in keeps count).
        """
        if name in self._requests:
            self.remove(name)
        if not len(carried.deltas):
            return
        keys = carried.keys
        new = {key: delta for key, delta in zip(keys, carried.deltas, strict=True) if key not in self._places}
        if len(new) > len(self._free):
            raise RuntimeError(
                f"{len(new)} new conditions for {len(self._free)} free places of the table of deltas"
            )
        for key, delta in new.items():
            place = self._free.pop()
            self._places[key] = place
            self.table[:, place].copy_(delta)
        for key in set(keys):
            self._users[key] = self._users.get(key, 0) + 1
        places = np.array([*(self._places[key] for key in keys), 0], dtype=np.int64)  # -1: the last, 0
        rows = places[carried.seen()]
        self._requests[name] = _Request(rows, int(rows[-1]), tuple(set(keys)))

    def remove(self, name: str) -> None:
        """Let a request go; one that is not known is left alone."""
        request = self._requests.pop(name, None)
        for key in () if request is None else request.keys:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key]
                self._free.append(self._places.pop(key))

    # --- steps

    def fill(self, names: Sequence[str], starts: Sequence[int], read: Sequence[int]) -> None:
        """Set the rows of the tokens of a batch.

        Args:
            names: requests, in the order of their tokens; those that are not known have no conditions.
            starts: ``query_start_loc``: where the tokens of each begin, and the end of the last one's.
            read: for each, how many of its tokens were read in earlier steps.
        """
        staged, before = self._staged, self._filled
        staged[:before] = 0
        touched = 0
        for place, name in enumerate(names):
            request = self._requests.get(name)
            if request is None:
                continue
            start, end, done = int(starts[place]), int(starts[place + 1]), int(read[place])
            prompt = request.rows[done : done + end - start]
            staged[start : start + len(prompt)] = prompt
            staged[start + len(prompt) : end] = request.last
            touched = end
        self._filled = touched
        changed = max(before, touched)
        # while all requests are writing, every step has the same rows; the copy to a GPU waits for it
        if not np.array_equal(staged[:changed], self._sent[:changed]):
            self._sent[:changed] = staged[:changed]
            self.rows[:changed].copy_(torch.from_numpy(staged[:changed]))


def take_in(rows: ConditionRows, name: str, sampling: Any, tokens: int) -> None:
    """Read what a request carries; one with conditions is added to ``rows``.

    Raises:
        RefusedError: it is not whole, or has not the salt of its conditions.
    """
    given = carried_by(sampling)
    if given is not None and given["shape"][0]:
        rows.add(name, Carried.unpack(given, tokens))


def carried_by(sampling: Any) -> dict[str, Any] | None:
    """What vLLM's ``SamplingParams`` carry for this package."""
    extra = getattr(sampling, "extra_args", None) or {}
    return extra.get(NAME)
