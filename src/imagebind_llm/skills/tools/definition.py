"""What a tool is: a name, what it does, a JSON schema of its arguments, and the function that does it."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from imagebind_llm.common.errors import UserError, one_line, reason_of, require, short
from imagebind_llm.common.names import refuse_unknown
from imagebind_llm.inference.response_format import schema_text
from imagebind_llm.skills.tools.routes import Route, read_routes
from imagebind_llm.skills.tools.separate import InProcess

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What a tool may be called: as OpenAI's API says."""
ROUTES = "x-routes"
"""Key of a definition that holds its routes: ours, not OpenAI's."""
FEATURE = "tools"
_NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}


@dataclass(frozen=True)
class Tool:
    """Something that can be called.

    Attributes:
        name: 1 to 64 letters, digits, ``_`` and ``-``.
        description: what it does and when to call it, for the model.
        parameters: JSON schema of its arguments, of type object.
        run: takes the arguments by name and gives text, or what JSON can hold; it may be a coroutine
            function; or an :class:`~imagebind_llm.inference.calls.Outcome` with files that it made. None:
            whoever asked makes the call (a client of the API).
        confirm: whether each call has to be confirmed first.
        seconds: its own time limit, s; None: that of the toolbox.
        characters: its own limit of characters of a result; None: that of the toolbox.
        media: whether ``run`` takes the media of the question, as the keyword argument ``media``.
        assistant: whether ``run`` takes the model that is asked, as the keyword argument ``assistant``;
            :class:`~imagebind_llm.skills.tools.use.ToolUser` gives it.
        routes: how people ask for it, for models that were never trained on tools
            (:mod:`imagebind_llm.skills.tools.routes`).
    """

    name: str
    description: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    run: Callable[..., Any] | None = None
    confirm: bool = False
    seconds: float | None = None
    characters: int | None = None
    media: bool = False
    assistant: bool = False
    routes: tuple[Route, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise UserError(f"a tool is called {short(self.name)}; expected 1 to 64 letters, digits, _ and -")
        if not isinstance(self.description, str):
            raise UserError(
                f"tool {self.name!r}: the description is {short(self.description)}; expected a string"
            )
        schema_text(self.parameters, f"tool {self.name!r}: parameters")
        if self.parameters.get("type", "object") != "object":
            kind = short(self.parameters["type"])
            raise UserError(f"tool {self.name!r}: parameters are of type {kind}; expected 'object'")

    @classmethod
    def of(cls, function: Callable[..., Any], **changes: Any) -> "Tool":
        """A tool from a Python function: its name, its docstring, and its type hints.

        The first paragraph of the docstring is the description; its section ``Args:``, in Google's style,
        describes the parameters.

        Args:
            function: all its parameters can be given by name and have type hints.
            changes: other attributes, for example ``confirm=True``; and ``process=True``: it runs in a
                process of its own, which is killed when the time of the call is over
                (:mod:`imagebind_llm.skills.tools.separate`).

        Raises:
            UserError: a parameter cannot be described.
        """
        name = str(changes.pop("name", getattr(function, "__name__", "")))
        alone = InProcess(function, checked=True) if changes.pop("process", False) else None
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise UserError(
                    f"tool {name!r}: {parameter} cannot be given by name; use parameters that can"
                )
            if parameter.annotation is inspect.Parameter.empty:
                raise UserError(
                    f"tool {name!r}: {parameter.name!r} has no type hint; write for example : int"
                )
        library = require("pydantic", "tools", FEATURE)
        try:
            schema = library.TypeAdapter(function).json_schema()
            checked = library.validate_call(function)
        except Exception as error:  # a type that no JSON stands for
            raise UserError(
                f"tool {name!r} cannot be described: {reason_of(error)}; use types that JSON has"
            ) from error
        about, described = _docstring(function)
        for key, words in described.items():
            if key in schema.get("properties", {}):
                schema["properties"][key] = {**schema["properties"][key], "description": words}
        given: dict[str, Any] = {
            "description": about,
            "parameters": schema,
            "run": alone or checked,
            **changes,
        }
        return cls(name, **given)

    @classmethod
    def read(cls, given: Any, where: str = "tool", routes: bool = True) -> "Tool":
        """A tool from OpenAI's form: ``{"type": "function", "function": {"name": …, "parameters": …}}``.

        Args:
            given: the definition.
            where: what it is called in messages.
            routes: whether it may bring routes; not where it comes from somebody who is not trusted.

        Raises:
            UserError: it is malformed.
        """
        if not isinstance(given, Mapping) or given.get("type") != "function":
            raise UserError(
                f"{where} is {short(given)}; expected {{'type': 'function', 'function': {{'name': …}}}}"
            )
        refuse_unknown(given, ("type", "function"), what=f"key in {where}:")
        own = given.get("function")
        if not isinstance(own, Mapping):
            raise UserError(f"{where}.function is {short(own)}; expected {{'name': …, 'parameters': {{…}}}}")
        known = ("name", "description", "parameters", "strict", *((ROUTES,) if routes else ()))
        refuse_unknown(own, known, what=f"key in {where}.function:")
        return cls(
            name=own.get("name", ""),
            description=own.get("description") or "",
            parameters=_NOTHING if own.get("parameters") is None else own["parameters"],
            routes=read_routes(own.get(ROUTES), f"{where}.function.{ROUTES}"),
        )

    def with_run(self, run: Callable[..., Any], **changes: Any) -> "Tool":
        """The same, called by ``run``."""
        return replace(self, run=run, **changes)

    def bound(self, assistant: Any) -> "Tool":
        """The same, given the model that is asked where it takes one."""
        if not self.assistant or self.run is None:
            return self
        return replace(self, run=partial(self.run, assistant=assistant), assistant=False)

    def to_openai(self) -> dict[str, Any]:
        """OpenAI's form, as chat templates read it."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}


def read_tools(given: Any, where: str = "tools") -> list[Tool]:
    """Tools from a list of functions, of definitions in OpenAI's form, and of tools.

    Raises:
        UserError: it is no list, one of them is malformed, or two have one name.
    """
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Sequence):
        raise UserError(f"{where} is {short(given)}; expected a list")
    tools = []
    for number, one in enumerate(given):
        place = f"{where}[{number}]"
        if isinstance(one, Tool):
            tools.append(one)
        else:
            tools.append(Tool.of(one) if callable(one) else Tool.read(one, place))
    names = [tool.name for tool in tools]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{where}: two tools are called {twice!r}; give each a name of its own")
    return tools


def _docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """The description, and those of the parameters."""
    text = inspect.getdoc(function) or ""
    if not text:
        return "", {}
    from transformers.utils.chat_template_utils import parse_google_format_docstring

    about, described, _ = parse_google_format_docstring(text)
    return one_line(about or "", 1000), {
        key: one_line(words, 1000) for key, words in (described or {}).items()
    }
