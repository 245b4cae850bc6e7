"""Bodies that end: of a bounded size, in a bounded time."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagebind_llm.serving.guard.refusal import header, refuse

GRACE = 20.0
"""Seconds of waiting that every body may take; as Apache's ``RequestReadTimeout body=20``."""
SLOWEST = 16 * 1024
"""Bytes a second that earn more time. Chosen: 128 kbit/s, the uplink of a poor mobile connection."""


TOGETHER = 2**30
"""Bytes of bodies on their way or being answered. Chosen: twenty of the largest."""


class BodyLimit:
    """Refuses bodies that are too large (413) or do not come (408).

    Only the time is counted in which the application waits for the client.

    Args:
        most: bytes of a body.
        seconds: time for each body, besides one second for each ``slowest`` bytes that came.
        elsewhere: other numbers of bytes, for single paths. Those bodies go to the disk.
        together: bytes of all other bodies that are held at once (503).
    """

    def __init__(
        self,
        app: ASGIApp,
        most: int,
        seconds: float = GRACE,
        slowest: int = SLOWEST,
        elsewhere: Mapping[str, int] = MappingProxyType({}),
        together: int = TOGETHER,
    ) -> None:
        self._app, self._most, self._seconds, self._slowest = app, most, seconds, slowest
        self._elsewhere = elsewhere
        self._together = together
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = header(scope, b"content-length")
        if length is not None and not (length.isascii() and length.isdigit()):
            await refuse(scope, receive, send, 400, "content-length is no number", code="bad_request_head")
            return
        most = self._elsewhere.get(scope["path"], self._most)
        if length is not None and (len(length) > 18 or int(length) > most):
            await refuse(scope, receive, send, 413, _too_large(most), code="request_too_large")
            return
        body = _Body(receive, send, most, self._seconds, self._slowest)
        counted = scope["path"] not in self._elsewhere
        expected = int(length or 0) if counted else 0
        if self._held + expected > self._together:
            message = "the server holds as many large requests as it can; try again"
            headers = [("retry-after", "1")]
            await refuse(scope, receive, send, 503, message, code="too_many_bodies", headers=headers)
            return
        self._held += expected
        try:
            await self._app(scope, body.receive, body.send)
        except Exception:
            if not body.fault or body.answered:
                raise
        finally:
            self._held -= expected
        if body.fault and not body.answered:
            status, code = body.fault, "request_timeout" if body.fault == 408 else "request_too_large"
            message = _too_large(most) if status == 413 else "the body of the request did not come in time"
            await refuse(scope, receive, send, status, message, code=code)


def _too_large(most: int) -> str:
    return (
        f"the body of the request is larger than {most:,} bytes, which are read at most; "
        "send large media to /v1/files, or less of them"
    )


class _Body:
    """One request's body on its way. After a fault nothing of the application's answer is sent any more."""

    def __init__(self, receive: Receive, send: Send, most: int, seconds: float, slowest: int) -> None:
        self._receive, self._send = receive, send
        self._most, self._seconds, self._slowest = most, seconds, slowest
        self._got, self._waited, self._ended = 0, 0.0, False
        self.fault: int | None = None
        self.answered = False

    async def receive(self) -> Message:
        if self.fault:
            raise HTTPException(self.fault)
        if self._ended:  # it waits for the client to go away: as long as it likes
            return await self._receive()
        clock = asyncio.get_running_loop().time
        begun = clock()
        left = self._seconds + self._got / self._slowest - self._waited
        try:
            async with asyncio.timeout(min(left, self._seconds)):  # also who was fast must not fall silent
                message = await self._receive()
        except TimeoutError:
            self.fault = 408
            raise HTTPException(408) from None
        self._waited += clock() - begun
        self._got += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._got > self._most:
            self.fault = 413
            raise HTTPException(413)
        return message

    async def send(self, message: Message) -> None:
        if self.fault and not self.answered:
            return
        self.answered = True
        await self._send(message)
