"""``POST /v1/chat/completions``."""

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from imagebind_llm.inference.confidence import rounded
from imagebind_llm.serving.bodies import read_body
from imagebind_llm.serving.errors import ApiError
from imagebind_llm.serving.parts import read_dialog
from imagebind_llm.serving.protocol import ChatBody
from imagebind_llm.serving.server import Server, explained, make_request, options_of, stops_of
from imagebind_llm.serving.service import Job, Piece, Running
from imagebind_llm.serving.streams import DONE, EventStream, data, unless_left
from imagebind_llm.serving.texts import TokenLogprob
from imagebind_llm.serving.usage import usage_of


def router(server: Server) -> APIRouter:
    """The route."""
    routes = APIRouter()

    @routes.post("/v1/chat/completions", tags=["text"])
    async def chat(request: Request) -> Response:
        """Answer a dialog with media."""
        body = await read_body(request, ChatBody)
        server.check_model(body.model)
        _check(body)
        running = await server.open(request, lambda: _job(body, request), "messages")
        head = _Head(server.service.settings.model_name, body)
        if body.stream:
            return EventStream(_events(running, head, body), running.close)
        try:
            return JSONResponse(await unless_left(request, _whole(running, head, body)))
        finally:
            running.close()

    def _check(body: ChatBody) -> None:
        if body.max_completion_tokens is not None and body.max_tokens is not None:
            raise ApiError(
                400, "max_tokens and max_completion_tokens are both given; give the second only", "max_tokens"
            )
        most = server.service.settings.max_choices
        if (body.n or 1) > most:
            raise ApiError(400, f"n is {body.n}; expected at most {most}", "n")
        if body.top_logprobs is not None and not body.logprobs:
            raise ApiError(400, "top_logprobs needs logprobs: true", "top_logprobs")

    async def _job(body: ChatBody, request: Request) -> Job:
        options = options_of(body, body.max_completion_tokens or body.max_tokens)
        stops = stops_of(body.stop)
        dialog = await read_dialog(body.messages, server.sources(request))
        goes_on = body.prompt_cache_key is not None or any(turn["role"] == "assistant" for turn in dialog)
        return Job(
            make_request(dialog, options),
            options,
            stops,
            body.n or 1,
            (body.top_logprobs or 0) if body.logprobs else None,
            reuse=goes_on,
            session=body.prompt_cache_key,
        )

    return routes


class _Head:
    """What all parts of one answer say of themselves."""

    def __init__(self, model: str, body: ChatBody) -> None:
        self._fields = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
        }

    def __call__(self, kind: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {**self._fields, "object": kind, "choices": choices, **more}


def logprob_json(found: TokenLogprob) -> dict[str, Any]:
    """A token with its logarithm, as in OpenAI's ``logprobs.content``."""

    def one(token: str, logprob: float) -> dict[str, Any]:
        return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "replace"))}

    return {**one(found.token, found.logprob), "top_logprobs": [one(*each) for each in found.top]}


async def _whole(running: Running, head: _Head, body: ChatBody) -> dict[str, Any]:
    texts: dict[int, list[str]] = {number: [] for number in range(body.n or 1)}
    logprobs: dict[int, list[dict[str, Any]]] = {number: [] for number in texts}
    tokens: dict[int, int] = {}
    reasons: dict[int, str | None] = {}
    confidences: dict[int, float | None] = {}
    async for piece in running.pieces():
        texts[piece.choice].append(piece.text)
        tokens[piece.choice] = piece.tokens
        reasons[piece.choice] = piece.finish_reason
        confidences[piece.choice] = piece.confidence
        if piece.logprob is not None:
            logprobs[piece.choice].append(logprob_json(piece.logprob))
    choices = [
        {
            "index": number,
            "message": {"role": "assistant", "content": "".join(parts), "refusal": None},
            "logprobs": {"content": logprobs[number], "refusal": None} if body.logprobs else None,
            "finish_reason": reasons[number],
            **_confidence(confidences[number]),
        }
        for number, parts in texts.items()
    ]
    return head("chat.completion", choices, usage=usage_of(running, tokens), imagebind=explained(running))


async def _events(running: Running, head: _Head, body: ChatBody) -> AsyncGenerator[str, None]:
    kind = "chat.completion.chunk"
    usage = bool(body.stream_options and body.stream_options.include_usage)
    more: dict[str, Any] = {"usage": None} if usage else {}
    tokens: dict[int, int] = {}
    begun = [_delta(number, {"role": "assistant", "content": ""}) for number in range(body.n or 1)]
    yield data(head(kind, begun, imagebind=explained(running), **more))
    async with aclosing(running.pieces()) as pieces:
        async for piece in pieces:
            tokens[piece.choice] = piece.tokens
            if piece.text or piece.logprob is not None or piece.finish_reason is not None:
                yield data(head(kind, [_choice(piece, bool(body.logprobs))], **more))
    if usage:
        yield data(head(kind, [], usage=usage_of(running, tokens)))
    yield DONE


def _choice(piece: Piece, logprobs: bool) -> dict[str, Any]:
    found = _delta(piece.choice, {"content": piece.text} if piece.text else {}, piece.finish_reason)
    if logprobs and piece.logprob is not None:
        found["logprobs"] = {"content": [logprob_json(piece.logprob)], "refusal": None}
    if piece.finish_reason is not None:
        found |= _confidence(piece.confidence)
    return found


def _confidence(value: float | None) -> dict[str, float | None]:
    """The field of a whole answer that OpenAI's format does not have."""
    return {"confidence": None if value is None else rounded(value)}


def _delta(number: int, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"index": number, "delta": delta, "logprobs": None, "finish_reason": reason}
