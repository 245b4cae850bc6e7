"""Answers with tools that the server itself runs (``server_tools``), and what they made as content parts.

The parts are as those of requests, so that a client may send one back: ``image_url`` and ``input_audio`` are
OpenAI's, a shape is a ``point``. What detection found is a part of the type ``detections``.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request as HttpRequest

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.names import refuse_unknown
from imagebind_llm.inference.calls import MadeFile, ToolCall
from imagebind_llm.inference.request import Answer, Options, Request
from imagebind_llm.serving.errors import ApiError, refused
from imagebind_llm.serving.parts import read_dialog
from imagebind_llm.serving.protocol import ChatBody
from imagebind_llm.serving.server import Server, make_request
from imagebind_llm.serving.streams import unless_left
from imagebind_llm.serving.tool_calls import Given, with_objects
from imagebind_llm.skills.tools.choice import ToolChoice, read_choice
from imagebind_llm.skills.tools.perceived import plan
from imagebind_llm.skills.tools.use import ToolUser
from imagebind_llm.skills.tools.writing import reads_tools


@dataclass
class Called(Given):
    """An answer on the way to which the server has called tools.

    Attributes:
        calls: in order.
    """

    calls: tuple[ToolCall, ...] = ()


def own_choice(body: ChatBody, server: Server) -> ToolChoice | None:
    """Which of the server's tools may be called; None where none may.

    Raises:
        ApiError: 400 that names the parameter.
    """
    if not body.server_tools:
        return None
    if body.tools:
        raise ApiError(400, "tools and server_tools are both given; leave one out", "server_tools")
    known = server.workshop.tools
    try:
        refuse_unknown(body.server_tools, list(known), what="tool of this server:")
    except UserError as error:
        raise refused(error, "server_tools") from error
    try:
        choice = read_choice(body.tool_choice, [known[name] for name in dict.fromkeys(body.server_tools)])
    except UserError as error:
        raise refused(error, "tool_choice") from error
    if not choice.tools:
        return None
    for name, value in (("stop", body.stop), ("response_format", body.response_format)):
        if value and value != {"type": "text"}:
            raise ApiError(400, f"{name} and server_tools are both given; leave one out", name)
    if (body.n or 1) > 1:
        raise ApiError(400, "n is above 1 and server_tools are given; ask for one answer", "n")
    return choice


async def called(
    body: ChatBody, options: Options, http: HttpRequest, server: Server, choice: ToolChoice
) -> Called | None:
    """The answer with calls; None where the words ask for none, so that it is an answer like any other.

    Raises:
        ApiError: the dialog is malformed, or there is no room or no time.
    """
    dialog = with_objects(await read_dialog(body.messages, server.sources(http)))
    request = make_request(dialog, options)
    written = reads_tools(server.service.assistant.processor.tokenizer)
    try:
        wanted = written or choice.must or plan(request.messages, choice.tools) is not None
    except UserError as error:
        raise refused(error, "messages") from error
    if not wanted:
        return None
    answer = await unless_left(http, server.workshop.talk(lambda: _answered(server, request, choice)))
    return Called(answer.text, answer.prompt_tokens, answer.new_tokens, calls=answer.calls)


def _answered(server: Server, request: Request, choice: ToolChoice) -> Answer:
    user = ToolUser(server.workshop.bot, choice.tools)
    return user.answer(request, "required" if choice.must else "auto")


def parts_of(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    """What the calls made, as content parts."""
    return [part(one) for call in calls for one in call.made]


def part(made: MadeFile) -> dict[str, Any]:
    """One file as a content part."""
    if made.media_type == "application/json":
        return {"type": "detections", "detections": json.loads(made.data)}
    data = base64.b64encode(made.data).decode()
    if made.media_type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": f"data:{made.media_type};base64,{data}"}}
    if made.media_type == "audio/wav":
        return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    return {"type": "point", "point": {"data": data, "filename": made.name}}
