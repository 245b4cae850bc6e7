"""What stands in front of the application: each guard turns away what it is for, and nothing else."""

import asyncio
import json

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import StreamingResponse

from imagebind_llm.common.errors import UserError
from imagebind_llm.serving.guard import BodyLimit, RateLimit, check_binding, guard, rates, refusal
from imagebind_llm.serving.keys import VARIABLE, KeyRing

KEY = "sk-0123456789abcdefghij"
OPEN, LOCKED = KeyRing(None, {}), KeyRing(None, {VARIABLE: KEY})
BEARER = {"authorization": f"Bearer {KEY}"}


def application() -> FastAPI:
    app = FastAPI()

    @app.post("/v1/echo")
    async def echo(request: Request, body: dict) -> dict:
        return {"bytes": len(await request.body()), "key": request.state.key_name}

    @app.post("/v1/raw")
    async def raw(request: Request) -> dict:
        try:
            return {"bytes": len(await request.body())}
        except Exception:
            return {"swallowed": True}  # an application that hides what happened

    @app.get("/v1/stream")
    async def stream() -> StreamingResponse:
        async def events():
            yield b"data: 1\n\n"
            yield b"data: 2\n\n"

        return StreamingResponse(events())

    @app.get("/")
    @app.get("/v1")
    @app.get("/v1/models")
    @app.get("/v10")
    @app.get("/metrics")
    @app.get("/healthz")
    async def fine(request: Request) -> dict:
        return {"key": request.state.key_name}

    return app


def client(app, *, ring=OPEN, bound="127.0.0.1", **settings) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(guard(app, ring, host=bound, **settings))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:8000")


def ask(method: str, path: str, *, headers=None, app=None, content=None, **settings) -> httpx.Response:
    async def once():
        async with client(app or application(), **settings) as asking:
            return await asking.request(method, path, headers=headers, content=content)

    return asyncio.run(once())


def error_of(answer: httpx.Response) -> dict:
    """The error of an answer, which must have OpenAI's shape."""
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert "\n" not in body["error"]["message"]
    return body["error"]


# bodies


async def endless():
    while True:
        yield b"x" * 1000


async def pieces(count: int):
    for _ in range(count):
        yield b"x" * 1000


@pytest.mark.parametrize("path", ["/v1/echo", "/v1/raw"])
def test_bodies_are_counted_while_they_come(path, monkeypatch):
    monkeypatch.setattr(refusal, "_LINGER", 0.05)
    answer = ask("POST", path, content=endless(), most_body=10_000)
    assert answer.status_code == 413
    assert "10,000 bytes" in error_of(answer)["message"]
    assert answer.headers["connection"] == "close"


def test_a_body_of_just_the_limit_is_taken():
    for content in (b"x" * 10_000, pieces(10)):
        answer = ask("POST", "/v1/raw", content=content, most_body=10_000)
        assert answer.json() == {"bytes": 10_000}
    assert ask("POST", "/v1/raw", content=b"x" * 10_001, most_body=10_000).status_code == 413
    assert ask("POST", "/v1/raw", content=pieces(11), most_body=10_000).status_code == 413


@pytest.mark.parametrize("length", ["10001", "9" * 5000])
def test_a_length_that_is_said_is_enough(length):
    asked = []

    async def app(scope, receive, send):
        asked.append(scope)

    heads = {"content-length": length}
    assert ask("POST", "/v1/raw", headers=heads, app=app, most_body=10_000).status_code == 413
    assert not asked


@pytest.mark.parametrize("length", ["-1", "x", "1_0", "٣", "", "+5"])
def test_lengths_that_are_none(length):
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-length", length.encode())]}
    assert run_raw(guard(application(), KeyRing(None, {VARIABLE: KEY})), scope)[0] == 400


def run_raw(app, scope, messages=None) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of a scope that no client would send."""
    sent, waiting = [], list(messages or [{"type": "http.request", "body": b"", "more_body": False}])

    async def receive():
        if waiting:
            return waiting.pop(0)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0].get("status", 0), dict(sent[0].get("headers", [])), body


def drip(seconds: float, count: int, size: int = 10):
    async def body():
        for _ in range(count):
            await asyncio.sleep(seconds)
            yield b"x" * size

    return body()


@pytest.mark.parametrize("path", ["/v1/echo", "/v1/raw"])
def test_slow_bodies_end(path, monkeypatch):
    monkeypatch.setattr(refusal, "_LINGER", 0.05)
    answer = ask("POST", path, content=drip(0.02, 500), body_seconds=0.1)
    assert answer.status_code == 408
    assert error_of(answer)["code"] == "request_timeout"
    assert answer.elapsed.total_seconds() < 2


def test_bodies_that_come_fast_enough_earn_time():
    answer = ask("POST", "/v1/raw", content=drip(0.02, 15, size=2000), body_seconds=0.1)
    assert answer.json() == {"bytes": 30_000}, "30 kB in 0.3 s"


def test_the_time_of_the_application_is_not_the_clients():
    async def slow(scope, receive, send):
        await receive()
        await asyncio.sleep(0.15)
        more = True
        while more:
            more = (await receive()).get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    answer = ask("POST", "/v1/raw", app=slow, content=pieces(3), body_seconds=0.1)
    assert answer.status_code == 200


def test_waiting_for_the_client_to_leave_has_no_limit():
    async def waits(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await receive()
        await send({"type": "http.response.body", "body": b"late"})

    assert ask("GET", "/", app=waits, body_seconds=0.05).text == "late"


def test_faults_of_the_application_are_its_own():
    async def broken(scope, receive, send):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        ask("POST", "/v1/raw", app=BodyLimit(broken, 10))


# heads


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"h%d" % i, b"") for i in range(99)], 200),
        ([(b"h%d" % i, b"") for i in range(101)], 431),
        ([(b"cookie", b"x" * 16_000)], 200),
        ([(b"cookie", b"x" * 17_000)], 431),
        ([(b"host", b"localhost")], 400),
        ([(b"authorization", b"a"), (b"authorization", b"b")], 400),
        ([(b"content-length", b"0"), (b"content-length", b"0")], 400),
        ([(b"content-length", b"0"), (b"transfer-encoding", b"chunked")], 400),
        ([(b"content-encoding", b"gzip")], 415),
        ([(b"content-encoding", b"identity")], 200),
    ],
)
def test_odd_heads(headers, status):
    scope = {
        "type": "http", "method": "GET", "path": "/healthz", "query_string": b"",
        "headers": [(b"host", b"localhost"), *headers],
    }  # fmt: skip
    found, heads, body = run_raw(guard(application(), OPEN), scope)
    assert found == status
    if status != 200:
        assert json.loads(body)["error"]["code"] == "bad_request_head"
        assert heads[b"x-content-type-options"] == b"nosniff"


def test_long_addresses():
    assert ask("GET", "/healthz?" + "x" * 8000).status_code == 200
    assert ask("GET", "/healthz?" + "x" * 8200).status_code == 414


def test_websockets_are_refused():
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "path": "/v1", "headers": [(b"host", b"localhost")]}
    asyncio.run(guard(application(), OPEN)(scope, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]


# hosts and origins


@pytest.mark.parametrize(
    ("host", "bound", "status"),
    [
        ("localhost", "127.0.0.1", 200),
        ("LOCALHOST:8000", "127.0.0.1", 200),
        ("localhost.:8000", "127.0.0.1", 200),
        ("127.0.0.1:8000", "localhost", 200),
        ("[::1]:8000", "::1", 200),
        ("[::1]", "127.0.0.1", 200),
        ("127.0.0.9:8000", "127.0.0.9", 200),
        ("127.0.0.9:8000", "127.0.0.1", 403),
        ("rebound.example:8000", "127.0.0.1", 403),
        ("localhost.rebound.example", "127.0.0.1", 403),
        ("localhost@rebound.example", "127.0.0.1", 403),
        ("rebound.example:localhost", "127.0.0.1", 403),
        ("", "127.0.0.1", 403),
        ("::1", "127.0.0.1", 403),
        ("rebound.example", "0.0.0.0", 200),
    ],
)
def test_rebound_names(host, bound, status):
    answer = ask("GET", "/healthz", headers={"host": host}, bound=bound)
    assert answer.status_code == status
    if status == 403:
        assert error_of(answer)["code"] == "host_not_allowed"


def test_with_keys_any_name_will_do():
    answer = ask("GET", "/v1/models", ring=LOCKED, headers={"host": "models.example", **BEARER})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("origin", "allowed", "status"),
    [
        (None, [], 200),
        ("http://localhost:8000", [], 200),
        ("https://localhost:8000", [], 200),
        ("http://localhost", [], 403),
        ("http://localhost:3000", [], 403),
        ("http://evil.example", [], 403),
        ("null", [], 403),
        ("", [], 403),
        ("nonsense", [], 403),
        ("file://", [], 403),
        ("http://localhost:8000@evil.example", [], 403),
        ("http://localhost:99999", [], 403),
        ("http://[", [], 403),
        ("https://page.example", ["https://page.example"], 200),
        ("http://page.example", ["https://page.example"], 403),
        ("https://page.example.evil.example", ["https://page.example"], 403),
    ],
)
def test_posts_of_other_sites(origin, allowed, status):
    headers = {"origin": origin} if origin is not None else {}
    answer = ask("POST", "/v1/raw", headers=headers, origins=allowed)
    assert answer.status_code == status
    if status == 403:
        assert error_of(answer)["code"] == "origin_not_allowed"
        assert "access-control-allow-origin" not in answer.headers


def test_posts_that_hide_their_origin():
    assert ask("POST", "/v1/raw", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert ask("POST", "/v1/raw", headers={"sec-fetch-site": "same-origin"}).status_code == 200
    assert ask("GET", "/", headers={"sec-fetch-site": "cross-site"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "origin"),
    [("localhost", "http://localhost:80"), ("localhost:80", "http://localhost"), ("a:443", "https://a")],
)
def test_ports_that_are_not_written(host, origin):
    answer = ask("POST", "/v1/raw", bound="0.0.0.0", headers={"origin": origin, "host": host})
    assert answer.status_code == 200


def test_cors_is_closed_and_opens_for_a_list():
    preflight = {
        "origin": "https://page.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,x-stainless-os",
    }
    closed = ask("OPTIONS", "/v1/raw", headers=preflight, ring=LOCKED)
    assert closed.status_code == 401
    assert not [name for name in closed.headers if name.startswith("access-control")]
    opened = ask("OPTIONS", "/v1/raw", headers=preflight, ring=LOCKED, origins=["https://page.example"])
    assert opened.status_code == 200
    assert opened.headers["access-control-allow-origin"] == "https://page.example"
    assert "access-control-allow-credentials" not in opened.headers
    other = ask(
        "OPTIONS", "/v1/raw", headers={**preflight, "origin": "https://evil.example"},
        ring=LOCKED, origins=["https://page.example"],
    )  # fmt: skip
    assert "access-control-allow-origin" not in other.headers
    refused = ask(
        "GET", "/v1/models", headers={"origin": "https://page.example"},
        ring=LOCKED, origins=["https://page.example"],
    )  # fmt: skip
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://page.example", (
        "pages must see the error"
    )


@pytest.mark.parametrize(
    "origin",
    [
        "", "*", "null", "example.org", "https://example.org/", "https://example.org/a", "ftp://a",
        "HTTPS://example.org", "https://u@example.org", "https://example.org?x", "https://example.org:x",
    ],
)  # fmt: skip
def test_origins_that_are_none(origin):
    with pytest.raises(UserError) as caught:
        guard(application(), OPEN, origins=[origin])
    assert "\n" not in str(caught.value)


def test_all_origins_with_keys_only():
    assert ask(
        "POST", "/v1/raw", ring=LOCKED, origins=["*"], headers={"origin": "https://a", **BEARER}
    ).is_success


# headers of answers


def test_every_answer_has_safe_headers():
    for answer in (ask("GET", "/"), ask("GET", "/nothing"), ask("GET", "/v1/models", ring=LOCKED)):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    page, api = ask("GET", "/").headers, ask("GET", "/v1/models").headers
    assert api["cache-control"] == "no-store"
    assert "cache-control" not in page
    assert "default-src 'self'" in page["content-security-policy"]
    assert "unsafe" not in page["content-security-policy"]
    assert api["content-security-policy"].startswith("default-src 'none'")


def test_the_application_may_say_otherwise():
    async def app(scope, receive, send):
        headers = [(b"cache-control", b"private, max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    assert ask("GET", "/v1/x", app=app).headers.get_list("cache-control") == ["private, max-age=60"]


def test_streams_pass():
    assert ask("GET", "/v1/stream", rate_limit=5).text == "data: 1\n\ndata: 2\n\n"


# keys


@pytest.mark.parametrize(
    "value",
    [None, "", "Bearer", "Bearer ", f"Basic {KEY}", KEY, f"Bearer {KEY}x", f"Bearer x {KEY}", "Bearer \xff"],
)
@pytest.mark.parametrize("path", ["/v1", "/v1/models", "/v1/nothing", "/metrics", "/%76%31/models"])
def test_no_key_no_answer(path, value):
    headers = {} if value is None else {"authorization": value.encode("latin-1")}
    answer = ask("GET", path, ring=LOCKED, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    error = error_of(answer)
    assert error["code"] == "invalid_api_key"
    assert KEY not in answer.text


def test_a_key_opens_and_is_named():
    for kind in ("Bearer", "bearer", "BEARER"):
        answer = ask("GET", "/v1/models", ring=LOCKED, headers={"authorization": f"{kind} {KEY}"})
        assert answer.json() == {"key": "environment"}
    assert ask("GET", "/v1/models").json() == {"key": ""}
    for path in ("/", "/healthz", "/v10"):
        assert ask("GET", path, ring=LOCKED).json() == {"key": ""}


@pytest.mark.parametrize(
    ("root", "path"),
    [("/api", "/api/v1/models"), ("/v", "/v1/models"), ("/v1", "/v1/v1/models"), ("", "/v1")],
)
def test_roots_hide_nothing(root, path):
    scope = {
        "type": "http", "method": "GET", "path": path, "root_path": root, "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }  # fmt: skip
    assert run_raw(guard(application(), LOCKED), scope)[0] == 401


def test_faults_do_not_name_the_key():
    answer = ask("GET", "/v1/models", ring=LOCKED, headers={"authorization": "Bearer secret-of-somebody"})
    assert "secret-of-somebody" not in answer.text


# rates


def test_requests_beyond_the_rate_wait():
    async def many():
        async with client(application(), ring=LOCKED, rate_limit=3) as asking:
            codes = [(await asking.get("/v1/models", headers=BEARER)).status_code for _ in range(4)]
            refused = await asking.get("/v1/models", headers=BEARER)
            elsewhere = await asking.get("/healthz")
            return codes, refused, elsewhere

    codes, refused, elsewhere = asyncio.run(many())
    assert codes == [200, 200, 200, 429]
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert error_of(refused)["code"] == "rate_limit_exceeded"
    assert elsewhere.status_code == 200


def bucket(per_minute=6.0):
    now = [0.0]
    return RateLimit(application(), per_minute, clock=lambda: now[0]), now


def test_buckets_fill_again():
    limit, now = bucket()
    assert [limit._take("a") > 0 for _ in range(7)] == [False] * 6 + [True]
    assert limit._take("b") == 0, "another has its own"
    assert limit._take("a") == pytest.approx(10)
    now[0] = 9.9
    assert limit._take("a") == pytest.approx(0.1)
    now[0] = 10
    assert limit._take("a") == 0
    assert limit._take("a") == pytest.approx(10)
    now[0] = 10_000
    assert [limit._take("a") > 0 for _ in range(7)] == [False] * 6 + [True]


def test_buckets_are_bounded(monkeypatch):
    monkeypatch.setattr(rates, "_MOST_BUCKETS", 10)
    limit, _ = bucket()
    for i in range(100):
        limit._take(str(i))
    assert len(limit._buckets) == 10


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "::ffff:10.0.0.1", False),
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("unix", "unix", True),
    ],
)
def test_who_asks(one, other, same):
    first, second = (rates._who({"client": (host, 1)}) for host in (one, other))
    assert (first == second) == same


def test_keys_share_no_bucket_with_addresses():
    assert rates._who({"state": {"key_name": "ada"}, "client": ("1.2.3.4", 1)}) == "key ada"
    assert rates._who({"client": None}) == rates._who({"state": {"key_name": ""}})


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_rates_that_are_none(rate):
    with pytest.raises(UserError, match="rate limit"):
        guard(application(), OPEN, rate_limit=rate)


# binding


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.168.0.1", "example.org", "localhost.example.org", "8.8.8.8"]
)
def test_open_doors_need_a_key(host):
    with pytest.raises(UserError, match="no API key is set") as caught:
        check_binding(host, OPEN, insecure=False)
    assert "\n" not in str(caught.value)
    check_binding(host, LOCKED, insecure=False)
    check_binding(host, OPEN, insecure=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "LOCALHOST", "::1", "[::1]"])
def test_loopback_needs_none(host):
    check_binding(host, OPEN, insecure=False)


def test_it_is_a_middleware_too():
    app = application()
    app.add_middleware(guard, ring=LOCKED)

    async def once(headers):
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost"
        ) as asking:
            return await asking.get("/v1/models", headers=headers)

    assert asyncio.run(once({})).status_code == 401
    assert asyncio.run(once(BEARER)).json() == {"key": "environment"}
