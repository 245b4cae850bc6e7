"""Headers of every answer that tell browsers what not to do with it."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagebind_llm.serving.guard.refusal import is_below

PAGE_POLICY = "; ".join(
    [
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob: data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
"""The page has all from this server; ``blob:`` and ``data:`` are what people attach."""
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""Answers of the API are no documents, also where somebody uploaded one."""
_ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(self), geolocation=()",
}
"""Those that the OWASP Secure Headers Project recommends; the page asks for the camera and the microphone."""


class SafeHeaders:
    """Adds the headers that the application has not set itself; ``no-store`` below ``/v1``."""

    def __init__(self, app: ASGIApp, policy: str = PAGE_POLICY) -> None:
        self._app, self._policy = app, policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        own = {**_ALWAYS, "content-security-policy": self._policy}
        if is_below(scope, ("/v1",)):
            own |= {"content-security-policy": DATA_POLICY, "cache-control": "no-store"}

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in own.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)
