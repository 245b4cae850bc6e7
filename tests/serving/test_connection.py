"""A live server and raw sockets: slow, endless and malformed clients lose their connection, others do not."""

import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import StreamingResponse

from imagebind_llm.serving.connection import bounded_protocol
from imagebind_llm.serving.guard import guard
from imagebind_llm.serving.keys import KeyRing

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


def application() -> FastAPI:
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> dict:
        return {"status": "ok"}

    @app.post("/unread")
    async def unread() -> dict:
        return {"status": "ok"}

    @app.post("/read")
    async def read(request: Request) -> dict:
        return {"bytes": len(await request.body())}

    @app.get("/large")
    async def large() -> StreamingResponse:
        async def blocks():
            try:
                for _ in range(1000):
                    yield b"x" * 2**20
            finally:
                app.state.ended = time.monotonic()

        return StreamingResponse(blocks())

    return app


@contextmanager
def serving(app=None, guarded=None, **limits):
    """A server in a thread; its port."""
    inner = app or application()
    outer = guard(inner, KeyRing(None, {}), **(guarded or {}))
    config = uvicorn.Config(
        outer, http=bounded_protocol(**limits), ws="none", log_level="critical", lifespan="off",
        timeout_keep_alive=1, timeout_graceful_shutdown=1,
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def connected(port: int):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        yield sock


def until_closed(sock: socket.socket) -> tuple[bytes, float]:
    """All that comes until the server closes, and how long that took."""
    begun, got = time.monotonic(), b""
    try:
        while block := sock.recv(65536):
            got += block
    except ConnectionResetError:
        pass
    return got, time.monotonic() - begun


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


def answered(sock: socket.socket) -> int:
    """The status of one small answer, all of which is read."""
    got = b""
    while b"}" not in got:
        block = sock.recv(65536)
        assert block, got
        got += block
    return status(got)


def error_code(answer: bytes) -> str:
    return json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]


def dripping(sock: socket.socket, piece: bytes, every: float = 0.05):
    """Send a piece again and again until the connection ends; a function that stops it."""
    stop = threading.Event()

    def drip():
        try:
            while not stop.wait(every):
                sock.sendall(piece)
        except OSError:
            pass

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    return lambda: (stop.set(), thread.join(5))


def test_slow_heads_end():
    with serving(head_seconds=0.4) as port, connected(port) as slow:
        slow.sendall(GET)
        stop = dripping(slow, b"x: y\r\n")
        got, seconds = until_closed(slow)
        stop()
        assert status(got) == 408
        assert error_code(got) == "request_timeout"
        assert 0.2 < seconds < 1.5


def test_silent_connections_end():
    with serving(head_seconds=0.3) as port, connected(port) as silent:
        got, seconds = until_closed(silent)
        assert got == b""
        assert 0.2 < seconds < 1.5


def test_a_second_head_has_its_time_too():
    with serving(head_seconds=0.4) as port, connected(port) as slow:
        slow.sendall(GET + b"\r\n")
        assert answered(slow) == 200
        slow.sendall(b"GET /heal")
        got, seconds = until_closed(slow)
        assert status(got) == 408
        assert seconds < 0.9


def test_a_head_that_follows_at_once_has_its_time_too():
    with serving(head_seconds=0.4) as port, connected(port) as slow:
        slow.sendall(GET + b"\r\n" + GET)
        got, seconds = until_closed(slow)
        assert got.count(b"HTTP/1.1 200") == 1
        assert got.count(b"HTTP/1.1 408") == 1
        assert seconds < 1


def test_connections_are_kept_for_the_next_request():
    with serving(head_seconds=0.3) as port, connected(port) as sock:
        for _ in range(3):
            for byte in GET + b"\r\n":
                sock.sendall(bytes([byte]))
            assert answered(sock) == 200
            time.sleep(0.4)


def test_bodies_that_nobody_reads_end():
    with serving(head_seconds=0.4) as port, connected(port) as slow:
        slow.sendall(b"POST /unread HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
        stop = dripping(slow, b"x")
        got, seconds = until_closed(slow)
        stop()
        assert status(got) == 200
        assert seconds < 1.5


def test_slow_bodies_get_their_answer():
    with serving(guarded={"body_seconds": 0.3}) as port, connected(port) as slow:
        slow.sendall(b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
        stop = dripping(slow, b"x")
        got, seconds = until_closed(slow)
        stop()
        assert status(got) == 408
        assert seconds < 4


@pytest.mark.parametrize("chunked", [False, True])
def test_large_bodies_get_their_answer(chunked):
    kind = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 4000000"
    block = b"x" * 1000
    with serving(guarded={"most_body": 100_000}) as port, connected(port) as sock:
        sock.sendall(b"POST /read HTTP/1.1\r\nHost: localhost\r\n" + kind + b"\r\n\r\n")
        for _ in range(4000):
            sock.sendall(b"3e8\r\n" + block + b"\r\n" if chunked else block)
        if chunked:
            sock.sendall(b"0\r\n\r\n")
        got, _ = until_closed(sock)
        assert status(got) == 413
        assert error_code(got) == "request_too_large"


def test_endless_heads_end():
    with serving() as port, connected(port) as sock:
        sock.sendall(GET)
        end = time.monotonic() + 5
        try:
            while time.monotonic() < end:
                sock.sendall(b"x" * 1000)
        except OSError:
            return
        pytest.fail("the head was taken for five seconds")


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"GET / HTTP/1.1\r\n\r\n",
        GET + b"Host: other\r\n\r\n",
        GET + b"bad header: x\r\n\r\n",
        GET + b"a: b\r\n folded\x00\r\n\r\n",
        b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5, 6\r\n\r\n",
        b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /read HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"POST /read HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        GET + b"x: " + b"x" * 20_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_request(request_):
    with serving(head_seconds=0.5) as port:
        with connected(port) as sock:
            sock.sendall(request_)
            got, _ = until_closed(sock)
            assert 400 <= status(got) < 500
            assert error_code(got)
        with connected(port) as sock:
            sock.sendall(GET + b"\r\n")
            assert answered(sock) == 200


def test_connections_are_bounded():
    with serving(most_connections=3, head_seconds=1) as port:
        held = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(3)]
        time.sleep(0.1)
        with connected(port) as sock:
            got, seconds = until_closed(sock)
            assert status(got) == 503
            assert error_code(got) == "overloaded"
            assert seconds < 0.5
        held.pop().close()
        time.sleep(0.1)
        with connected(port) as sock:
            sock.sendall(GET + b"\r\n")
            assert answered(sock) == 200
        for sock in held:
            sock.close()


def test_answers_that_nobody_takes_end():
    app = application()
    with serving(app, write_seconds=0.4) as port, connected(port) as sock:
        begun = time.monotonic()
        sock.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not hasattr(app.state, "ended"):
            assert time.monotonic() < begun + 5
            time.sleep(0.02)
        assert app.state.ended - begun > 0.3


def test_answers_that_are_taken_slowly_come_whole():
    with serving(write_seconds=0.4) as port, connected(port) as sock:
        sock.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        taken = 0
        end = time.monotonic() + 1.2
        while time.monotonic() < end:
            block = sock.recv(2**20)
            assert block, "the connection was closed on a client that reads"
            taken += len(block)
            time.sleep(0.01)
        assert taken > 2**22
