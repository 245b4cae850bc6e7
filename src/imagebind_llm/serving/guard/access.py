"""Who asks: the bearer token of a request, and the name of its key."""

from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from imagebind_llm.serving.guard.refusal import header, is_below, refuse
from imagebind_llm.serving.keys import KeyRing

PROTECTED = ("/v1", "/metrics")
KEY_NAME = "key_name"
"""The key's name in ``scope["state"]``, as ``request.state.key_name``; empty without keys."""


class Authentication:
    """Lets only requests with a key of the ring to what is protected (401), if the ring has any."""

    def __init__(self, app: ASGIApp, ring: KeyRing, protected: Sequence[str] = PROTECTED) -> None:
        self._app, self._ring, self._protected = app, ring, protected

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name: str | None = ""
        if self._ring and is_below(scope, self._protected):
            kind, _, token = (header(scope, b"authorization") or "").partition(" ")
            presented = token.strip() if kind.lower() == "bearer" else ""
            name = self._ring.check(presented) if presented else None
            if name is None:
                await _refuse(scope, receive, send, bool(presented))
                return
        scope.setdefault("state", {})[KEY_NAME] = name
        await self._app(scope, receive, send)


async def _refuse(scope: Scope, receive: Receive, send: Send, presented: bool) -> None:
    challenge = 'Bearer realm="imagebind-llm"' + (', error="invalid_token"' if presented else "")
    message = (
        "the API key is not one of this server's"
        if presented
        else "this server needs an API key; send it as 'Authorization: Bearer KEY'"
    )
    await refuse(
        scope, receive, send, 401, message, code="invalid_api_key", headers=[("www-authenticate", challenge)]
    )  # as api.openai.com names it
