"""Items of ``/v1/responses``: the dialog that comes in, and the calls and the message that go out.

A call of a tool of the server is two items before the message that tells of it: ``function_call`` and
``function_call_output``. Both may be sent back with that message. They are passed over then, as the message
has the result.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from imagebind_llm.common.errors import short
from imagebind_llm.inference.calls import ToolCall
from imagebind_llm.serving.errors import ApiError
from imagebind_llm.serving.own_tools import parts_of
from imagebind_llm.serving.protocol import Message, ResponseBody
from imagebind_llm.skills.tools.definition import Tool

CALL, OUTPUT = "function_call", "function_call_output"


class Turns(NamedTuple):
    """The dialog of a request.

    Attributes:
        messages: in order.
        places: of each message, its number in ``input``; -1 for ``instructions``.
    """

    messages: list[Message]
    places: list[int]


def read_turns(body: ResponseBody) -> Turns:
    """The dialog of ``instructions`` and ``input``.

    Raises:
        ApiError: 400 that names the item.
    """
    found = Turns([], [])
    if body.instructions is not None:
        found.messages.append(Message(role="system", content=body.instructions))
        found.places.append(-1)
    if isinstance(body.input, str):
        found.messages.append(Message(role="user", content=body.input))
        found.places.append(0)
        return found
    told = True
    for number, item in enumerate(body.input):
        where = f"input[{number}]"
        kind = item.get("type", "message")
        if kind in (CALL, OUTPUT):
            told = False
            continue
        if kind != "message":
            raise ApiError(
                400, f"{where} has the type {short(kind)}; this model takes messages", f"{where}.type"
            )
        message = _message(item, where)
        if not told and message.role != "assistant":
            raise _untold(number - 1)
        told = True
        found.messages.append(message)
        found.places.append(number)
    if not told:
        raise _untold(len(body.input) - 1)
    return found


def _message(item: Mapping[str, Any], where: str) -> Message:
    role, content = item.get("role"), item.get("content")
    parts = content if isinstance(content, list) else []
    if (
        not isinstance(role, str)
        or not isinstance(content, str | list)
        or not all(isinstance(part, dict) for part in parts)
    ):
        raise ApiError(400, f"{where} is {short(item)}; expected role and content", where)
    return Message(role=role, content=content)


def _untold(number: int) -> ApiError:
    where = f"input[{number}]"
    return ApiError(
        400,
        f"{where} is of a call, and no message of the assistant comes after it; send the message back that "
        "came with it, or leave it out",
        where,
    )


def choice_given(given: Any) -> Any:
    """``tool_choice`` as ``/v1/chat/completions`` takes it: here the name stands beside the type."""
    if isinstance(given, Mapping) and set(given) == {"type", "name"}:
        return {"type": given["type"], "function": {"name": given["name"]}}
    return given


def definition(tool: Tool) -> dict[str, Any]:
    """A tool as a response lists it."""
    return {"type": "function", **tool.to_openai()["function"], "strict": False}


def call_items(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    """Each call and what came of it. An error has the status ``incomplete``; what is no call of a tool, as
    it was cut off, is left out."""
    found: list[dict[str, Any]] = []
    for call in calls:
        if not call.name:
            continue
        arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
        found += [
            {
                "id": f"fc_{uuid.uuid4().hex}",
                "type": CALL,
                "status": "completed",
                "call_id": call.id,
                "name": call.name,
                "arguments": arguments,
            },
            {
                "id": f"fco_{uuid.uuid4().hex}",
                "type": OUTPUT,
                "status": "completed" if call.error is None else "incomplete",
                "call_id": call.id,
                "output": call.result if call.error is None else call.error,
            },
        ]
    return found


def message_item(
    identity: str, status: str, text: str | None = None, calls: Sequence[ToolCall] = ()
) -> dict[str, Any]:
    """The assistant's message; ``parts`` is what the calls made."""
    made = parts_of(calls)
    return {
        "id": identity,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [] if text is None else [text_part(text)],
    } | ({"parts": made} if made else {})


def text_part(text: str) -> dict[str, Any]:
    """A text in a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
