"""A request that is turned away before the application sees it, in OpenAI's shape of errors."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress

from starlette.types import Receive, Scope, Send

_LINGER = 2.0
"""Seconds in which the rest of a refused body is read and thrown away. A connection that is closed with
unread bytes is reset, and the answer may be lost on its way (RFC 9112, section 9.6)."""


async def refuse(
    scope: Scope,
    receive: Receive,
    send: Send,
    status: int,
    message: str,
    *,
    type: str = "invalid_request_error",
    code: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
) -> None:
    """Answer with an error; the connection of a request with a body is closed then.

    Args:
        message: one line.
        code: a word for programs.
        headers: more headers of the answer.
    """
    error = {"message": message, "type": type, "param": None, "code": code}
    body = json.dumps({"error": error}).encode()
    own = [("content-type", "application/json"), ("content-length", str(len(body))), *headers]
    has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
    if has_body:
        own.append(("connection", "close"))
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in own]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body, "more_body": has_body})
    if has_body:
        clock = asyncio.get_running_loop().time
        end = clock() + _LINGER
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                while (await receive()).get("more_body", False) and clock() < end:
                    pass  # a body that is there already never lets the timeout happen: so look at the clock
        await send({"type": "http.response.body", "body": b""})


def is_below(scope: Scope, prefixes: Sequence[str]) -> bool:
    """Whether a request is for one of the paths or for something below it (``/v1``: also ``/v1/models``)."""
    path, root = scope["path"], scope.get("root_path", "")
    # as the router does, and also without it: rather one path too many than one too few
    paths = (path, path.removeprefix(root)) if root else (path,)
    return any(path == prefix or path.startswith(f"{prefix}/") for path in paths for prefix in prefixes)


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of that (lower-case) name."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)
