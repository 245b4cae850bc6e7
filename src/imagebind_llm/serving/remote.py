"""Media that a request names by URL, fetched so that nobody reaches our own network with it.

Off unless the operator allows hosts. Names are looked up here, every address is checked, and the connection
goes to the address that was checked: an answer of the DNS that changes later changes nothing.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address

import httpx

from imagebind_llm.common.errors import UserError, one_line
from imagebind_llm.common.files import gigabytes
from imagebind_llm.serving.addresses import is_public, literal

Address = IPv4Address | IPv6Address
_LONGEST_URL = 8000
"""Characters; RFC 9110, section 4.1."""
_MOST_TRIED = 4
"""Addresses of one name that are tried."""
_REDIRECTS = (301, 302, 303, 307, 308)
_HEADERS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "imagebind-llm"}


class RemoteError(UserError):
    """A URL that is not fetched, or could not be. The message names its host only."""


async def resolve(host: str, port: int) -> list[Address]:
    """The addresses of a name, as the system knows them.

    Raises:
        OSError: there are none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)  # SOCK_STREAM
    return list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


@cache
def _trusted() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


@dataclass(frozen=True)
class RemotePolicy:
    """What may be fetched.

    Attributes:
        hosts: names, ``*.example.org`` for all below one, ``*`` for any.
        ports: besides the default one of the scheme.
        most_bytes: of a file. The default is that of a request's body.
        seconds: for all of it, redirects too. Chosen: below the 30 s that proxies wait for an answer.
        redirects: that are followed. Chosen: http to https, to www, to a file store.
        allow, resolve, trusted: which addresses may be called, how names are looked up, and whose
            certificates count; for tests and private networks.
    """

    hosts: Collection[str]
    ports: Collection[int] = ()
    most_bytes: int = 64 * 2**20
    seconds: float = 20.0
    redirects: int = 3
    allow: Callable[[Address], bool] = is_public
    resolve: Callable[[str, int], Awaitable[list[Address]]] = resolve
    trusted: Callable[[], ssl.SSLContext] = field(default=_trusted)


async def fetch(url: str, policy: RemotePolicy | None) -> bytes:
    """The bytes behind an ``http`` or ``https`` URL.

    Raises:
        RemoteError: not allowed, not there, too large or too slow.
    """
    if policy is None:
        raise RemoteError(
            "this server fetches no URLs; send the data itself, or have its operator allow hosts "
            "(--allow-url HOST)"
        )
    target, host = _parsed(url), ""
    try:
        async with asyncio.timeout(policy.seconds):
            for _ in range(policy.redirects + 1):
                host = _checked(target, policy)
                found = await _hop(target, host, policy)
                if isinstance(found, bytes):
                    return found
                if target.scheme == "https" and found.scheme != "https":
                    raise RemoteError(f"{host} redirects from https to {found.scheme}, which is not followed")
                target = found
    except TimeoutError:
        raise RemoteError(f"{host} did not answer within {policy.seconds:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, UnicodeError) as error:
        raise RemoteError(f"{host} could not be read ({type(error).__name__})") from None
    raise RemoteError(f"{host} redirects more than {policy.redirects} times")


def _parsed(url: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        if len(url) > _LONGEST_URL or not url.isprintable() or "\\" in url:
            raise ValueError
        return httpx.URL(url) if base is None else base.join(url)
    except (httpx.InvalidURL, ValueError, UnicodeError):
        raise RemoteError("this is no URL that can be fetched; give http://… or https://…") from None


def _checked(url: httpx.URL, policy: RemotePolicy) -> str:
    """The host of a URL, if all that can be known without its address is as allowed."""
    host = url.raw_host.decode("ascii").lower().removesuffix(".")
    if url.scheme not in ("http", "https") or not host:
        raise RemoteError(f"{one_line(url.scheme, 20)!r} URLs are not fetched; give http or https")
    if url.userinfo:
        raise RemoteError("URLs with a name or a password in them are not fetched")
    if url.port is not None and url.port not in policy.ports:  # httpx tells of no port if it is the default
        raise RemoteError(f"port {url.port} is not one from which this server fetches")
    try:
        literal(host)
    except ValueError as error:
        raise RemoteError(f"{one_line(host, 60)} is {error}") from None
    if not any(fnmatchcase(host, pattern.lower()) for pattern in policy.hosts):
        raise RemoteError(f"{one_line(host, 60)} is not among the hosts from which this server fetches")
    return one_line(host, 60)


async def _hop(url: httpx.URL, host: str, policy: RemotePolicy) -> bytes | httpx.URL:
    """One request: its body, or where it leads."""
    name = url.raw_host.decode("ascii")
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    address = literal(name.removesuffix("."))
    addresses = [address] if address else await policy.resolve(name, port)
    if not addresses or not all(policy.allow(each) for each in addresses):
        raise RemoteError(f"{host} has an address that is not public, which is not called")
    *others, last = addresses[:_MOST_TRIED]
    for each in others:
        with suppress(httpx.ConnectError):
            return await _ask(url, name, each, policy)
    return await _ask(url, name, last, policy)


async def _ask(url: httpx.URL, name: str, address: Address, policy: RemotePolicy) -> bytes | httpx.URL:
    """Ask the address, by the name: in ``Host``, in TLS, and on the certificate."""
    request = httpx.Request(
        "GET",
        url.copy_with(host=str(address)),
        headers={**_HEADERS, "host": url.netloc.decode("ascii")},
        extensions={"sni_hostname": name.removesuffix(".")},
    )
    # a transport alone has no cookies, no proxies and no redirects, and reads nothing of the environment; it
    # keeps no connection either, which another name at the same address could get
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncHTTPTransport(verify=policy.trusted(), trust_env=False, limits=limits) as transport:
        response = await transport.handle_async_request(request)
        try:
            return await _read(response, url, name, policy.most_bytes)
        finally:
            await response.aclose()


async def _read(response: httpx.Response, url: httpx.URL, name: str, most: int) -> bytes | httpx.URL:
    host, headers = one_line(name, 60), response.headers
    if response.status_code in _REDIRECTS and "location" in headers:
        return _parsed(headers["location"], url)
    if response.status_code != 200:
        raise RemoteError(f"{host} answered with status {response.status_code}; expected 200")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise RemoteError(f"{host} sent packed data although none was asked for; it is not unpacked")
    too_large = RemoteError(f"{host} sends more than {gigabytes(most)}, which are read at most")
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or len(length) > 18 or int(length) > most:
        raise too_large
    body = bytearray()
    async for block in response.aiter_raw():
        body += block
        if len(body) > most:
            raise too_large
    return bytes(body)
