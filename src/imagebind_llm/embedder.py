"""Media sources → unit embeddings: decoded in a few threads, encoded in batches, remembered for a while."""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.messages import MediaItem
from imagebind_llm.mixing import check_total, mix

if TYPE_CHECKING:
    from imagebind_llm.engine import Engine

_REMEMBERED = 4096
"""Embeddings kept (4 kB each at ImageBind-Huge's size)."""


class Ticket:
    """One medium on its way: first a decode in the background, then a row or an error."""

    def __init__(self, modality: Modality, key: Any) -> None:
        self.modality = modality
        self.key = key
        self.tensor: Future[Tensor] | None = None
        self.row: Tensor | None = None
        self.error: Exception | None = None

    def result(self) -> Tensor:
        """The unit embedding ``[D]``, or the error raised."""
        if self.error is not None:
            raise self.error
        assert self.row is not None, "finish() has not run"
        return self.row


class Embedder:
    """Opens and embeds media. A file that was seen before (same path, size and time) is not opened again."""

    def __init__(self, engine: "Engine", workers: int | None = None) -> None:
        self._engine = engine
        self._workers = workers or min(4, os.cpu_count() or 1)
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._known: OrderedDict[Any, Tensor] = OrderedDict()

    def start(self, items: Iterable[MediaItem], among: dict[Any, Ticket]) -> list[Ticket]:
        """Begin to decode ``items`` in the background.

        ``among`` holds the tickets of the same batch: a source that occurs twice in it is opened once.
        """
        tickets = []
        for item in items:
            key = _key(item)
            ticket = among.get(key) if key is not None else None
            if ticket is None:
                ticket = Ticket(item.modality, key)
                with self._lock:
                    ticket.row = self._known.get(key) if key is not None else None
                if ticket.row is None:
                    try:
                        self._engine.check_modality(item.modality)
                    except UserError as error:
                        ticket.error = error
                    else:
                        ticket.tensor = self._submit(item)
                if key is not None:
                    among[key] = ticket
            tickets.append(ticket)
        return tickets

    def finish(self, tickets: Iterable[Ticket]) -> None:
        """Embed what has been decoded. Errors stay in their tickets."""
        waiting: list[tuple[Ticket, Tensor]] = []
        for ticket in {id(ticket): ticket for ticket in tickets}.values():
            if ticket.tensor is None:
                continue
            try:
                waiting.append((ticket, ticket.tensor.result()))
            except Exception as error:  # one broken file must not take the others along
                ticket.error = error
            ticket.tensor = None
        if not waiting:
            return
        rows = self._engine.embed([(ticket.modality, tensor) for ticket, tensor in waiting])
        with self._lock:
            for (ticket, _), row in zip(waiting, rows, strict=True):
                ticket.row = row
                if ticket.key is not None:
                    self._known[ticket.key] = row
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def _submit(self, item: MediaItem) -> Future[Tensor]:
        processor = self._engine.processor
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="imagebind-llm-media")
            return self._pool.submit(processor.media.load, item.modality, item.source, processor.limits)


def mixtures(conditions: Sequence[Sequence[tuple[Tensor, float]]]) -> Tensor:
    """Mix the (row, weight) pairs of each condition: ``[N, D]``.

    Raises:
        UserError: a condition whose weights are all (next to) 0.
    """
    for parts in conditions:
        check_total(weight for _, weight in parts)
    rows = torch.stack([row for parts in conditions for row, _ in parts])
    weights = torch.tensor([weight for parts in conditions for _, weight in parts])
    index = torch.tensor([number for number, parts in enumerate(conditions) for _ in parts])
    return mix(rows, weights, index, len(conditions))


def _key(item: MediaItem) -> Any:
    """What tells this medium from another without opening it; None for objects that may change in place."""
    source = item.source
    if item.modality is Modality.TEXT:
        return (item.modality, source) if isinstance(source, str) else None
    if isinstance(source, bytes):
        return (item.modality, hashlib.sha256(source).digest())
    if isinstance(source, str | os.PathLike):
        try:
            found = os.stat(source)
        except (OSError, ValueError):
            return None  # opening it will say what is wrong
        return (item.modality, os.path.abspath(os.fspath(source)), found.st_size, found.st_mtime_ns)
    return None
