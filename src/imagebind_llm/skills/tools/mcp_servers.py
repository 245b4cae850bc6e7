"""The tools of MCP servers (Model Context Protocol), which are started here or spoken to over HTTP.

A server's descriptions are words of somebody else, as its results are. Its tools have to be confirmed unless
whoever lists the server says otherwise, and only those that are listed are offered where a list is given.
"""

import asyncio
import atexit
import contextlib
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from imagebind_llm.common.errors import UserError, one_line, reason_of, require, short
from imagebind_llm.common.names import refuse_unknown
from imagebind_llm.skills.tools.definition import Tool
from imagebind_llm.skills.tools.stopping import ended_by

FEATURE = "MCP servers"
SECONDS = 30.0
"""For connecting, and for an answer; the toolbox's limit counts besides."""
_MOST_TOOLS = 128


class McpServer:
    """A connection that stays open, in a thread of its own.

    Args:
        command: what starts the server; or
        url: where it is (streamable HTTP).

    Raises:
        MissingExtraError: the extra ``mcp`` is not installed.
        UserError: it does not start or does not answer.
    """

    def __init__(self, command: Sequence[str] = (), url: str | None = None) -> None:
        library = require("mcp", "mcp", FEATURE)
        self.name = url or " ".join(command)
        self._server: Any = url or library.StdioServerParameters(command=command[0], args=list(command[1:]))
        self._make = library.Client
        self._began = threading.Event()
        self._error: BaseException | None = None
        self._client: Any = None
        self._stop: asyncio.Event | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="mcp", daemon=True)
        self._thread.start()
        if not self._began.wait(SECONDS) or self._client is None:
            why = "no answer" if self._error is None else one_line(_reason(self._error), 160)
            raise UserError(f"the MCP server {short(self.name)} cannot be used: {why}")
        atexit.register(self.close)

    def close(self) -> None:
        """End the connection, and the server if it was started here."""
        if self._stop is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(5)

    def tools(self) -> list[Any]:
        """What the server offers."""
        found: list[Any] = []
        cursor = None
        while True:
            page = self._wait(self._client.list_tools(cursor=cursor))
            found += page.tools
            cursor = page.next_cursor
            if not cursor or len(found) > _MOST_TOOLS:
                return found

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Call one of its tools.

        Raises:
            UserError: it says that it failed, or the connection is lost.
        """
        result = self._wait(self._client.call_tool(name, dict(arguments), read_timeout_seconds=SECONDS))
        texts = [
            str(getattr(part, "text", f"[{getattr(part, 'type', 'content')}]")) for part in result.content
        ]
        text = "\n".join(texts)
        if result.is_error:
            raise UserError(one_line(text, 200) or "the server says that it failed")
        return text

    def _wait(self, work: Any) -> Any:
        if not self._thread.is_alive():
            work.close()
            raise UserError(f"the MCP server {short(self.name)} has ended")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            with ended_by(future.cancel):
                return future.result(SECONDS)
        except Exception as error:
            future.cancel()
            raise UserError(f"the MCP server {short(self.name)}: {one_line(_reason(error), 160)}") from error

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._began.set()
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        async with self._make(self._server, read_timeout_seconds=SECONDS) as client:
            self._client = client
            self._began.set()
            await self._stop.wait()


def _reason(error: BaseException) -> str:
    """The first cause in a group of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return reason_of(error) or type(error).__name__


def read_server(entry: Any, where: str) -> list[Tool]:
    """The tools of a server.

    Args:
        entry: ``{"command": […]}`` or ``{"url": …}``, and optionally ``allow`` (names of tools) and
            ``confirm`` (false: its tools need not be confirmed). A command that is ``python`` is this one.
        where: what it is called in messages.

    Raises:
        UserError: it is malformed, the server cannot be used, or lacks a tool of ``allow``.
    """
    if not isinstance(entry, Mapping):
        raise UserError(f"{where} is {short(entry)}; expected {{'command': […]}} or {{'url': …}}")
    refuse_unknown(entry, ("command", "url", "allow", "confirm"), what=f"key in {where}:")
    command, url, allow, confirm = (entry.get(key) for key in ("command", "url", "allow", "confirm"))
    words = isinstance(command, list) and bool(command) and all(isinstance(one, str) for one in command)
    if (command is None) == (url is None) or not (words or isinstance(url, str)):
        raise UserError(f"{where} is {short(dict(entry))}; expected a command (a list of words) or a url")
    if isinstance(url, str) and not url.startswith(("http://", "https://")):
        raise UserError(f"{where}: {short(url)} is no http address")
    if not (allow is None or (isinstance(allow, list) and all(isinstance(one, str) for one in allow))):
        raise UserError(f"{where}.allow is {short(allow)}; expected a list of names")
    if confirm not in (None, True, False):
        raise UserError(f"{where}.confirm is {short(confirm)}; expected true or false")
    started = (
        [] if command is None else [sys.executable if command[0] == "python" else command[0], *command[1:]]
    )
    server = McpServer(started, url)
    offered = server.tools()
    refuse_unknown(allow or (), [tool.name for tool in offered], what=f"tool in {where}.allow:")
    wanted = [tool for tool in offered if allow is None or tool.name in allow]
    if len(wanted) > _MOST_TOOLS:
        raise UserError(f"{where}: the server has {len(wanted)} tools; name those to be used in allow")
    return [
        Tool(
            name=re.sub(r"[^a-zA-Z0-9_-]", "_", tool.name)[:64],
            description=one_line(tool.description or tool.title or "", 1000),
            parameters=tool.input_schema,
            run=_calling(server, tool.name),
            confirm=confirm is not False,
        )
        for tool in wanted
    ]


def _calling(server: McpServer, name: str) -> Callable[..., str]:
    return lambda **arguments: server.call(name, arguments)
