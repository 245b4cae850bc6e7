"""Connections that end: uvicorn's HTTP/1.1 on h11, with limits on what a slow or endless client can hold.

uvicorn has a time limit for idle connections only, and takes it away with the first byte that comes.
"""

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from imagebind_llm.serving.guard.requests import LONGEST_TARGET, MOST_HEADER_BYTES

HEAD_SECONDS = 20.0
"""For a request's head, and for what is left of a body after its answer; as Apache's
``RequestReadTimeout header=20``."""
WRITE_SECONDS = 60.0
"""For a client that takes nothing of its answer; as nginx's ``send_timeout``."""
MOST_CONNECTIONS = 1000
"""At once in one process; below the 1024 open files that Linux gives a process."""


class BoundedProtocol(H11Protocol):
    """One connection. :func:`bounded_protocol` sets the limits."""

    head_seconds = HEAD_SECONDS
    write_seconds = WRITE_SECONDS
    most_connections = MOST_CONNECTIONS

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.conn = h11.Connection(h11.SERVER, MOST_HEADER_BYTES + LONGEST_TARGET)
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._turned_away = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            self._turn_away(503, "all connections are in use; try again", "overloaded")
        else:
            self._reading = self.loop.call_later(self.head_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_reading()
        self._stop_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._turned_away:
            super().data_received(data)
            self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._writing is None:
            self._writing = self.loop.call_later(self.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_writing()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls for what is no HTTP; here also while an answer is on its way."""
        self._turn_away(400, "this is no HTTP/1.1 request, or its head is too long", "bad_request")

    def _watch(self) -> None:
        """Have a time limit while the client owes the rest of a head, or of a body that was answered."""
        answered = self.cycle is None or self.cycle.response_complete
        begun = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        owed = self.conn.their_state is h11.SEND_BODY and answered
        if not (begun or owed) or self.transport.is_closing():
            self._stop_reading()
        elif self._reading is None:
            self._reading = self.loop.call_later(self.head_seconds, self._too_slow)

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _stop_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _too_slow(self) -> None:
        self._reading = None
        if self.transport.is_closing():
            return
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._turn_away(408, "the head of the request did not come in time", "request_timeout")
        else:
            self.transport.abort()

    def _turn_away(self, status: int, message: str, code: str) -> None:
        """Answer by hand, past h11 whatever its state, and close. A begun answer is cut off instead."""
        self._turned_away = True
        self._unset_keepalive_if_required()
        running = self.cycle is not None and not self.cycle.response_complete
        if running:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if running and self.cycle.response_started:
            self.transport.abort()
            return
        kind = "invalid_request_error" if status < 500 else "server_error"
        error = {"message": message, "type": kind, "param": None, "code": code}
        body = json.dumps({"error": error}).encode()
        head = [
            b"HTTP/1.1 %d " % status,
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"connection: close",
            *([b"retry-after: 1"] if status == 503 else []),
        ]
        self.transport.write(b"\r\n".join([*head, b"", body]))
        self.transport.close()


def bounded_protocol(
    head_seconds: float = HEAD_SECONDS,
    write_seconds: float = WRITE_SECONDS,
    most_connections: int = MOST_CONNECTIONS,
) -> type[BoundedProtocol]:
    """What ``uvicorn.Config(http=…)`` takes; give it ``ws="none"`` too.

    Args:
        head_seconds: from the first byte of a head (or the connection) to its last.
        write_seconds: for a client that takes nothing of its answer.
        most_connections: at once in this process; further ones get 503.
    """
    limits = {
        "head_seconds": head_seconds,
        "write_seconds": write_seconds,
        "most_connections": most_connections,
    }
    return type("LimitedProtocol", (BoundedProtocol,), limits)
