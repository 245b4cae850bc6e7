"""Options of tools, and what they mean."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.common.errors import UserError

if TYPE_CHECKING:
    from imagebind_llm.inference.assistant import Assistant
    from imagebind_llm.inference.calls import ToolCall
    from imagebind_llm.inference.request import Answer, Request
    from imagebind_llm.skills.tools import ToolUser

REFUSED = 3
"""Exit code of an answer for which a call was not made because it was not confirmed: what was asked was not
done, or not all of it. (2 is for what is wrong with the request, 1 for our own faults.)"""

ToolOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tool",
        metavar="NAME|MODULE:FUNCTION",
        help="A tool that may be called: calculator, generator, detector, ocr, transcribe=WHISPER_FOLDER, or "
        "a function of a module of yours, with type hints. May be given several times.",
    ),
]
ToolsFileOption = Annotated[
    Path | None,
    typer.Option(
        "--tools-file", metavar="FILE.json", help="Tools, web APIs and MCP servers (docs/tools.md)."
    ),
]
ToolChoiceOption = Annotated[
    str, typer.Option("--tool-choice", help="auto, none, required, or the name of a tool.")
]
YesOption = Annotated[
    bool,
    typer.Option(
        "--yes",
        help="Confirm each call of a tool that has to be confirmed. Without it you are asked; if a call was "
        f"refused, or there was nobody to ask, the answer is printed and the exit code is {REFUSED}.",
    ),
]
SaveOption = Annotated[
    Path,
    typer.Option("--save", metavar="FOLDER", help="Where files go that tools make. Nothing is overwritten."),
]


def read_tools_given(names: Sequence[str] | None, file: Path | None, choice: str) -> list[Any]:
    """The tools of ``--tool`` and ``--tools-file``.

    Raises:
        UserError: there is none of a name, or the file is malformed; or ``--tool-choice`` names none of them,
            or asks for a call where there is no tool.
    """
    if not names and file is None:
        if choice not in ("auto", "none"):
            raise UserError(f"--tool-choice is {choice!r}, and no tool is given; add --tool or --tools-file")
        return []
    from imagebind_llm.skills.tools.catalogue import read_tools_file, tool_named
    from imagebind_llm.skills.tools.choice import read_choice
    from imagebind_llm.skills.tools.definition import read_tools

    found = [tool_named(name) for name in names or ()]
    found += read_tools_file(file) if file is not None else []
    read_choice(choice, read_tools(found))
    return found


def tool_user(bot: "Assistant", tools: list[Any], yes: bool) -> "ToolUser":
    """The model with tools. Each call is shown on standard error; ``yes``, or who types, confirms it."""
    from imagebind_llm.skills.tools import ToolUser

    return ToolUser(bot, tools, confirm=lambda call: yes or _asked(call), shown=_show)


def answer(bot: "Assistant", tools: list[Any], request: "Request", choice: str, yes: bool) -> "Answer":
    """The answer with tools."""
    user = tool_user(bot, tools, yes)
    found = user.answer(request, choice)
    if not found.calls and choice == "auto":
        names = ", ".join(tool.name for tool in user.toolbox.tools)
        typer.echo(f"note: no tool was called: these words ask for none of {names}", err=True)
    return found


def show_words(answer: "Answer", files: Sequence[Path]) -> None:
    """Print an answer and the paths of the files that tools made on the way to it."""
    typer.echo(answer.text)
    for path in files:
        typer.echo(str(path))
    if not answer.text:
        typer.echo(shared.EMPTY_ANSWER, err=True)


def _show(call: "ToolCall") -> None:
    for one in call.perceived:
        typer.echo(f"  {one.medium}: {one.answer}", err=True)
    typer.echo(f"  {call}", err=True)


def _asked(call: "ToolCall") -> bool:
    if not sys.stdin.isatty():
        raise UserError(f"{call.name} has to be confirmed; add --yes to confirm its calls")
    return typer.confirm(f"call {call.name} with {dict(call.arguments)}?", err=True)
