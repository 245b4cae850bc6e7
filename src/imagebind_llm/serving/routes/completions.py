"""``POST /v1/completions``: texts that go on, without a chat template and without media."""

import itertools
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from imagebind_llm.common.errors import UserError
from imagebind_llm.serving.bodies import read_body
from imagebind_llm.serving.errors import ApiError, refused
from imagebind_llm.serving.protocol import CompletionBody
from imagebind_llm.serving.server import Server, options_of, stops_of
from imagebind_llm.serving.service import Job, Piece, Running
from imagebind_llm.serving.streams import DONE, EventStream, data, unless_left
from imagebind_llm.serving.usage import usage_of


def router(server: Server) -> APIRouter:
    """The route."""
    routes = APIRouter()

    @routes.post("/v1/completions", tags=["text"])
    async def completions(request: Request) -> Response:
        """Go on with a text."""
        body = await read_body(request, CompletionBody)
        server.check_model(body.model)
        running = await server.open(request, lambda: _job(body))
        head = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": server.service.settings.model_name,
        }
        if body.stream:
            return EventStream(_events(running, head, body), running.close)
        try:
            return JSONResponse(await unless_left(request, _whole(running, head, body)))
        finally:
            running.close()

    async def _job(body: CompletionBody) -> Job:
        choices = body.n or 1
        if choices > server.service.settings.max_choices:
            raise ApiError(
                400, f"n is {choices}; expected at most {server.service.settings.max_choices}", "n"
            )
        try:
            ids = await _prompt(body.prompt)
        except UserError as error:
            raise refused(error, "prompt") from error
        return Job(ids, options_of(body, body.max_tokens), stops_of(body.stop), choices, body.logprobs)

    async def _prompt(given: Any) -> list[int]:
        if isinstance(given, list) and given and isinstance(given[0], str | list):
            if len(given) > 1:
                raise UserError(f"prompt has {len(given)} texts; send one request for each")
            given = given[0]
        if isinstance(given, str):
            return await server.service.encode_prompt(given)
        return list(given)

    return routes


def _choice(number: int, text: str, reason: str | None, logprobs: list[Piece] | None) -> dict[str, Any]:
    found: dict[str, Any] = {"index": number, "text": text, "finish_reason": reason, "logprobs": None}
    if logprobs is not None:
        own = [piece.logprob for piece in logprobs if piece.logprob is not None]
        found["logprobs"] = {
            "tokens": [one.token for one in own],
            "token_logprobs": [one.logprob for one in own],
            "top_logprobs": [dict(one.top) for one in own],
            "text_offset": [0, *itertools.accumulate(len(one.token) for one in own[:-1])] if own else [],
        }
    return found


async def _whole(running: Running, head: dict[str, Any], body: CompletionBody) -> dict[str, Any]:
    pieces: dict[int, list[Piece]] = {number: [] for number in range(body.n or 1)}
    async for piece in running.pieces():
        pieces[piece.choice].append(piece)
    choices = [
        _choice(
            number,
            "".join(piece.text for piece in own),
            own[-1].finish_reason,
            own if body.logprobs is not None else None,
        )
        for number, own in pieces.items()
    ]
    tokens = {number: own[-1].tokens for number, own in pieces.items()}
    return {**head, "choices": choices, "usage": usage_of(running, tokens)}


async def _events(running: Running, head: dict[str, Any], body: CompletionBody) -> AsyncGenerator[str, None]:
    tokens: dict[int, int] = {}
    usage = bool(body.stream_options and body.stream_options.include_usage)
    async with aclosing(running.pieces()) as pieces:
        async for piece in pieces:
            tokens[piece.choice] = piece.tokens
            logprobs = [piece] if body.logprobs is not None else None
            yield data(
                {**head, "choices": [_choice(piece.choice, piece.text, piece.finish_reason, logprobs)]}
            )
    if usage:
        yield data({**head, "choices": [], "usage": usage_of(running, tokens)})
    yield DONE
