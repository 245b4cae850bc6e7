"""The token engine of this process, in a thread of its own, for callers in an event loop."""

import asyncio
import threading
from collections.abc import AsyncGenerator

from imagebind_llm.inference.engine import Engine, Event, TokenRequest
from imagebind_llm.serving.backend import BackendLostError, Load


class LocalBackend:
    """A :class:`~imagebind_llm.serving.backend.TokenBackend` that steps an engine as long as it has work.

    Args:
        engine: nobody else may call its ``step``.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._open: dict[int, asyncio.Queue[Event]] = {}
        self._work = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def context_length(self) -> int | None:
        """Tokens of a prompt with its answer, or None if nobody knows."""
        return self.engine.context_length

    def new_tokens(self, prompt: int, wanted: int | None) -> int:
        """See :meth:`~imagebind_llm.inference.engine.Engine.new_tokens`."""
        return self.engine.new_tokens(prompt, wanted)

    def load(self) -> Load:
        """How busy the engine is."""
        return Load(*self.engine.load())

    async def start(self) -> None:
        """Start the thread."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="imagebind-llm-engine", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Stop the thread after the step under way."""
        self._closing = True
        self._work.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        self._fail(BackendLostError("the server is stopping"))

    async def stream(self, request: TokenRequest, session: str | None = None) -> AsyncGenerator[Event, None]:
        """The events of one request; closing it ends the sequence."""
        if self._closing or self._thread is None:
            raise BackendLostError("the server is stopping")
        number = self.engine.add(request)
        box = self._open[number] = asyncio.Queue()
        self._work.set()
        last = False
        try:
            while not last:
                event = await box.get()
                last = event.last
                if event.error is not None:
                    raise event.error
                yield event
        finally:
            del self._open[number]
            if not last:
                self.engine.abort(number)

    def _run(self) -> None:
        assert self._loop is not None
        while not self._closing:
            self._work.wait()
            self._work.clear()
            while not self.engine.idle and not self._closing:
                try:
                    events = self.engine.step()
                except Exception as error:  # a fault of ours: nobody may wait forever for what is lost
                    self.engine.renew()
                    self._loop.call_soon_threadsafe(self._fail, error)
                    break
                if events:
                    self._loop.call_soon_threadsafe(self._deliver, events)

    def _deliver(self, events: list[Event]) -> None:
        for event in events:
            if (box := self._open.get(event.sequence)) is not None:
                box.put_nowait(event)

    def _fail(self, error: Exception) -> None:
        for number, box in self._open.items():
            box.put_nowait(Event(number, error=error))
