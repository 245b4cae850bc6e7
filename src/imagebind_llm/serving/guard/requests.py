"""Request heads that make sense: not too long, and not twice what may be there once."""

from collections import Counter

from starlette.types import ASGIApp, Receive, Scope, Send

from imagebind_llm.serving.guard.refusal import refuse

MOST_HEADERS = 100
"""As Apache's ``LimitRequestFields``."""
MOST_HEADER_BYTES = 16 * 1024
"""As Node's ``--max-http-header-size``; all names and values together."""
LONGEST_TARGET = 8190
"""Path and query; as Apache's ``LimitRequestLine``. RFC 9110, section 4.1 asks for 8000 at least."""
_ONCE = {
    b"authorization", b"content-encoding", b"content-length", b"content-type", b"host", b"origin",
    b"transfer-encoding",
}  # fmt: skip
"""Headers of which two would let two readers see two requests."""


class RequestHeads:
    """Refuses heads that are too long (414, 431) or ambiguous (400), encoded bodies, and all WebSockets."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http" and (found := _fault(scope)):
            status, message = found
            await refuse(scope, receive, send, status, message, code="bad_request_head")
        else:
            await self._app(scope, receive, send)


def _fault(scope: Scope) -> tuple[int, str] | None:
    headers = scope["headers"]
    target = len(scope.get("raw_path") or scope["path"].encode()) + len(scope.get("query_string", b""))
    if target > LONGEST_TARGET:
        return 414, f"the address has {target:,} bytes; {LONGEST_TARGET:,} are read at most"
    if len(headers) > MOST_HEADERS:
        return 431, f"the request has {len(headers):,} headers; {MOST_HEADERS} are read at most"
    size = sum(len(name) + len(value) for name, value in headers)
    if size > MOST_HEADER_BYTES:
        return 431, f"the headers have {size:,} bytes; {MOST_HEADER_BYTES:,} are read at most"
    counts = Counter(name for name, _ in headers)
    for name in sorted(_ONCE):
        if counts[name] > 1:
            return 400, f"the header {name.decode()} is there {counts[name]} times; give it once"
    if counts[b"content-length"] and counts[b"transfer-encoding"]:
        return 400, "the request has both content-length and transfer-encoding; give one of them"
    if any(value.strip().lower() != b"identity" for name, value in headers if name == b"content-encoding"):
        return 415, "bodies are not unpacked here; send it without content-encoding"
    return None
