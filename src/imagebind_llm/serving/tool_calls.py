"""Tool calls in OpenAI's protocol: what is asked, and how a call that was written is told of.

The server makes no call itself: it tells the client of one, and the client brings the result in a message of
the role ``tool``. How a call is chosen depends on the model, as in
:class:`~imagebind_llm.skills.tools.use.ToolUser`. One call is told of at a time.
"""

import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.json_text import parse_json
from imagebind_llm.inference.calls import new_id
from imagebind_llm.inference.perception import Conditions
from imagebind_llm.inference.request import Options, Request
from imagebind_llm.serving.errors import ApiError, refused
from imagebind_llm.serving.protocol import ChatBody
from imagebind_llm.serving.service import Piece
from imagebind_llm.skills.tools.arguments import check_arguments
from imagebind_llm.skills.tools.catalogue import with_known_routes
from imagebind_llm.skills.tools.choice import ToolChoice, read_choice
from imagebind_llm.skills.tools.definition import Tool
from imagebind_llm.skills.tools.perceived import Plan, plan
from imagebind_llm.skills.tools.writing import CLOSE, OPEN, call_form

MOST_TOOLS = 128
"""As OpenAI allows."""
_HEAD = re.compile(rf'\s*(?:{OPEN}\s*)?\{{"name": "([a-zA-Z0-9_-]{{1,64}})", "arguments": ')
_BEGINNINGS = (OPEN, '{"name": "')
_TAIL = len(f"}}\n{CLOSE}")


def choice_of(body: ChatBody) -> ToolChoice | None:
    """Which tools may be called; None where none may.

    Raises:
        ApiError: 400 that names the parameter.
    """
    if body.tools is None or not body.tools:
        if body.tool_choice not in (None, "none", "auto"):
            raise ApiError(400, "tool_choice asks for a call, and tools is empty", "tool_choice")
        return None
    if len(body.tools) > MOST_TOOLS:
        raise ApiError(400, f"tools has {len(body.tools)} entries; send at most {MOST_TOOLS}", "tools")
    tools = []
    for number, given in enumerate(body.tools):
        try:
            tools.append(Tool.read(given, f"tools[{number}]", routes=False))
        except UserError as error:
            raise refused(error, f"tools[{number}]") from error
    names = [tool.name for tool in tools]
    if len(set(names)) < len(names):
        raise ApiError(400, "two tools have one name; give each a name of its own", "tools")
    try:
        choice = read_choice(body.tool_choice, with_known_routes(tools))
    except UserError as error:
        raise refused(error, "tool_choice") from error
    if not choice.tools:
        return None
    for name, value in (("stop", body.stop), ("response_format", body.response_format)):
        if value and value != {"type": "text"}:
            raise ApiError(
                400, f"{name} and tools are both given; a call has a form of its own, so leave one out", name
            )
    if (body.n or 1) > 1:
        raise ApiError(400, "n is above 1 and tools are given; ask for one answer", "n")
    return choice


def with_objects(dialog: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The dialog where the arguments of calls are objects, as chat templates read them."""
    found = []
    for turn in dialog:
        calls = [_with_object(call) for call in turn.get("tool_calls") or ()]
        found.append({**turn, "tool_calls": calls} if calls else turn)
    return found


def _with_object(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return dict(call)
    try:
        arguments = parse_json(function["arguments"])
    except ValueError:
        return dict(call)
    return {**call, "function": {**function, "arguments": arguments}}


def written_request(request: Request, choice: ToolChoice, tokenizer: Any, native: bool) -> Request:
    """The request whose answer is a call, or may be one."""
    form = call_form(choice.tools, tokenizer, choice.must)
    definitions = tuple(tool.to_openai() for tool in choice.tools) if native else ()
    return replace(request, options=replace(request.options, response_format=form), tools=definitions)


def planned(dialog: Sequence[Mapping[str, Any]], choice: ToolChoice) -> Plan | None:
    """What the words of the user's last turn ask for.

    Raises:
        ApiError: 400, they ask for a tool and it is not clear about which medium.
    """
    try:
        return plan(dialog, choice.tools)
    except UserError as error:
        raise refused(error, "messages") from error


def call_text(found: Plan, answers: Sequence[str]) -> str:
    """The call whose arguments are what the model perceives, as a model would write it.

    Raises:
        UserError: nothing that fits is perceived.
    """
    arguments = check_arguments(found.tool, found.arguments(answers))
    return json.dumps({"name": found.tool.name, "arguments": arguments}, ensure_ascii=False)


def told_result(dialog: Sequence[Mapping[str, Any]], choice: ToolChoice) -> str | None:
    """What is answered where the client has brought a result, for a model that cannot read one.

    None where the last turn is no result.
    """
    if not dialog or dialog[-1].get("role") != "tool":
        return None
    result = _words(dialog[-1].get("content"))
    try:
        found = plan(dialog, choice.tools)
    except UserError:
        found = None
    calls = [call for turn in dialog for call in turn.get("tool_calls") or ()]
    function = (calls[-1].get("function") or {}) if calls else {}
    arguments = function.get("arguments")
    if found is None or function.get("name") != found.tool.name or not isinstance(arguments, Mapping):
        return result
    return found.says(arguments, result)


def _words(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(
            str(part["text"]) for part in content if isinstance(part, Mapping) and part.get("type") == "text"
        )
    return str(content or "")


@dataclass
class Given:
    """An answer that needs no further token; it stands where a
    :class:`~imagebind_llm.serving.service.Running` stands.

    Attributes:
        text: the answer, or a call as a model would write it.
        prompt_tokens: that were read on the way to it.
        tokens: that were written on the way to it.
    """

    text: str
    prompt_tokens: int = 0
    tokens: int = 0
    conditions: Conditions = field(default_factory=lambda: Conditions(None))
    prepared: None = None

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """One piece."""
        yield Piece(0, self.text, "stop", self.tokens)

    def close(self) -> None:
        """There is nothing to give back."""


class CallText:
    """Text of one answer as it comes → what OpenAI's ``delta`` holds: words, or a call.

    Attributes:
        calls: the call of the answer so far, in a list of at most one, as OpenAI's ``tool_calls``.
    """

    def __init__(self) -> None:
        self._held = ""
        self._words = False
        self.calls: list[dict[str, Any]] = []

    def add(self, text: str) -> dict[str, Any] | None:
        """The delta of some more text; None where it is not clear yet."""
        if self._words:
            return {"content": text} if text else None
        self._held += text
        if self.calls:
            return self._more(self._held[:-_TAIL])
        head = _HEAD.match(self._held)
        if head is None:
            begun = self._held.lstrip()
            if any(start.startswith(begun[: len(start)]) for start in _BEGINNINGS):
                return None
            return self._as_words()
        self._held = self._held[head.end() :]
        function = {"name": head[1], "arguments": ""}
        call = {"id": new_id(), "type": "function"}
        self.calls.append({**call, "function": dict(function)})
        return {"tool_calls": [{"index": 0, **call, "function": function}]}

    def rest(self) -> list[dict[str, Any]]:
        """The deltas that are left when the text has ended."""
        if not self.calls:
            found = None if self._words else self._as_words()
        else:
            found = self._more(self._held.rstrip().removesuffix(CLOSE).rstrip().removesuffix("}"))
        return [] if found is None else [found]

    def reason(self, given: str | None) -> str | None:
        """The reason why the answer ends."""
        return "tool_calls" if self.calls and given == "stop" else given

    def _as_words(self) -> dict[str, Any] | None:
        self._words, text = True, self._held
        return {"content": text} if text else None

    def _more(self, text: str) -> dict[str, Any] | None:
        if not text:
            return None
        self._held = self._held[len(text) :]
        self.calls[0]["function"]["arguments"] += text
        return {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}


def perceiving(found: Plan, options: Options) -> list[Request]:
    """What the model is asked before the call can be told of."""
    own = replace(options, response_format=None)
    return [Request(question, own) for question in found.questions()]
