"""What stands between the network and the application, as plain ASGI: :func:`guard` puts it together."""

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from imagebind_llm.common.errors import UserError
from imagebind_llm.serving.guard.access import KEY_NAME, Authentication
from imagebind_llm.serving.guard.binding import check_binding, is_loopback, own_names
from imagebind_llm.serving.guard.bodies import GRACE, BodyLimit
from imagebind_llm.serving.guard.origins import Origins, checked_origins
from imagebind_llm.serving.guard.rates import RateLimit
from imagebind_llm.serving.guard.refusal import refuse
from imagebind_llm.serving.guard.requests import RequestHeads
from imagebind_llm.serving.guard.safe_headers import PAGE_POLICY, SafeHeaders
from imagebind_llm.serving.keys import KeyRing
from imagebind_llm.serving.uploads import PER_FILE

__all__ = [
    "KEY_NAME",
    "PAGE_POLICY",
    "Authentication",
    "BodyLimit",
    "Origins",
    "RateLimit",
    "RequestHeads",
    "SafeHeaders",
    "check_binding",
    "guard",
    "is_loopback",
    "own_names",
    "refuse",
]

_FORM = 2**20
"""Bytes of a form besides the file in it."""
MOST_BODY = 64 * 2**20
"""Bytes. Chosen: a minute of video from a phone, in base64."""


def guard(
    app: ASGIApp,
    ring: KeyRing,
    *,
    host: str = "127.0.0.1",
    origins: Sequence[str] = (),
    most_body: int = MOST_BODY,
    body_seconds: float = GRACE,
    rate_limit: float | None = None,
    policy: str = PAGE_POLICY,
) -> ASGIApp:
    """An application with all guards in front; also as ``app.add_middleware(guard, ring=…)``.

    Args:
        ring: the keys that it asks for, if any.
        host: the address it is bound to; see :func:`check_binding`.
        origins: other sites whose pages may use it.
        most_body: bytes of a request's body.
        body_seconds: see :class:`BodyLimit`.
        rate_limit: requests a minute for each key, or address; None: any number.
        policy: Content-Security-Policy of everything outside ``/v1``.

    Raises:
        UserError: an origin or a rate that is none.
    """
    allowed = checked_origins(origins, bool(ring))
    if rate_limit is not None and not rate_limit > 0:
        raise UserError(f"the rate limit is {rate_limit}; give requests a minute, more than 0")
    app = BodyLimit(app, most_body, body_seconds, elsewhere={"/v1/files": PER_FILE + _FORM})
    if rate_limit is not None:
        app = RateLimit(app, rate_limit)
    app = Authentication(app, ring)
    if allowed:  # without credentials, so no page gets what only a cookie or a client certificate opens
        app = CORSMiddleware(
            app,
            allow_origins=allowed,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("*",),
            expose_headers=("retry-after", "x-request-id"),
        )
    app = Origins(app, own_names(host, ring), allowed)
    return SafeHeaders(RequestHeads(app))
