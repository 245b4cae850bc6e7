"""Several callers, one engine: whoever waits for tokens makes the next step, for all of them."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from imagebind_llm.inference.confidence import confidence_of
from imagebind_llm.inference.engine import Engine, Event, TokenRequest
from imagebind_llm.inference.forks import renewed_in_children
from imagebind_llm.inference.interrupts import uninterrupted


@dataclass(frozen=True)
class Completion:
    """The new tokens of one request, its end token included, why they end, and how sure the model was."""

    ids: list[int]
    finish_reason: Literal["stop", "length"]
    confidence: float | None = None


class Driver:
    """Gives every caller the events of its own sequences. There is no thread of its own: a caller that waits
    makes a step unless another one is making it, and each step serves all.

    Args:
        engine: the engine; nobody else may call its ``step``.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.renew()
        renewed_in_children(self)

    def renew(self) -> None:
        """Forget all callers."""
        self._boxes: dict[int, deque[Event]] = {}
        self._changed = threading.Condition()
        self._busy = False

    def complete(self, requests: Sequence[TokenRequest]) -> list[Completion | Exception]:
        """Answer all requests; an error stands in the place of its answer."""
        numbers: list[int | Exception] = []
        try:
            for request in requests:
                try:
                    numbers.append(self._open(request))
                except Exception as error:
                    numbers.append(error)
            return [number if isinstance(number, Exception) else self._collect(number) for number in numbers]
        finally:
            for number in numbers:
                if isinstance(number, int):
                    self._close(number)

    def stream(self, request: TokenRequest) -> Iterator[Event]:
        """The events of one request as they come. Closing it ends the sequence.

        Raises:
            Exception: whatever the model raised.
        """
        number = self._open(request)
        try:
            while True:
                event = self._next(number)
                if event.error is not None:
                    raise event.error
                yield event
                if event.last:
                    return
        finally:
            self._close(number)

    def _collect(self, number: int) -> Completion | Exception:
        ids: list[int] = []
        sure: list[float | None] = []
        while True:
            event = self._next(number)
            if event.error is not None:
                return event.error
            assert event.token is not None, "an event without error has a token"
            ids.append(event.token)
            sure.append(event.sure)
            if event.finish_reason is not None:
                return Completion(ids, event.finish_reason, confidence_of(sure))

    def _open(self, request: TokenRequest) -> int:
        with uninterrupted(), self._changed:  # a step under way must not deliver before there is a box
            number = self.engine.add(request)
            self._boxes[number] = deque()
        return number

    def _close(self, number: int) -> None:
        with uninterrupted():
            with self._changed:
                self._boxes.pop(number, None)
            self.engine.abort(number)

    def _next(self, number: int) -> Event:
        """The next event of one sequence."""
        while True:
            with self._changed:
                box = self._boxes[number]
                while self._busy and not box:
                    self._changed.wait()
                if box:
                    return box.popleft()
            with uninterrupted():
                events = self._step()
            if events == [] and self.engine.idle and not self._boxes[number]:
                raise RuntimeError(f"sequence {number} ended without an answer; was it aborted elsewhere?")

    def _step(self) -> list[Event] | None:
        """One step for all, unless another caller has begun one (then None)."""
        with self._changed:
            if self._busy:
                return None
            self._busy = True
        events: list[Event] = []
        try:
            events = self.engine.step()
        finally:
            with self._changed:
                for event in events:
                    if event.sequence in self._boxes:
                        self._boxes[event.sequence].append(event)
                self._busy = False
                self._changed.notify_all()
        return events
