"""Calls, made: allowed, checked, confirmed, limited in time, and logged."""

import asyncio
import inspect
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagebind_llm.common.errors import UserError, one_line, reason_of
from imagebind_llm.common.names import refuse_unknown
from imagebind_llm.inference.calls import MadeFile, Outcome, Perceived, ToolCall, new_id
from imagebind_llm.model.messages import MediaItem
from imagebind_llm.skills.tools.arguments import check_arguments
from imagebind_llm.skills.tools.definition import Tool, read_tools
from imagebind_llm.skills.tools.stopping import Stop, ended_by, stopped_by

_THREAD = "tool "
_MOST_LEFT = 8
"""Calls that have run out of time and do not end, from which on no further call is made until one ends."""


class NotConfirmed(UserError):  # noqa: N818 - it is no fault
    """A call had to be confirmed and was not."""


@dataclass(frozen=True)
class Limits:
    """How far tools may go.

    Attributes:
        steps: calls for one question.
        seconds: for one question, s: no call is begun after.
        call_seconds: for one call, s.
        result: characters of a result; the rest is cut off.
    """

    steps: int = 8
    seconds: float = 120.0
    call_seconds: float = 10.0
    result: int = 4000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10**7:
                raise UserError(f"limit {name} is {value!r}; expected a number above 0")


class Toolbox:
    """Tools, and who may call them.

    Args:
        tools: functions, definitions in OpenAI's form, and :class:`~imagebind_llm.skills.tools.Tool` objects.
        allow: names of those that may be called; None: all.
        confirm: is asked before each call of a tool that wants it (:attr:`Tool.confirm`); no such tool is
            called without. It gets the call and says yes or no.
        limits: of time and size.

    Attributes:
        limits: as given.

    Raises:
        UserError: a tool is malformed, or ``allow`` names one that is not there.
    """

    def __init__(
        self,
        tools: Sequence[Any],
        allow: Collection[str] | None = None,
        confirm: Callable[[ToolCall], bool] | None = None,
        limits: Limits | None = None,
    ) -> None:
        found = read_tools(tools)
        known = [tool.name for tool in found]
        refuse_unknown(allow or (), known, what="tool in allow:")
        self.limits = limits or Limits()
        self._tools = {tool.name: tool for tool in found}
        self._allowed = set(known if allow is None else allow)
        self._confirm = confirm
        self._left: list[threading.Thread] = []

    @property
    def tools(self) -> list[Tool]:
        """Those that may be called."""
        return [tool for name, tool in self._tools.items() if name in self._allowed]

    def call(
        self,
        name: str,
        arguments: Any,
        media: Sequence[MediaItem] = (),
        perceived: tuple[Perceived, ...] = (),
    ) -> ToolCall:
        """Make a call. Whatever happens, it comes back as a record with a result or an error of one line.

        Args:
            name: of the tool.
            arguments: by parameter.
            media: those of the question, for tools that take them.
            perceived: what the arguments were made of, for the record.
        """
        given = dict(arguments) if isinstance(arguments, Mapping) else {}
        call = ToolCall(new_id(), one_line(name, 64), given, perceived=perceived)
        started = time.perf_counter()
        result = error = None
        made: tuple[MadeFile, ...] = ()
        refused = False
        try:
            tool = self._granted(name)
            checked = check_arguments(tool, arguments)
            self._confirmed(tool, call)
            started = time.perf_counter()
            found = self._run(tool, checked, media)
            text = found
            if isinstance(found, Outcome):
                text, made = found.text, found.made
            result = self._text(tool, text)
        except UserError as wrong:
            error, refused = one_line(wrong), isinstance(wrong, NotConfirmed)
        seconds = time.perf_counter() - started
        return ToolCall(
            call.id, call.name, given, result, error, seconds, perceived, made=made, refused=refused
        )

    def _granted(self, name: str) -> Tool:
        tool = self._tools.get(name)
        if tool is None:
            raise UserError(
                f"there is no tool {one_line(name, 64)!r}; there are {', '.join(self._tools) or 'none'}"
            )
        if name not in self._allowed:
            raise UserError(f"{name} is not allowed here")
        if tool.run is None:
            raise UserError(f"{name} cannot be called from here; it has a definition only")
        return tool

    def _confirmed(self, tool: Tool, call: ToolCall) -> None:
        if not tool.confirm:
            return
        if self._confirm is None:
            raise NotConfirmed(f"{tool.name} has to be confirmed, and there is nobody to ask")
        try:
            said = self._confirm(call)
        except UserError as error:  # nobody can be asked
            raise NotConfirmed(str(error)) from error
        if said is not True:
            raise NotConfirmed(f"{tool.name} was not confirmed")

    def _run(self, tool: Tool, arguments: dict[str, Any], media: Sequence[MediaItem]) -> Any:
        """What the tool gives, in a thread. One that does not end in time is told to, and left behind."""
        self._left = [thread for thread in self._left if thread.is_alive()]
        if len(self._left) >= _MOST_LEFT:
            names = Counter(thread.name.removeprefix(_THREAD) for thread in self._left)
            which = ", ".join(f"{count} of {name}" for name, count in names.items())
            raise UserError(
                f"{len(self._left)} calls ran out of time and still run ({which}); no further call is made "
                "before one of them ends"
            )
        stop = Stop()
        limit = self.limits.call_seconds if tool.seconds is None else tool.seconds
        outcome: list[tuple[Any, BaseException | None]] = []

        def work() -> None:
            try:
                assert tool.run is not None, "it was granted"
                with stopped_by(stop):
                    found = tool.run(**arguments, **({"media": media} if tool.media else {}))
                    if inspect.iscoroutine(found):
                        found = asyncio.run(_cancelled_in_time(found))
                outcome.append((found, None))
            except BaseException as error:
                outcome.append((None, error))

        thread = threading.Thread(target=work, name=f"{_THREAD}{tool.name}", daemon=True)
        thread.start()
        thread.join(limit)
        if not outcome:
            stop.set()
            self._left.append(thread)
            raise UserError(f"{tool.name} did not end in {limit:g} s")
        found, error = outcome[0]
        if error is not None:
            said = (
                str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {reason_of(error)}"
            )
            raise UserError(one_line(said, 200)) from error
        return found

    def _text(self, tool: Tool, found: Any) -> str:
        """A result as text of limited size."""
        if not isinstance(found, str):
            try:
                found = json.dumps(found, ensure_ascii=False)
            except (TypeError, ValueError, RecursionError) as error:
                kind = type(found).__name__
                raise UserError(
                    f"its result is a {kind}, which is neither text nor JSON ({error})"
                ) from error
        found = found.encode("utf-8", "replace").decode()
        most = self.limits.result if tool.characters is None else tool.characters
        return (
            found if len(found) <= most else f"{found[:most]} … (cut: {most:,} of {len(found):,} characters)"
        )


async def _cancelled_in_time(work: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine gives; it is cancelled when the time of the call is over."""
    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
    with ended_by(lambda: loop.call_soon_threadsafe(task.cancel)):
        return await task
