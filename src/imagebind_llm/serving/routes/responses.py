"""``POST /v1/responses``: OpenAI's newer form of a dialog.

Nothing is stored: the dialog comes with each request.
"""

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from imagebind_llm.common.errors import short
from imagebind_llm.serving.bodies import read_body
from imagebind_llm.serving.errors import ApiError, error_body
from imagebind_llm.serving.parts import read_dialog
from imagebind_llm.serving.protocol import Message, ResponseBody
from imagebind_llm.serving.server import Server, explained, make_request, options_of
from imagebind_llm.serving.service import Job, Running
from imagebind_llm.serving.streams import EventStream, data, status_of, unless_left
from imagebind_llm.serving.usage import usage_of


def router(server: Server) -> APIRouter:
    """The route."""
    routes = APIRouter()

    @routes.post("/v1/responses", tags=["text"])
    async def responses(request: Request) -> Response:
        """Answer a dialog with media, in the form of the Responses API."""
        body = await read_body(request, ResponseBody)
        server.check_model(body.model)
        messages = _messages(body)

        async def job() -> Job:
            dialog = await read_dialog(messages, server.sources(request))
            options = options_of(body, body.max_output_tokens)
            goes_on = body.prompt_cache_key is not None or any(turn["role"] == "assistant" for turn in dialog)
            return Job(make_request(dialog, options), options, reuse=goes_on, session=body.prompt_cache_key)

        said = 0 if body.instructions is None else 1
        running = await server.open(request, job, "input", said)
        answer = _Answer(server.service.settings.model_name, body, running)
        if body.stream:
            return EventStream(answer.events(), running.close)
        try:
            return JSONResponse(await unless_left(request, answer.whole()))
        finally:
            running.close()

    return routes


def _messages(body: ResponseBody) -> list[Message]:
    """The dialog of ``instructions`` and ``input``."""
    found = [] if body.instructions is None else [Message(role="system", content=body.instructions)]
    if isinstance(body.input, str):
        return [*found, Message(role="user", content=body.input)]
    for number, item in enumerate(body.input):
        where = f"input[{number}]"
        if item.get("type", "message") != "message":
            raise ApiError(
                400, f"{where} has the type {short(item['type'])}; this model takes messages", f"{where}.type"
            )
        role, content = item.get("role"), item.get("content")
        parts = content if isinstance(content, list) else []
        if (
            not isinstance(role, str)
            or not isinstance(content, str | list)
            or not all(isinstance(part, dict) for part in parts)
        ):
            raise ApiError(400, f"{where} is {short(item)}; expected role and content", where)
        found.append(Message(role=role, content=content))
    return found


class _Answer:
    """One response, as it grows."""

    def __init__(self, model: str, body: ResponseBody, running: Running) -> None:
        self._running = running
        self._message = f"msg_{uuid.uuid4().hex}"
        self._number = 0
        self._fields: dict[str, Any] = {
            "id": f"resp_{uuid.uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "model": model,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "metadata": body.metadata or {},
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "store": False,
            "temperature": body.temperature,
            "top_p": body.top_p,
            "tool_choice": "none",
            "tools": [],
            "text": {"format": {"type": "text"}},
            "truncation": "disabled",
            "error": None,
            "incomplete_details": None,
        }

    async def whole(self) -> dict[str, Any]:
        """The finished response."""
        text, tokens, reason = "", 0, None
        async for piece in self._running.pieces():
            text, tokens, reason = text + piece.text, piece.tokens, piece.finish_reason
        return self._finished(text, tokens, reason)

    async def events(self) -> AsyncGenerator[str, None]:
        """The response in events."""
        place = {"output_index": 0, "item_id": self._message}
        part = {**place, "content_index": 0}
        text, tokens, reason = "", 0, None
        try:
            begun = {**self._fields, "status": "in_progress", "output": [], "usage": None}
            yield self._event("response.created", response=begun)
            yield self._event("response.in_progress", response=begun)
            yield self._event("response.output_item.added", output_index=0, item=self._item("in_progress"))
            yield self._event("response.content_part.added", **part, part=_text(""))
            async with aclosing(self._running.pieces()) as pieces:
                async for piece in pieces:
                    text, tokens, reason = text + piece.text, piece.tokens, piece.finish_reason
                    if piece.text:
                        yield self._event("response.output_text.delta", **part, delta=piece.text, logprobs=[])
            yield self._event("response.output_text.done", **part, text=text, logprobs=[])
            yield self._event("response.content_part.done", **part, part=_text(text))
            yield self._event("response.output_item.done", output_index=0, item=self._item("completed", text))
            done = self._finished(text, tokens, reason)
            yield self._event(f"response.{done['status']}", response=done)
        except Exception as error:
            status, words = status_of(error)
            failed = {"code": "server_error", "message": error_body(status, words)["error"]["message"]}
            yield self._event(
                "response.failed",
                response={**self._fields, "status": "failed", "output": [], "error": failed, "usage": None},
            )

    def _event(self, kind: str, **fields: Any) -> str:
        self._number += 1
        return data({"type": kind, "sequence_number": self._number - 1, **fields}, kind)

    def _item(self, status: str, text: str | None = None) -> dict[str, Any]:
        content = [] if text is None else [_text(text)]
        return {
            "id": self._message, "type": "message", "status": status, "role": "assistant", "content": content
        }  # fmt: skip

    def _finished(self, text: str, tokens: int, reason: str | None) -> dict[str, Any]:
        cut = reason == "length"
        usage = usage_of(self._running, {0: tokens})
        return {
            **self._fields,
            "status": "incomplete" if cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": [self._item("incomplete" if cut else "completed", text)],
            "usage": {
                "input_tokens": usage["prompt_tokens"],
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": usage["completion_tokens"],
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage["total_tokens"],
            },
            "imagebind": explained(self._running),
        }


def _text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
