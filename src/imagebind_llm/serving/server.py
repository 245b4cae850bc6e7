"""What the routes share: the service, and how a request becomes a job."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request as HttpRequest
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.inference.request import Options, Request
from imagebind_llm.model.messages import MediaItem
from imagebind_llm.serving.errors import ApiError, refused
from imagebind_llm.serving.guard import KEY_NAME
from imagebind_llm.serving.parts import Sources, read_mixture
from imagebind_llm.serving.perceiving import UnreadableMediumError
from imagebind_llm.serving.protocol import CacheBody
from imagebind_llm.serving.remote import RemotePolicy, fetch
from imagebind_llm.serving.service import Job, Running, Service
from imagebind_llm.serving.streams import unless_left
from imagebind_llm.serving.tool_calls import Given
from imagebind_llm.serving.uploads import Uploads
from imagebind_llm.serving.workshop import Workshop

MOST_STOPS = 4
"""As OpenAI allows."""
_LONGEST_STOP = 256
_CALLED = {"max_new_tokens": "max_completion_tokens"}
"""Options of ours that have other names in requests."""


@dataclass(frozen=True)
class Server:
    """Everything behind the routes.

    Attributes:
        service: answers.
        uploads: files that were sent before.
        workshop: makes, finds, and calls tools.
        remote: from where media may be fetched; None: from nowhere.
    """

    service: Service
    uploads: Uploads
    workshop: Workshop
    remote: RemotePolicy | None = None

    def owner(self, request: HttpRequest) -> str:
        """Whose request it is: the name of its key, or nothing."""
        return str(getattr(request.state, KEY_NAME, ""))

    def sources(self, request: HttpRequest) -> Sources:
        """Where media of a request may come from."""
        owner, policy = self.owner(request), self.remote
        known: dict[str, tuple[bytes, str]] = {}

        async def file(identity: str) -> tuple[bytes, str]:
            if identity not in known:  # named twice, read once
                known[identity] = await read(identity)
            return known[identity]

        async def read(identity: str) -> tuple[bytes, str]:
            upload = self.uploads.get(owner, identity)
            with self.uploads.open(owner, identity) as stream:
                return await asyncio.to_thread(stream.read), upload.filename

        async def fetched(url: str) -> bytes:
            return await fetch(url, policy)

        return Sources(file, None if policy is None else fetched)

    async def open(
        self,
        request: HttpRequest,
        make: Callable[[], Awaitable[Job]],
        where: str = "",
        places: Sequence[int] | None = None,
    ) -> Running:
        """Let a request in and read its media, unless the client leaves.

        Args:
            request: of HTTP.
            make: reads what is asked.
            where: what the messages are called in the body.
            places: the number of each message there; None: they are counted from 0.

        Raises:
            ApiError: a medium cannot be read; it names the part.
        """
        made: list[Job] = []

        async def noted() -> Job:
            made.append(await make())
            return made[0]

        try:
            return await unless_left(request, self.service.open(noted))
        except UnreadableMediumError as error:
            asked = made[0].request
            assert isinstance(asked, Request), "a bare prompt has no media"
            place = _media_of(asked.messages, where, places)[error.condition][error.place]
            raise ApiError(400, f"{place}: {error}", place) from error

    async def embedded(
        self, request: HttpRequest, given: Any
    ) -> tuple[list[MediaItem], list[Tensor | Exception]]:
        """The media of ``input``, and the unit row ``[D]`` of each or its error.

        Raises:
            ApiError: too many, unreadable, no room or no time.
        """
        count = len(given) if isinstance(given, list) else 1
        if count > self.service.settings.max_inputs:
            most = self.service.settings.max_inputs
            raise ApiError(400, f"input has {count} entries; send at most {most}", "input")

        async def work() -> tuple[list[MediaItem], list[Tensor | Exception]]:
            items = await read_mixture(given, self.sources(request))
            return items, await self.service.perceiver.embeddings(items)

        self.service.enter()
        try:
            return await unless_left(request, self.service.timed(work()))
        finally:
            self.service.leave()

    def check_model(self, name: str) -> None:
        """Refuse another model's name.

        Raises:
            ApiError: 404.
        """
        known = self.service.settings.model_name
        if name not in (known, "default"):
            raise ApiError(404, f"there is no model {name!r} here; use {known!r}", "model", "model_not_found")


def options_of(body: Any, max_new_tokens: int | None) -> Options:
    """How to answer, from the fields that all bodies for text share.

    Raises:
        ApiError: 400 that names the field.
    """
    cache = body.cache
    if isinstance(cache, bool):
        cache = CacheBody.model_validate({"enabled": cache})
    values: dict[str, Any] = {
        "cache": cache and cache.enabled,
        "cache_k": cache and cache.k,
        "cache_temperature": cache and cache.temperature,
        "cache_weight": cache and cache.weight,
        "max_new_tokens": max_new_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "seed": body.seed,
        "explain": bool(body.explain),
        "response_format": getattr(body, "response_format", None),
    }
    try:
        return Options(**{name: value for name, value in values.items() if value is not None})
    except UserError as error:
        name = str(error).partition(" ")[0]
        if name.partition(".")[0] not in values:  # "unknown key in response_format: …"
            name = "response_format"
        raise refused(error, _CALLED.get(name, name.replace("cache_", "cache."))) from error


def _media_of(
    dialog: Sequence[Mapping[str, Any]], where: str, places: Sequence[int] | None
) -> list[list[str]]:
    """Where the media of each turn that brings some stand in the body."""
    found = [
        [
            f"{where}[{number if places is None else places[number]}].content[{place}]"
            for place, part in enumerate(turn["content"])
            if isinstance(part, Mapping) and (part["type"] != "text" or part.get("as_media"))
        ]
        for number, turn in enumerate(dialog)
        if isinstance(turn.get("content"), list)
    ]
    return [group for group in found if group]


def stops_of(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """The texts that end an answer.

    Raises:
        ApiError: 400, too many, empty, or too long.
    """
    stops = (given,) if isinstance(given, str) else tuple(given or ())
    if len(stops) > MOST_STOPS:
        raise ApiError(400, f"stop has {len(stops)} texts; give at most {MOST_STOPS}", "stop")
    if not all(0 < len(stop) <= _LONGEST_STOP for stop in stops):
        raise ApiError(400, f"a stop text is empty or longer than {_LONGEST_STOP} characters", "stop")
    return stops


def explained(running: Running | Given) -> dict[str, Any]:
    """What was seen: the media of the last turn, whether the cache was used, the pictures it found, and the
    cosine to the nearest (None where the request does not search the cache)."""
    prepared = running.prepared
    calls = getattr(running, "calls", ())
    if calls:
        made = [call.to_dict() for call in calls]
        return {"cached": False, "media": [], "nearest": None, "calls": made}
    if prepared is None:
        return {"cached": False, "media": [], "nearest": None}
    seen = prepared.dialog.condition_ids[-1]
    media = prepared.dialog.conditions[seen] if seen >= 0 else ()
    nearest = running.conditions.nearest
    found: dict[str, Any] = {
        "cached": seen >= 0 and prepared.conditions.cached[seen],
        "media": [{"modality": item.modality.value, "weight": item.weight} for item in media],
        "nearest": None if seen < 0 or nearest is None else round(nearest, 4),
    }
    if running.conditions.retrieved:
        found["retrieved"] = retrieved_as_json(running.conditions.retrieved)
    return found


def retrieved_as_json(hits: Sequence[Any]) -> list[dict[str, Any]]:
    """Pictures of the cache, best first."""
    return [
        {
            "rank": hit.rank,
            "index": hit.index,
            "similarity": round(hit.similarity, 4),
            "share": round(hit.share, 4),
            "caption": hit.caption,
            "picture": f"/v1/cache/pictures/{hit.index}" if hit.thumbnail is not None else None,
        }
        for hit in hits
    ]


def make_request(messages: Sequence[Any], options: Options) -> Request:
    """A request from a dialog.

    Raises:
        ApiError: 400, the dialog is malformed.
    """
    try:
        return Request.make(messages=messages, **vars(options))
    except UserError as error:
        raise refused(error, "messages") from error
