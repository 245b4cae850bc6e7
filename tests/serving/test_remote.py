"""Fetching by URL: only what is allowed, only public addresses, whatever DNS, redirects and servers do."""

import asyncio
import gzip
import ssl
import subprocess
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest

from imagebind_llm.common.errors import UserError
from imagebind_llm.serving.addresses import is_public
from imagebind_llm.serving.remote import RemoteError, RemotePolicy, fetch

LOCAL, PRIVATE = ip_address("127.0.0.1"), ip_address("127.0.0.2")
"""In these tests 127.0.0.1 plays the public internet, and 127.0.0.2 what is not."""


class World:
    """Servers on both addresses, a DNS, and what each was asked."""

    def __init__(self):
        self.asked, self.looked_up = [], []
        self.answers = {}
        self.names = {}
        self.port = 0

    async def serve(self, reader, writer):
        where = writer.get_extra_info("sockname")[0]
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1]
            self.asked.append((where, path, head.lower()))
            answer = self.answers.get(path, b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n")
            if callable(answer):
                await answer(writer)
            else:
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def resolve(self, host, port):
        self.looked_up.append(host)
        found = self.names[host]
        return [ip_address(each) for each in (found.pop(0) if isinstance(found[0], list) else found)]

    def policy(self, hosts=("*",), **settings):
        settings = {
            "allow": lambda address: address == LOCAL,
            "seconds": 2,
            "ports": (self.port,),
            **settings,
        }
        return RemotePolicy(hosts, resolve=self.resolve, **settings)

    def url(self, path="/", host="a.example", scheme="http"):
        return f"{scheme}://{host}:{self.port}{path}"


def ok(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def to(location: str, status=302) -> bytes:
    lines = [f"HTTP/1.1 {status} x", f"location: {location}", "set-cookie: a=b", "content-length: 0", "", ""]
    return "\r\n".join(lines).encode()


@asynccontextmanager
async def world(tls=None):
    made = World()
    made.names = {"a.example": ["127.0.0.1"], "b.example": ["127.0.0.1"], "private.example": ["127.0.0.2"]}
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    other = await asyncio.start_server(made.serve, "127.0.0.2", made.port, ssl=tls)
    try:
        yield made
    finally:
        server.close()
        other.close()


def run(scenario, tls=None):
    async def inside():
        async with world(tls) as made:
            return await scenario(made)

    return asyncio.run(inside())


async def refusal(url, policy, match) -> str:
    with pytest.raises(RemoteError, match=match) as caught:
        await fetch(url, policy)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_off_by_default():
    with pytest.raises(UserError, match=r"fetches no URLs.*--allow-url HOST"):
        asyncio.run(fetch("http://a.example/", None))


def test_what_is_allowed_is_fetched():
    async def scenario(made):
        made.answers["/cat?x=1"] = ok(b"picture")
        assert await fetch(made.url("/cat?x=1#part"), made.policy(["*.example"])) == b"picture"
        ((where, _, head),) = made.asked
        assert where == "127.0.0.1"
        assert f"\r\nhost: a.example:{made.port}\r\n" in head
        assert "\r\naccept-encoding: identity\r\n" in head
        assert "cookie" not in head
        assert "authorization" not in head

    run(scenario)


def test_the_environment_has_no_say(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    test_what_is_allowed_is_fetched()


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("file:///etc/passwd", "'file' URLs are not fetched"),
        ("ftp://a.example/", "'ftp' URLs are not fetched"),
        ("gopher://a.example/", "'gopher' URLs are not fetched"),
        ("/etc/passwd", "'' URLs are not fetched"),
        ("http:///x", "not fetched"),
        ("http://u:p@a.example/", "name or a password"),
        ("http://u@a.example/", "name or a password"),
        ("http://a.example:22/", "port 22"),
        ("http://a.example:0/", "port 0"),
        ("http://other.test/", "not among the hosts"),
        ("http://a.example.other.test/", "not among the hosts"),
        ("http://example/", "not among the hosts"),
        ("http://a.example\\@other.test/", "no URL"),
        ("http://a.example/\r\nx: y", "no URL"),
        ("http://a.example:x/", "no URL"),
        ("http://[::1/", "no URL"),
        ("http://" + "a" * 9000, "no URL"),
        ("", "'' URLs are not fetched"),
    ],
)
def test_urls_that_are_refused_unasked(url, match):
    async def scenario(made):
        await refusal(url, made.policy(["*.example"]), match)
        assert not made.looked_up
        assert not made.asked

    run(scenario)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1",
        "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]", "[fe80::1%25eth0]", "[fd00:ec2::254]", "169.254.169.254", "0", "0.0.0.0",
        "127.0.0.1.0x1", "127.0.0.1.", "１２７.0.0.1",
    ],
)  # fmt: skip
def test_forms_of_inner_addresses(host):
    async def scenario(made):
        made.answers["/"] = ok(b"secret")
        await refusal(made.url(host=host), made.policy(allow=is_public), "not public|in full|no URL")
        assert not made.asked

    run(scenario)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "169.254.169.254", "172.16.0.1",
        "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16",
        "::", "::1", "::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8", "100::1",
        "2001::1", "2001:db8::1", "2002:808:808::1", "2002:a00:1::1", "3fff::1", "5f00::1", "fc00::1",
        "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "2001:4860::5efe:a00:1",
        "2001:4860::200:5efe:a00:1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "168.63.129.17", "2606:4700::1111", "2001:4860:4860::8888", "64:ff9b::8.8.8.8"],
)
def test_addresses_that_are_public(address):
    assert is_public(ip_address(address))


def test_one_inner_address_among_others_is_enough():
    async def scenario(made):
        made.names["mixed.example"] = ["127.0.0.1", "127.0.0.2"]
        made.names["none.example"] = [[]]
        for host in ("private.example", "mixed.example", "none.example"):
            said = await refusal(made.url(host=host), made.policy(), "not public")
            assert "127.0.0" not in said
        assert not made.asked

    run(scenario)


def test_answers_of_the_dns_that_change():
    """The name is looked up once, and the connection goes to what was checked then."""

    async def scenario(made):
        made.answers["/"] = ok(b"public")
        made.names["rebound.example"] = [["127.0.0.1"], ["127.0.0.2"]]
        assert await fetch(made.url(host="rebound.example"), made.policy()) == b"public"
        assert made.looked_up == ["rebound.example"]
        assert {where for where, *_ in made.asked} == {"127.0.0.1"}
        await refusal(made.url(host="rebound.example"), made.policy(), "not public")

    run(scenario)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_without_cookies(status):
    async def scenario(made):
        made.answers |= {
            "/": to("/b", status),
            "/b": to(made.url("/c", "b.example"), status),
            "/c": ok(b"end"),
        }
        assert await fetch(made.url(), made.policy()) == b"end"
        assert [path for _, path, _ in made.asked] == ["/", "/b", "/c"]
        assert not any("cookie" in head for *_, head in made.asked)
        assert f"host: b.example:{made.port}" in made.asked[-1][2]

    run(scenario)


@pytest.mark.parametrize(
    ("location", "match"),
    [
        ("http://private.example:PORT/secret", "not public"),
        ("http://127.0.0.2:PORT/secret", "not public"),
        ("//private.example:PORT/secret", "not public"),
        ("http://2130706434:PORT/secret", "in full"),
        ("http://other.test:PORT/secret", "not among"),
        ("http://u:p@b.example:PORT/", "password"),
        ("file:///etc/passwd", "'file'"),
        ("http://b.example:22/", "port 22"),
        ("http://[::1", "no URL"),
    ],
)
def test_redirects_are_checked_like_the_first(location, match):
    async def scenario(made):
        made.answers |= {"/": to(location.replace("PORT", str(made.port))), "/secret": ok(b"secret")}
        await refusal(made.url(), made.policy(["*.example", "127.0.0.*"]), match)
        assert [path for _, path, _ in made.asked] == ["/"]

    run(scenario)


def test_a_name_that_turns_inward_on_its_redirect():
    async def scenario(made):
        made.names["rebound.example"] = [["127.0.0.1"], ["127.0.0.2"]]
        made.answers |= {"/": to("/secret"), "/secret": ok(b"secret")}
        await refusal(made.url(host="rebound.example"), made.policy(), "not public")
        assert [path for _, path, _ in made.asked] == ["/"]

    run(scenario)


def test_redirects_end():
    async def scenario(made):
        made.answers |= {f"/{i}": to(f"/{i + 1}") for i in range(9)} | {"/3": ok(b"third")}
        assert await fetch(made.url("/0"), made.policy()) == b"third"
        made.answers["/3"] = to("/4")
        made.asked.clear()
        await refusal(made.url("/0"), made.policy(), "redirects more than 3 times")
        assert len(made.asked) == 4

    run(scenario)


async def endless(writer):
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 10_000)
        await writer.drain()


async def endless_head(writer):
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"a: " + b"x" * 10_000 + b"\r\n")
        await writer.drain()


async def drip(writer):
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def silent(writer):
    await asyncio.sleep(10)


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (endless, "more than 1000 bytes"),
        (ok(b"x" * 1001), "more than 1000 bytes"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999\r\n\r\n", "more than 1000 bytes"),
        (endless_head, "could not be read"),
        (drip, "within 0.4 s"),
        (silent, "within 0.4 s"),
        (ok(gzip.compress(b"\0" * 10**7, mtime=0)[:900], "content-encoding: gzip"), "packed"),
        (ok(b"", "content-encoding: br"), "packed"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", "could not be read"),
        (b"nonsense\r\n\r\n", "could not be read"),
        (b"", "could not be read"),
        (b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", "status 404"),
        (b"HTTP/1.1 206 Part\r\ncontent-length: 0\r\n\r\n", "status 206"),
        (b"HTTP/1.1 302 x\r\ncontent-length: 0\r\n\r\n", "status 302"),
    ],
)
def test_servers_that_misbehave(answer, match):
    async def scenario(made):
        made.answers["/"] = answer
        begun = asyncio.get_running_loop().time()
        await refusal(made.url(), made.policy(most_bytes=1000, seconds=0.4), match)
        assert asyncio.get_running_loop().time() - begun < 1.5

    run(scenario)


def test_a_file_of_just_the_limit():
    async def scenario(made):
        made.answers["/"] = ok(b"x" * 1000, "content-encoding: identity")
        assert len(await fetch(made.url(), made.policy(most_bytes=1000))) == 1000

    run(scenario)


def test_slow_names_end():
    async def scenario(made):
        async def never(host, port):
            await asyncio.sleep(10)

        policy = RemotePolicy(["*"], resolve=never, seconds=0.2)
        await refusal("http://a.example/", policy, "within 0.2 s")

    run(scenario)


def test_names_that_are_not_there():
    async def scenario(made):
        async def nothing(host, port):
            raise OSError("no such name")

        await refusal("http://a.example/", RemotePolicy(["*"], resolve=nothing), "could not be read")

    run(scenario)


def test_the_next_address_is_tried():
    async def scenario(made):
        made.names["two.example"] = ["127.0.0.3", "127.0.0.1"]
        made.answers["/"] = ok(b"second")
        policy = made.policy(allow=lambda address: address != PRIVATE)
        assert await fetch(made.url(host="two.example"), policy) == b"second"

    run(scenario)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of ``a.example`` that only these tests trust."""
    folder = tmp_path_factory.mktemp("tls")
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-days", "2",
             "-subj", "/CN=a.example", "-addext", "subjectAltName=DNS:a.example"],
            check=True, capture_output=True,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("needs openssl")
    return folder


def test_tls_is_verified_against_the_name(certificate):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    named = []
    tls.sni_callback = lambda _, name, __: named.append(name)

    async def scenario(made):
        made.answers["/"] = ok(b"over TLS")
        trusted = lambda: ssl.create_default_context(cafile=certificate / "cert.pem")  # noqa: E731
        policy = made.policy(trusted=trusted)
        assert await fetch(made.url(scheme="https"), policy) == b"over TLS"
        assert named == ["a.example"]
        await refusal(made.url(scheme="https", host="b.example"), policy, "could not be read")
        await refusal(made.url(scheme="https"), made.policy(), "could not be read")
        assert len(made.asked) == 1
        made.answers["/"] = to(made.url("/down"))
        await refusal(made.url(scheme="https"), policy, "from https to http")

    run(scenario, tls)
