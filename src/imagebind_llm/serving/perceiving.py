"""Media of many requests: decoded side by side, encoded together, without holding up who writes tokens."""

import asyncio
import queue
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.inference.perception import (
    Conditions,
    PendingConditions,
    PendingEmbedding,
    Perception,
)
from imagebind_llm.model.messages import MediaItem


class UnreadableMediumError(UserError):
    """A medium of a dialog that cannot be read.

    Args:
        error: why.
        condition: the number of its condition, from 0: of the turns that bring media.
        place: its place among the media of that turn.
    """

    def __init__(self, error: UserError, condition: int, place: int) -> None:
        super().__init__(str(error))
        self.condition = condition
        self.place = place


@dataclass(frozen=True)
class _Waiting:
    """What waits for the encoder, and who waits for it."""

    pending: PendingConditions | Sequence[PendingEmbedding]
    done: "asyncio.Future[Conditions | list[Tensor | Exception]]"


class Perceiver:
    """Encodes, in a thread of its own, all that has been decoded meanwhile, over all requests.

    Args:
        perception: of the model.
    """

    def __init__(self, perception: Perception) -> None:
        self.perception = perception
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Start the thread."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="imagebind-llm-encoder", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Stop the thread after what it is doing."""
        self._queue.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    async def conditions(self, pending: PendingConditions) -> Conditions:
        """What the language model is told of the media of a request.

        Raises:
            UserError: a medium cannot be read; media cancel each other out.
        """
        if not pending.media:
            return Conditions(None)
        await _decoded(item for group in pending.pending for item in group)
        found = await self._encoded(pending)
        assert isinstance(found, Conditions)
        return found

    async def embeddings(self, items: Sequence[MediaItem]) -> list[Tensor | Exception]:
        """The unit row ``[D]`` of each item, or its error."""
        pending = await asyncio.to_thread(self.perception.start, items, {})
        await _decoded(pending)
        found = await self._encoded(pending)
        assert isinstance(found, list)
        return found

    async def _encoded(
        self, pending: PendingConditions | Sequence[PendingEmbedding]
    ) -> Conditions | list[Tensor | Exception]:
        assert self._loop is not None, "start() comes first"
        done: asyncio.Future[Conditions | list[Tensor | Exception]] = self._loop.create_future()
        self._queue.put(_Waiting(pending, done))
        return await done

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            stopping = False
            while not self._queue.empty() and not stopping:
                following = self._queue.get()
                if following is None:
                    stopping = True
                else:
                    batch.append(following)
            self._encode([item for item in batch if not item.done.cancelled()])
            if stopping:
                return

    def _encode(self, batch: list[_Waiting]) -> None:
        assert self._loop is not None
        try:
            self.perception.finish(one for item in batch for one in _embeddings_of(item.pending))
        except Exception as error:  # a fault of ours: nobody may wait forever
            for item in batch:
                self._loop.call_soon_threadsafe(_settle, item.done, error)
            return
        for item in batch:
            self._loop.call_soon_threadsafe(_settle, item.done, self._outcome(item.pending))

    def _outcome(
        self, pending: PendingConditions | Sequence[PendingEmbedding]
    ) -> Conditions | Exception | list[Tensor | Exception]:
        if isinstance(pending, PendingConditions):
            for condition, group in enumerate(pending.pending):
                for place, one in enumerate(group):
                    if isinstance(one.outcome, UserError):
                        return UnreadableMediumError(one.outcome, condition, place)
            return self.perception.finish_conditions([pending])[0]
        return [one.outcome for one in pending if one.outcome is not None]


def _embeddings_of(pending: PendingConditions | Sequence[PendingEmbedding]) -> list[PendingEmbedding]:
    if isinstance(pending, PendingConditions):
        return [one for group in pending.pending for one in group]
    return list(pending)


async def _decoded(items: Iterable[PendingEmbedding]) -> None:
    """Wait until all are decoded (or have failed: that is told when they are encoded)."""
    waiting = [asyncio.wrap_future(one.tensor) for one in items if one.tensor is not None]
    if waiting:
        await asyncio.wait(waiting)
        for future in waiting:
            future.exception()  # looked at, so that nobody complains that it was not


def _settle(done: "asyncio.Future[Conditions | list[Tensor | Exception]]", outcome: object) -> None:
    if done.done():
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)  # type: ignore[arg-type]
