"""Answers that end when their reader leaves, and server-sent events."""

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from imagebind_llm.common.errors import UserError
from imagebind_llm.serving.backend import BackendLostError
from imagebind_llm.serving.errors import ApiError, error_body

T = TypeVar("T")
_log = logging.getLogger("imagebind_llm.serving")


class ClientLeftError(Exception):
    """Nobody waits for the answer any more."""


async def unless_left(request: Request, work: Awaitable[T]) -> T:
    """The result of ``work``, which is cancelled when the client goes away.

    Raises:
        ClientLeftError: it has.
    """
    task = asyncio.ensure_future(work)
    left = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientLeftError
        return task.result()
    finally:
        for one in (task, left):
            if not one.done():
                one.cancel()
        await asyncio.gather(task, left, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class EventStream(StreamingResponse):
    """Server-sent events. An error after the first byte becomes an event of its own.

    Args:
        events: as :func:`data` writes them.
        close: called at the end in any case, also when the client left before the first event was asked for
            (a generator that was never begun has no end).
    """

    def __init__(self, events: AsyncGenerator[str, None], close: Callable[[], None]) -> None:
        super().__init__(
            _guarded(events), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
        )
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()


async def _guarded(events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    try:
        async for event in events:
            yield event
    except Exception as error:
        if not isinstance(error, ApiError | UserError | BackendLostError):
            log_fault("a stream", error)
        status, words = status_of(error)
        body = error_body(status, words)
        body["error"]["status"] = status  # that of HTTP has been sent
        yield data(body)
    finally:
        await events.aclose()


def log_fault(what: str, error: Exception) -> None:
    """Write down where a fault of ours happened; not its text, which may hold what was asked."""
    where = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s failed: %s\n%s", what, type(error).__name__, where)


def status_of(error: Exception) -> tuple[int, str]:
    """The status and the words for an error of a running answer."""
    if isinstance(error, ApiError):
        return error.status, error.message
    if isinstance(error, UserError):
        return 400, str(error)
    if isinstance(error, BackendLostError):
        return 503, f"the language model is not there ({error}); try again"
    return 500, "something went wrong in the server; its log says what"


def data(value: Any, event: str | None = None) -> str:
    """One event with JSON."""
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


DONE = "data: [DONE]\n\n"
