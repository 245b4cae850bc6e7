"""Start a server in this process."""

import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.inference.engine import Engine
from imagebind_llm.serving.app import create_app
from imagebind_llm.serving.backend import TokenBackend
from imagebind_llm.serving.connection import bounded_protocol
from imagebind_llm.serving.guard import guard
from imagebind_llm.serving.keys import KeyRing
from imagebind_llm.serving.local import LocalBackend
from imagebind_llm.serving.remote import RemotePolicy
from imagebind_llm.serving.server import Server
from imagebind_llm.serving.service import Service
from imagebind_llm.serving.settings import ServeSettings
from imagebind_llm.serving.uploads import Uploads
from imagebind_llm.serving.workshop import Workshop

_DRAIN = 30
"""Seconds that running answers have when the server is told to stop."""


def make_server(
    bot: Assistant,
    settings: ServeSettings,
    backend: TokenBackend | None = None,
    remote_hosts: Sequence[str] = (),
) -> Server:
    """All that stands behind the routes. ``backend``: by default the model itself."""
    own = backend or LocalBackend(Engine(bot.model, settings.max_rows, settings.max_tokens))
    remote = RemotePolicy(tuple(remote_hosts)) if remote_hosts else None
    service = Service(bot, own, settings)
    return Server(service, Uploads(Path(tempfile.gettempdir())), Workshop(service), remote)


def run(
    server: Server,
    ring: KeyRing,
    listening: socket.socket,
    *,
    host: str = "127.0.0.1",
    origins: Sequence[str] = (),
    rate_limit: float | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; running answers are finished first.

    Args:
        server: what answers.
        ring: the keys that are asked for, if any.
        listening: a bound socket.
        host: the address it was asked to be bound to.
        origins: other sites whose pages may use the API.
        rate_limit: requests a minute for each key.
    """
    guarded = guard(
        create_app(server),
        ring,
        host=host,
        origins=origins,
        most_body=server.service.settings.max_body,
        rate_limit=rate_limit,
    )
    config = uvicorn.Config(
        guarded,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_DRAIN,
        http=bounded_protocol(),
        ws="none",
    )
    uvicorn.Server(config).run([listening])
