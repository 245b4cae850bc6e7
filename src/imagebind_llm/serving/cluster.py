"""The same server on Ray Serve: fronts that perceive and talk HTTP, writers that write tokens.

A front has the encoder, the cache and the routes; a writer has the language model. Each kind has as many
replicas as it needs. Media stay in the front that got them: what travels to a writer are token ids and a few
vectors. A dialog with a name goes to the writer that read it before, as long as that one is there. When a
writer dies, its answers are written again by another one; what was already sent is not sent twice.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError, require
from imagebind_llm.common.names import refuse_unknown
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.inference.engine import Engine, Event, TokenRequest
from imagebind_llm.serving.app import create_app
from imagebind_llm.serving.backend import BackendLostError, Load
from imagebind_llm.serving.guard import check_binding, guard
from imagebind_llm.serving.keys import KeyRing
from imagebind_llm.serving.launch import make_server
from imagebind_llm.serving.local import LocalBackend
from imagebind_llm.serving.settings import ServeSettings

APP = "imagebind-llm"
_ATTEMPTS = 5
"""Writers that may die under one answer."""
_PAUSE = 0.2
"""Seconds before the next attempt; a dead replica is noticed within that time, as a rule."""
_SEEDS = 2**63
_MANY = 10_000
"""Requests that Ray hands to a replica at once: our own queue says how many are too many."""


@dataclass(frozen=True)
class ClusterSettings:
    """What runs on the cluster.

    Attributes:
        model: name or folder, readable on every machine.
        loading: arguments of :meth:`Assistant.from_pretrained`.
        serve: limits of each front.
        fronts: replicas that perceive and talk HTTP.
        writers: replicas that write tokens.
        front_cpus, writer_cpus: CPUs that Ray sets aside for each.
        writer_gpus: GPUs for each writer.
        keys: the file of API keys.
        host: address of the HTTP proxies.
        insecure: let other machines in without a key.
        origins, rate_limit, remote_hosts: as for one machine.
    """

    model: str
    loading: dict[str, Any]
    serve: ServeSettings
    fronts: int = 1
    writers: int = 1
    front_cpus: float = 1.0
    writer_cpus: float = 1.0
    writer_gpus: float = 0.0
    keys: Path | None = None
    host: str = "127.0.0.1"
    insecure: bool = False
    origins: Sequence[str] = ()
    rate_limit: float | None = None
    remote_hosts: Sequence[str] = ()


class Writer:
    """A replica with the language model."""

    def __init__(self, settings: ClusterSettings) -> None:
        bot = Assistant.from_pretrained(settings.model, **{**settings.loading, "cache": False})
        bot.model.encoder = None  # perception is the fronts'
        limits = settings.serve
        self._backend = LocalBackend(Engine(bot.model, limits.max_rows, limits.max_tokens))
        self._begun = asyncio.Lock()
        self._started = False

    async def stream(self, request: TokenRequest) -> AsyncGenerator[Event, None]:
        """The events of one request."""
        async with self._begun:
            if not self._started:
                await self._backend.start()
                self._started = True
        async for event in self._backend.stream(request):
            yield event

    async def session(self, name: str) -> str:
        """That the dialog ``name`` was read here: Ray prefers this replica for it from now on."""
        return name


class ClusterBackend:
    """A :class:`~imagebind_llm.serving.backend.TokenBackend` made of the writers of a cluster.

    Args:
        handle: of the writers.
        context_length: of the model.
        new_tokens: see :meth:`~imagebind_llm.inference.engine.Engine.new_tokens`.
    """

    def __init__(
        self, handle: Any, context_length: int | None, new_tokens: Callable[[int, int | None], int]
    ) -> None:
        self._handle = handle
        self._context_length = context_length
        self._new_tokens = new_tokens
        self._running = 0

    @property
    def context_length(self) -> int | None:
        """Tokens of a prompt with its answer, or None if nobody knows."""
        return self._context_length

    def new_tokens(self, prompt: int, wanted: int | None) -> int:
        """As the engine's."""
        return self._new_tokens(prompt, wanted)

    def load(self) -> Load:
        """Answers that this front waits for; how many of them a writer has not begun it does not know."""
        return Load(self._running, 0)

    async def start(self) -> None:
        """Nothing: Ray starts the writers."""

    async def close(self) -> None:
        """Nothing: Ray ends the writers."""

    async def stream(self, request: TokenRequest, session: str | None = None) -> AsyncGenerator[Event, None]:
        """The events of one request; from another writer if one dies."""
        request = replace(request, sampling=_repeatable(request.sampling))
        self._running += 1
        sent = 0
        try:
            for _ in range(_ATTEMPTS):
                try:
                    async for event in self._from(sent, request, session):
                        sent += 1
                        yield event
                    return
                except _lost() as error:
                    lost = error
                    await asyncio.sleep(_PAUSE)
            raise BackendLostError(f"{_ATTEMPTS} writers ended under this answer") from lost
        finally:
            self._running -= 1

    async def _from(
        self, sent: int, request: TokenRequest, session: str | None
    ) -> AsyncGenerator[Event, None]:
        """The events of a new attempt, without those that an earlier one has delivered."""
        options = {"stream": True} | ({"multiplexed_model_id": session} if session else {})
        response = self._handle.options(**options).stream.remote(request)
        done = False
        try:
            number = 0
            async for event in response:
                done = event.last
                if event.error is not None:
                    raise event.error
                number += 1
                if number > sent:
                    yield event
        finally:
            if not done:
                response.cancel()


def _repeatable(sampling: Any) -> Any:
    """With a seed: another writer must come to the same answer."""
    if sampling.temperature == 0 or sampling.seed is not None:
        return sampling
    import secrets

    return replace(sampling, seed=secrets.randbelow(_SEEDS))


def _lost() -> tuple[type[Exception], ...]:
    """What Ray raises when a replica is no longer there."""
    from ray.exceptions import RayActorError, RaySystemError, WorkerCrashedError

    return (RayActorError, WorkerCrashedError, RaySystemError)


class Front:
    """A replica with perception, the routes and the page."""

    def __init__(self, settings: ClusterSettings, writers: Any) -> None:
        ring = KeyRing(settings.keys)
        check_binding(settings.host, ring, settings.insecure)
        bot = Assistant.from_pretrained(settings.model, **settings.loading)
        engine = bot.pipeline.driver.engine
        backend = ClusterBackend(writers, engine.context_length, engine.new_tokens)
        server = make_server(bot, settings.serve, backend, settings.remote_hosts)
        self._asgi = guard(
            create_app(server),
            ring,
            host=settings.host,
            origins=settings.origins,
            most_body=settings.serve.max_body,
            rate_limit=settings.rate_limit,
        )

    def __serve_build_asgi_app__(self) -> Any:
        """What Ray's proxy calls."""
        return self._asgi


def application(settings: ClusterSettings) -> Any:
    """The two deployments, bound to each other; ``ray.serve.run`` takes it."""
    serve = require("ray.serve", "scale", "serving on Ray")

    class Sessions(Writer):
        @serve.multiplexed(max_num_models_per_replica=settings.serve.max_rows * 4)
        async def session(self, name: str) -> str:
            return name

        async def stream(self, request: TokenRequest) -> AsyncGenerator[Event, None]:
            if name := serve.get_multiplexed_model_id():
                await self.session(name)
            async for event in Writer.stream(self, request):
                yield event

    Sessions.__name__ = Sessions.__qualname__ = "Writer"
    writers = serve.deployment(
        name="writer",
        num_replicas=settings.writers,
        max_ongoing_requests=_MANY,
        ray_actor_options={"num_cpus": settings.writer_cpus, "num_gpus": settings.writer_gpus},
    )(Sessions)
    fronts = serve.deployment(
        name="front",
        num_replicas=settings.fronts,
        max_ongoing_requests=_MANY,
        ray_actor_options={"num_cpus": settings.front_cpus},
    )(serve.ingress()(Front))
    return fronts.bind(settings, writers.bind(settings))


def from_config(args: dict[str, Any]) -> Any:
    """The application of a Ray Serve configuration file.

    Args:
        args: fields of :class:`ClusterSettings`; ``serve`` and ``loading`` as mappings.

    Raises:
        UserError: an unknown field.
    """
    known = [item.name for item in fields(ClusterSettings)]
    refuse_unknown(args, known, what="field of the cluster's settings")
    limits = ServeSettings(**{"model_name": Path(args.get("model", "nano")).name, **args.get("serve", {})})
    keys = args.get("keys")
    given = {**args, "serve": limits, "keys": None if keys is None else Path(keys)}
    return application(ClusterSettings(**{"model": "nano", "loading": {}, **given}))


def run(settings: ClusterSettings, address: str, port: int) -> None:
    """Deploy and wait until interrupted.

    Args:
        settings: what runs.
        address: of the cluster; ``local`` starts one on this machine.
        port: of the HTTP proxies.

    Raises:
        UserError: there is no such cluster.
    """
    ray = require("ray", "scale", "serving on Ray")
    serve = require("ray.serve", "scale", "serving on Ray")
    try:
        if address == "local":
            ray.init(log_to_driver=False)
        else:
            ray.init(address=address, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(
            f"no Ray cluster at {address!r} ({str(error).splitlines()[0]}); use 'local' for one"
        ) from None
    serve.start(http_options={"host": settings.host, "port": port})
    serve.run(application(settings), name=APP, blocking=True)
