"""``POST /v1/responses``: OpenAI's newer form of a dialog.

Nothing is stored: the dialog comes with each request.
"""

import time
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from imagebind_llm.serving.bodies import read_body
from imagebind_llm.serving.errors import ApiError, error_body
from imagebind_llm.serving.own_tools import Called, called, server_choice
from imagebind_llm.serving.parts import read_dialog
from imagebind_llm.serving.protocol import ResponseBody
from imagebind_llm.serving.response_items import (
    CALL,
    call_items,
    choice_given,
    definition,
    message_item,
    read_turns,
    text_part,
)
from imagebind_llm.serving.server import Server, explained, make_request, options_of
from imagebind_llm.serving.service import Job, Running
from imagebind_llm.serving.streams import EventStream, data, status_of, unless_left
from imagebind_llm.serving.usage import usage_of
from imagebind_llm.skills.tools.choice import ToolChoice


def router(server: Server) -> APIRouter:
    """The route."""
    routes = APIRouter()

    @routes.post("/v1/responses", tags=["text"])
    async def responses(request: Request) -> Response:
        """Answer a dialog with media, in the form of the Responses API."""
        body = await read_body(request, ResponseBody)
        server.check_model(body.model)
        turns = read_turns(body)
        options = options_of(body, body.max_output_tokens)
        choice = _choice(body)

        async def job() -> Job:
            dialog = await read_dialog(turns.messages, server.sources(request))
            goes_on = body.prompt_cache_key is not None or any(turn["role"] == "assistant" for turn in dialog)
            return Job(make_request(dialog, options), options, reuse=goes_on, session=body.prompt_cache_key)

        running: Running | Called | None = None
        if choice is not None:
            running = await called(turns.messages, options, request, server, choice, "input")
        if running is None:
            running = await server.open(request, job, "input", turns.places)
        answer = _Answer(server.service.settings.model_name, body, running, choice)
        if body.stream:
            return EventStream(answer.events(), running.close)
        try:
            return JSONResponse(await unless_left(request, answer.whole()))
        finally:
            running.close()

    def _choice(body: ResponseBody) -> ToolChoice | None:
        if not body.server_tools:
            if body.tool_choice not in (None, "none", "auto"):
                raise ApiError(400, "tool_choice asks for a call, and server_tools is empty", "tool_choice")
            return None
        return server_choice(body.server_tools, choice_given(body.tool_choice), server)

    return routes


class _Answer:
    """One response, as it grows."""

    def __init__(
        self, model: str, body: ResponseBody, running: Running | Called, choice: ToolChoice | None
    ) -> None:
        self._running = running
        self._calls = running.calls if isinstance(running, Called) else ()
        self._items = call_items(self._calls)
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
            "tool_choice": "none" if choice is None else body.tool_choice or "auto",
            "tools": [] if choice is None else [definition(tool) for tool in choice.tools],
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
        index = len(self._items)
        place = {"output_index": index, "item_id": self._message}
        part = {**place, "content_index": 0}
        text, tokens, reason = "", 0, None
        try:
            begun = {**self._fields, "status": "in_progress", "output": [], "usage": None}
            yield self._event("response.created", response=begun)
            yield self._event("response.in_progress", response=begun)
            for number, item in enumerate(self._items):
                for event in self._told(number, item):
                    yield event
            begun_message = message_item(self._message, "in_progress")
            yield self._event("response.output_item.added", output_index=index, item=begun_message)
            yield self._event("response.content_part.added", **part, part=text_part(""))
            async with aclosing(self._running.pieces()) as pieces:
                async for piece in pieces:
                    text, tokens, reason = text + piece.text, piece.tokens, piece.finish_reason
                    if piece.text:
                        yield self._event("response.output_text.delta", **part, delta=piece.text, logprobs=[])
            yield self._event("response.output_text.done", **part, text=text, logprobs=[])
            yield self._event("response.content_part.done", **part, part=text_part(text))
            done = self._finished(text, tokens, reason)
            yield self._event("response.output_item.done", output_index=index, item=done["output"][-1])
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

    def _told(self, number: int, item: dict[str, Any]) -> Iterator[str]:
        """The events of a call that was made, or of what came of it."""
        if item["type"] != CALL:
            yield self._event("response.output_item.added", output_index=number, item=item)
        else:
            place = {"output_index": number, "item_id": item["id"]}
            begun, written = {**item, "status": "in_progress", "arguments": ""}, item["arguments"]
            yield self._event("response.output_item.added", output_index=number, item=begun)
            yield self._event("response.function_call_arguments.delta", **place, delta=written)
            yield self._event(
                "response.function_call_arguments.done", **place, arguments=written, name=item["name"]
            )
        yield self._event("response.output_item.done", output_index=number, item=item)

    def _finished(self, text: str, tokens: int, reason: str | None) -> dict[str, Any]:
        cut = reason == "length"
        usage = usage_of(self._running, {0: tokens})
        return {
            **self._fields,
            "status": "incomplete" if cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": [
                *self._items,
                message_item(self._message, "incomplete" if cut else "completed", text, self._calls),
            ],
            "usage": {
                "input_tokens": usage["prompt_tokens"],
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": usage["completion_tokens"],
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage["total_tokens"],
            },
            "imagebind": explained(self._running),
        }
