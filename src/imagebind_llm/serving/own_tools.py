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
from imagebind_llm.serving.protocol import ChatBody, Message
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
    choice = server_choice(body.server_tools, body.tool_choice, server)
    if choice is None:
        return None
    for name, value in (("stop", body.stop), ("response_format", body.response_format)):
        if value and value != {"type": "text"}:
            raise ApiError(400, f"{name} and server_tools are both given; leave one out", name)
    if (body.n or 1) > 1:
        raise ApiError(400, "n is above 1 and server_tools are given; ask for one answer", "n")
    return choice


def server_choice(names: Sequence[str], given: Any, server: Server) -> ToolChoice | None:
    """Which tools of the server may be called; None for none.

    Args:
        names: the tools that are offered, ``server_tools``.
        given: ``tool_choice``.
        server: has the tools.

    Raises:
        ApiError: 400, there is no tool of a name.
    """
    known = server.workshop.tools
    try:
        refuse_unknown(names, list(known), what="tool of this server:")
    except UserError as error:
        raise refused(error, "server_tools") from error
    try:
        choice = read_choice(given, [known[name] for name in dict.fromkeys(names)])
    except UserError as error:
        raise refused(error, "tool_choice") from error
    return choice if choice.tools else None


async def called(
    messages: Sequence[Message],
    options: Options,
    http: HttpRequest,
    server: Server,
    choice: ToolChoice,
    where: str = "messages",
) -> Called | None:
    """The answer with calls; None where the words ask for none, so that it is an answer like any other.

    Args:
        messages: the dialog.
        options: how to answer.
        http: the request.
        server: has the model and the tools.
        choice: which may be called.
        where: what the dialog is called in the body.

    Raises:
        ApiError: the dialog is malformed, or there is no room or no time.
    """
    dialog = with_objects(await read_dialog(messages, server.sources(http)))
    request = make_request(dialog, options)
    written = reads_tools(server.service.assistant.processor.tokenizer)
    try:
        wanted = written or choice.must or plan(request.messages, choice.tools) is not None
    except UserError as error:
        raise refused(error, where) from error
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
