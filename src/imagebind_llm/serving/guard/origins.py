"""Pages of other sites must not use a server through the browser of somebody who can reach it."""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from imagebind_llm.common.errors import UserError, one_line, short
from imagebind_llm.serving.guard.refusal import header, refuse

_READING = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing (RFC 9110, section 9.2.1); TRACE is not served."""
_PORTS = {"http": 80, "https": 443}


class Origins:
    """Refuses names that are not this server's, and posts from pages of other sites (403).

    A page whose name is pointed at a loopback address by its own DNS (rebinding) sends that name as ``Host``,
    and a page of another site its own as ``Origin``. Programs send no ``Origin``.

    Args:
        hosts: names by which the server is called; None: any.
        origins: other sites whose pages may use it, as browsers write them (``https://example.org``), or
            ``*`` for all.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None, origins: Collection[str] = ()) -> None:
        self._app, self._origins = app, frozenset(origins)
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (found := self._fault(scope)):
            message, code = found
            await refuse(scope, receive, send, 403, message, type="permission_error", code=code)
        else:
            await self._app(scope, receive, send)

    def _fault(self, scope: Scope) -> tuple[str, str] | None:
        host, origin = header(scope, b"host"), header(scope, b"origin")
        if self._hosts is not None and _name(host or "") not in self._hosts:
            return (
                f"this server is not called {one_line(host or 'nothing', 60)!r}; without API keys it answers "
                "to localhost and the address it is bound to"
            ), "host_not_allowed"
        if scope["method"] in _READING or self._origins & {"*", origin}:
            return None
        # a proxy may have ended TLS, so the scheme may differ; a name and a port of another site may not
        if origin is None:
            allowed = header(scope, b"sec-fetch-site") not in ("cross-site", "same-site")
        else:
            allowed = (place := _place(origin)) is not None and place == _place(f"//{host}", origin)
        if not allowed:
            return (
                f"pages of {one_line(origin or 'another site', 60)!r} may not use this server; its operator "
                "can allow their origin"
            ), "origin_not_allowed"
        return None


def checked_origins(origins: Collection[str], keys: bool) -> tuple[str, ...]:
    """Origins that an operator allows.

    Raises:
        UserError: one that no browser writes so, or ``*`` without API keys.
    """
    for origin in origins:
        if origin == "*":
            if not keys:
                raise UserError("the origin '*' lets every web page use this server; set an API key first")
            continue
        place = _place(origin)
        if place is None or origin != origin.lower() or urlsplit(origin).geturl() != _bare(origin):
            raise UserError(f"{short(origin)} is no origin; give scheme and host, like https://example.org")
    return tuple(origins)


def _bare(origin: str) -> str:
    parts = urlsplit(origin)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in _PORTS else ""


def _name(host: str) -> str:
    """A ``Host`` without its port, in lower case; an IPv6 address keeps its brackets."""
    end = host.rfind(":")
    name = host[:end] if end > host.rfind("]") and host[end + 1 :].isdigit() else host
    return name.lower().removesuffix(".")


def _place(url: str | None, default: str | None = None) -> tuple[str, int] | None:
    """Host and port of an origin; the port that is not written is that of ``default``'s scheme."""
    try:
        parts = urlsplit(url or "")
        scheme = parts.scheme or urlsplit(default or "").scheme
        if not parts.hostname or parts.username is not None or scheme not in _PORTS:
            return None
        return parts.hostname, parts.port or _PORTS[scheme]
    except ValueError:
        return None
