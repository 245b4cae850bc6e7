"""``POST /v1/chat/completions``."""

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from imagebind_llm.common.errors import UserError
from imagebind_llm.inference.confidence import rounded
from imagebind_llm.inference.request import Options
from imagebind_llm.inference.request import Request as Asked
from imagebind_llm.serving.bodies import read_body
from imagebind_llm.serving.errors import ApiError
from imagebind_llm.serving.own_tools import called, own_choice, parts_of
from imagebind_llm.serving.parts import read_dialog
from imagebind_llm.serving.protocol import ChatBody
from imagebind_llm.serving.server import Server, explained, make_request, options_of, stops_of
from imagebind_llm.serving.service import Job, Piece, Running
from imagebind_llm.serving.streams import DONE, EventStream, data, unless_left
from imagebind_llm.serving.texts import TokenLogprob
from imagebind_llm.serving.tool_calls import (
    CallText,
    Given,
    call_text,
    choice_of,
    perceiving,
    planned,
    told_result,
    with_objects,
    written_request,
)
from imagebind_llm.serving.usage import usage_of
from imagebind_llm.skills.tools.choice import ToolChoice
from imagebind_llm.skills.tools.perceived import Plan
from imagebind_llm.skills.tools.writing import reads_tools


def router(server: Server) -> APIRouter:
    """The route."""
    routes = APIRouter()

    @routes.post("/v1/chat/completions", tags=["text"])
    async def chat(request: Request) -> Response:
        """Answer a dialog with media."""
        body = await read_body(request, ChatBody)
        server.check_model(body.model)
        _check(body)
        own = own_choice(body, server)
        choice = None if body.server_tools else choice_of(body)
        running: Running | Given | None = None
        if own is not None:
            options = options_of(body, body.max_completion_tokens or body.max_tokens)
            running = await called(body.messages, options, request, server, own)
        if running is not None:
            pass
        elif choice is not None:
            running = await _with_tools(body, request, choice)
        else:
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
        if (body.response_format or {}).get("type") == "grammar":
            raise ApiError(400, "response_format is a grammar; send a JSON schema", "response_format")
        if body.top_logprobs is not None and not body.logprobs:
            raise ApiError(400, "top_logprobs needs logprobs: true", "top_logprobs")

    async def _with_tools(body: ChatBody, request: Request, choice: ToolChoice) -> Running | Given:
        """The request with tools: the model writes a call, or one is made of what it perceives."""
        tokenizer = server.service.assistant.processor.tokenizer
        native = reads_tools(tokenizer)
        if not native:
            dialog = with_objects(await read_dialog(body.messages, server.sources(request)))
            make_request(dialog, Options())  # what is malformed is refused, whoever answers
            if (said := told_result(dialog, choice)) is not None:
                return Given(said)
            if (found := planned(dialog, choice)) is not None:
                return await _perceived(body, request, found)
        if not native and not choice.must:
            return await server.open(request, lambda: _job(body, request), "messages")
        return await server.open(request, lambda: _job(body, request, choice, native), "messages")

    async def _perceived(body: ChatBody, request: Request, found: Plan) -> Given:
        options = options_of(body, body.max_completion_tokens or body.max_tokens)
        texts, prompt_tokens, tokens = [], 0, 0
        for one in perceiving(found, options):

            async def asked(one: Asked = one) -> Job:
                return Job(one, one.options)

            running = await server.open(request, asked, "messages")
            pieces = [piece async for piece in running.pieces()]
            texts.append("".join(piece.text for piece in pieces).strip())
            prompt_tokens, tokens = prompt_tokens + running.prompt_tokens, tokens + pieces[-1].tokens
        try:
            return Given(call_text(found, texts), prompt_tokens, tokens)
        except UserError as error:
            return Given(f"{found.tool.name} is not called: {error}.", prompt_tokens, tokens)

    async def _job(
        body: ChatBody, request: Request, choice: ToolChoice | None = None, native: bool = False
    ) -> Job:
        options = options_of(body, body.max_completion_tokens or body.max_tokens)
        stops = stops_of(body.stop)
        dialog = with_objects(await read_dialog(body.messages, server.sources(request)))
        goes_on = body.prompt_cache_key is not None or any(turn["role"] == "assistant" for turn in dialog)
        made = make_request(dialog, options)
        if choice is not None:
            made = written_request(made, choice, server.service.assistant.processor.tokenizer, native)
        return Job(
            made,
            made.options,
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


async def _whole(running: Running | Given, head: _Head, body: ChatBody) -> dict[str, Any]:
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
    choices: list[dict[str, Any]] = [
        {
            "index": number,
            "message": message,
            "logprobs": {"content": logprobs[number], "refusal": None} if body.logprobs else None,
            "finish_reason": reason,
            **_confidence(confidences[number]),
        }
        for number, parts in texts.items()
        for message, reason in [_message("".join(parts), reasons[number], bool(body.tools))]
    ]
    if made := parts_of(getattr(running, "calls", ())):
        choices[0]["message"]["parts"] = made
    return head("chat.completion", choices, usage=usage_of(running, tokens), imagebind=explained(running))


def _message(text: str, reason: str | None, tools: bool) -> tuple[dict[str, Any], str | None]:
    """The assistant's turn, which may be a call, and why it ends."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if not tools:
        return message, reason
    calls = CallText()
    calls.add(text)
    calls.rest()
    if calls.calls:
        message |= {"content": None, "tool_calls": calls.calls}
    return message, calls.reason(reason)


async def _events(running: Running | Given, head: _Head, body: ChatBody) -> AsyncGenerator[str, None]:
    kind = "chat.completion.chunk"
    usage = bool(body.stream_options and body.stream_options.include_usage)
    more: dict[str, Any] = {"usage": None} if usage else {}
    tokens: dict[int, int] = {}
    begun = [_delta(number, {"role": "assistant", "content": ""}) for number in range(body.n or 1)]
    yield data(head(kind, begun, imagebind=explained(running), **more))
    if made := parts_of(getattr(running, "calls", ())):
        yield data(head(kind, [_delta(0, {"parts": made})], **more))
    calls = CallText() if body.tools else None
    async with aclosing(running.pieces()) as pieces:
        async for piece in pieces:
            tokens[piece.choice] = piece.tokens
            if calls is not None:
                for choice in _call_choices(calls, piece):
                    yield data(head(kind, [choice], **more))
            elif piece.text or piece.logprob is not None or piece.finish_reason is not None:
                yield data(head(kind, [_choice(piece, bool(body.logprobs))], **more))
    if usage:
        yield data(head(kind, [], usage=usage_of(running, tokens)))
    yield DONE


def _call_choices(calls: CallText, piece: Piece) -> list[dict[str, Any]]:
    """The chunks of a piece of an answer that may be a call (one answer; logarithms are not told of it)."""
    deltas = [found] if (found := calls.add(piece.text)) is not None else []
    if piece.finish_reason is not None:
        deltas += calls.rest()
    choices = [_delta(piece.choice, delta) for delta in deltas]
    if piece.finish_reason is not None:
        last = _delta(piece.choice, {}, calls.reason(piece.finish_reason))
        choices.append(last | _confidence(piece.confidence))
    return choices


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
