"""How often one may ask: a bucket of tokens for each key, or each address where there are no keys."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from imagebind_llm.serving.guard.access import KEY_NAME
from imagebind_llm.serving.guard.refusal import is_below, refuse

_MOST_BUCKETS = 10_000
"""Those used last are kept: about 2 MB."""


class RateLimit:
    """Refuses requests beyond ``per_minute`` (429), with the time after which one more is taken.

    A bucket holds a minute's requests, which may come at once.
    """

    def __init__(
        self,
        app: ASGIApp,
        per_minute: float,
        paths: Sequence[str] = ("/v1",),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app, self._paths, self._clock = app, paths, clock
        self._most, self._each = max(1.0, per_minute), 60 / per_minute
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Tokens left, and when they were counted."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_below(scope, self._paths) and (wait := self._take(_who(scope))):
            seconds = math.ceil(wait)
            message = f"too many requests: {60 / self._each:g} a minute are taken; try again in {seconds} s"
            await refuse(
                scope, receive, send, 429, message,
                type="requests", code="rate_limit_exceeded",  # as api.openai.com names them
                headers=[("retry-after", str(seconds))],
            )  # fmt: skip
        else:
            await self._app(scope, receive, send)

    def _take(self, who: str) -> float:
        """Take a token; seconds until there is one, if there is none."""
        now = self._clock()
        left, counted = self._buckets.pop(who, (self._most, now))
        left = min(self._most, left + (now - counted) / self._each)
        wait = 0.0 if left >= 1 else max((1 - left) * self._each, 1e-3)
        self._buckets[who] = (left if wait else left - 1, now)
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets.popitem(last=False)
        return wait


def _who(scope: Scope) -> str:
    if name := scope.get("state", {}).get(KEY_NAME):
        return f"key {name}"
    host = (scope.get("client") or ("",))[0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return f"host {host}"
    if isinstance(address, IPv6Address) and not address.ipv4_mapped:
        return f"net {int(address) >> 64:x}"  # one customer has a /64 at least (RFC 6177)
    return f"host {address}"
