"""``tool_choice``: whether a tool is called, and which, as OpenAI's clients say it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.common.names import refuse_unknown
from imagebind_llm.skills.tools.definition import Tool


@dataclass(frozen=True)
class ToolChoice:
    """Which tools may be called.

    Attributes:
        tools: those; none: no call.
        must: whether one has to be called.
    """

    tools: tuple[Tool, ...]
    must: bool


def read_choice(given: Any, tools: Sequence[Tool]) -> ToolChoice:
    """Read ``"auto"``, ``"none"``, ``"required"``, the name of a tool, or OpenAI's object that names one.

    Raises:
        UserError: it is something else, there is no such tool, or a call is required and there is none.
    """
    if given is None:
        given = "auto"
    if isinstance(given, Mapping):
        own = given.get("function")
        if (
            given.get("type") != "function"
            or not isinstance(own, Mapping)
            or not isinstance(own.get("name"), str)
        ):
            raise UserError(
                f"tool_choice is {short(given)}; expected {{'type': 'function', 'function': {{'name': …}}}}"
            )
        refuse_unknown([own["name"]], [tool.name for tool in tools], what="tool in tool_choice:")
        return ToolChoice(tuple(tool for tool in tools if tool.name == own["name"]), True)
    if not isinstance(given, str):
        raise UserError(f"tool_choice is {short(given)}; expected auto, none, required or the name of a tool")
    if given == "none":
        return ToolChoice((), False)
    if given == "auto":
        return ToolChoice(tuple(tools), False)
    if given == "required":
        if not tools:
            raise UserError("tool_choice is 'required', and no tool is given")
        return ToolChoice(tuple(tools), True)
    refuse_unknown([given], [tool.name for tool in tools], ("auto", "none", "required"), "tool_choice")
    return ToolChoice(tuple(tool for tool in tools if tool.name == given), True)
