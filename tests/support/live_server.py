"""A server on a free port of this machine, in a thread of this process."""

import base64
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from imagebind_llm import Assistant
from imagebind_llm.serving.app import create_app
from imagebind_llm.serving.connection import bounded_protocol
from imagebind_llm.serving.guard import guard
from imagebind_llm.serving.keys import KeyRing
from imagebind_llm.serving.launch import make_server
from imagebind_llm.serving.server import Server
from imagebind_llm.serving.settings import ServeSettings

INPUTS = Path(__file__).parents[2] / "examples" / "inputs"


@dataclass(frozen=True)
class Live:
    """A running server."""

    server: Server
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(self, path, body=None, method=None, headers=None) -> tuple[int, dict]:
        """Status and JSON of one request."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        asked = urllib.request.Request(self.url + path, data, headers or {}, method=method)
        if body is not None and not asked.has_header("Content-type"):
            asked.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(asked, timeout=60) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def quiet(self, seconds: float = 10) -> bool:
        """Whether nothing runs or waits any more, at the latest after some seconds."""
        end = time.monotonic() + seconds
        service = self.server.service
        while time.monotonic() < end:
            load = service.backend.load()
            if service.inside == load.running == load.waiting == 0:
                return True
            time.sleep(0.02)
        return False


@contextmanager
def live(bot: Assistant, settings: ServeSettings | None = None, **more) -> Iterator[Live]:
    """Serve ``bot``; ``more`` as :func:`make_server` takes it."""
    settings = settings or ServeSettings()
    server = make_server(bot, settings, **more)
    application = guard(create_app(server), KeyRing(environ={}), most_body=settings.max_body)
    listening = socket.create_server(("127.0.0.1", 0))
    running = uvicorn.Server(
        uvicorn.Config(
            application, log_level="warning", timeout_graceful_shutdown=5, http=bounded_protocol(), ws="none"
        )
    )
    thread = threading.Thread(target=running.run, args=([listening],), daemon=True)
    thread.start()
    try:
        end = time.monotonic() + 30
        while not running.started:
            assert thread.is_alive(), "the server has ended"
            assert time.monotonic() < end, "the server has not started"
            time.sleep(0.01)
        yield Live(server, listening.getsockname()[1])
    finally:
        running.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server does not stop"


def data_url(path: Path, kind: str) -> str:
    """A file as a data URL."""
    return f"data:{kind};base64,{encoded(path)}"


def encoded(path: Path) -> str:
    """A file in base64."""
    return base64.b64encode(path.read_bytes()).decode()


def picture(name: str) -> dict:
    """A content part with a picture of the examples."""
    return {"type": "image_url", "image_url": {"url": data_url(INPUTS / name, "image/jpeg")}}


def words(text: str) -> dict:
    return {"type": "text", "text": text}
