"""Tools by name: those that this package brings, functions of other modules, and files that list tools.

A file of tools is a JSON object::

    {
      "tools": [
        "calculator",
        {"type": "function", "function": {"name": …, "x-routes": […]}, "run": "module:function"}
      ],
      "openapi": [{"document": "api.json", "hosts": ["api.example.org"], "operations": ["getWeather"]}],
      "mcp": [{"command": ["python", "server.py"], "allow": ["search"]}]
    }

Whoever gives such a file trusts it: what it names is imported and started.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError, one_line, reason_of, short
from imagebind_llm.common.files import read_json
from imagebind_llm.common.names import refuse_unknown
from imagebind_llm.skills.tools.calculator import CALCULATOR
from imagebind_llm.skills.tools.definition import Tool
from imagebind_llm.skills.tools.detector import DETECTOR, DetectorTool
from imagebind_llm.skills.tools.generator import GENERATOR, generator_tool
from imagebind_llm.skills.tools.separate import InProcess

BUILT_IN = {tool.name: tool for tool in (CALCULATOR, GENERATOR, DETECTOR)}
_SECTIONS = ("tools", "openapi", "mcp")


def tool_named(name: str) -> Tool:
    """A tool of ours, ``ocr``, ``generator=GENERATORS``, ``detector=PROPOSER``, ``transcribe=FOLDER`` (of a
    Whisper model), or ``module:function``.

    Raises:
        UserError: there is none of this name.
    """
    expert, _, folder = name.partition("=")
    if folder and expert == "transcribe":
        from imagebind_llm.skills.tools.transcriber import Transcriber

        return Transcriber(folder).tool()
    if folder and expert == "generator":
        return generator_tool(folder)
    if folder and expert == "detector":
        from imagebind_llm.skills.detection.proposers import check_proposer

        check_proposer(folder)
        return DetectorTool(folder).tool()
    if name == "ocr":
        from imagebind_llm.skills.tools.text_reader import ocr

        return ocr()
    if ":" in name:
        return Tool.of(_function(name))
    refuse_unknown([name], [*BUILT_IN, "ocr", "transcribe=FOLDER"], what="tool (or module:function)")
    return BUILT_IN[name]


def read_tools_file(path: Path) -> list[Tool]:
    """The tools of a file, see above.

    Raises:
        UserError: it is malformed, or what it names is not there.
    """
    given = read_json(path)
    if not isinstance(given, Mapping):
        raise UserError(f"{path} is {short(given)}; expected an object with {', '.join(_SECTIONS)}")
    refuse_unknown(given, _SECTIONS, what=f"key in {path}:")
    found: list[Tool] = []
    for section in _SECTIONS:
        entries = given.get(section, [])
        if not isinstance(entries, list):
            raise UserError(f"{path}: {section} is {short(entries)}; expected a list")
        for number, entry in enumerate(entries):
            found += _READERS[section](entry, f"{path}: {section}[{number}]", path.parent)
    return found


def with_known_routes(tools: Sequence[Tool]) -> list[Tool]:
    """The same tools, where those that are one of ours (by name and parameters) have its routes.

    So a client of the API that offers the calculator's definition gets calls of nano, too, and brings no
    routes of its own: matching one that somebody else wrote may take forever.
    """
    found = []
    for tool in tools:
        own = BUILT_IN.get(tool.name)
        same = own is not None and dict(own.parameters) == dict(tool.parameters)
        found.append(replace(tool, routes=own.routes) if own is not None and same else tool)
    return found


def _function(name: str) -> Callable[..., Any]:
    """What ``module:function`` names; modules of the current folder count."""
    module, _, function = name.partition(":")
    before = list(sys.path)
    sys.path.insert(0, "")
    try:
        found = getattr(import_module(module), function, None)
    except Exception as error:  # whatever that module raises
        raise UserError(
            f"module {short(module)} of tool {short(name)}: {one_line(reason_of(error), 200)}"
        ) from error
    finally:
        sys.path[:] = before
    if not callable(found):
        raise UserError(f"module {short(module)} has no function {short(function)}")
    return found


def _defined(entry: Any, where: str, folder: Path) -> list[Tool]:
    if isinstance(entry, str):
        return [tool_named(entry)]
    if not isinstance(entry, Mapping):
        raise UserError(f"{where} is {short(entry)}; expected a name or a definition")
    rest = dict(entry)
    run, confirm, process = rest.pop("run", None), rest.pop("confirm", False), rest.pop("process", False)
    tool = Tool.read(rest, where)
    if not isinstance(run, str) or ":" not in run or {type(confirm), type(process)} != {bool}:
        raise UserError(
            f"{where}: run is {short(run)}; expected 'module:function', and confirm and process true or false"
        )
    function = _function(run)
    return [tool.with_run(InProcess(function) if process else function, confirm=confirm)]


def _openapi(entry: Any, where: str, folder: Path) -> list[Tool]:
    from imagebind_llm.skills.tools.openapi import read_api

    return read_api(entry, where, folder)


def _mcp(entry: Any, where: str, folder: Path) -> list[Tool]:
    from imagebind_llm.skills.tools.mcp_servers import read_server

    return read_server(entry, where)


_READERS: dict[str, Callable[[Any, str, Path], list[Tool]]] = {
    "tools": _defined,
    "openapi": _openapi,
    "mcp": _mcp,
}
