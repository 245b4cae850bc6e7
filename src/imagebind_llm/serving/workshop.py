"""Work that takes long and is no text: making and finding, and answers with tools of the server's own.

It runs in threads of its own, so that neither the event loop nor who writes tokens waits for it. A thread
cannot be ended from outside: work whose client has left, or whose time is over, holds its place until it asks
whether it is still wanted (nano's generator does after each step, others do not) or is done.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from imagebind_llm.common.errors import UserError
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.serving.asking import ServedAssistant
from imagebind_llm.serving.service import Service
from imagebind_llm.skills.generation.opened import Generators
from imagebind_llm.skills.tools.calculator import CALCULATOR
from imagebind_llm.skills.tools.definition import Tool
from imagebind_llm.skills.tools.detector import DetectorTool
from imagebind_llm.skills.tools.generator import GeneratorTool
from imagebind_llm.skills.tools.stopping import Stop, stopped_by

T = TypeVar("T")

_DIALOGS = 4
"""Answers with tools that are under way at once; each mostly waits for the model."""


class Workshop:
    """Tools of a server.

    Args:
        service: answers questions, and says what the limits are. Its settings name the generators and the
            detector.

    Attributes:
        generators: what makes things; None where no generator can be imported.
        finder: what finds things.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._bot = ServedAssistant(service)
        self._making = ThreadPoolExecutor(1, "imagebind-llm-making")
        self._asking = ThreadPoolExecutor(_DIALOGS, "imagebind-llm-tools")
        settings = service.settings
        self._talking = 0
        self.generators: Generators | None = None
        try:
            self.generators = Generators(settings.generators or ("nano",))
        except UserError:
            if settings.generators:
                raise
        self.finder = DetectorTool(settings.detector)
        self.tools: dict[str, Tool] = {CALCULATOR.name: CALCULATOR}
        if self.generators is not None and self.generators.kinds:
            self.tools["generator"] = GeneratorTool(self.generators).tool()
        if "image" in service.assistant.modalities:
            self.tools["detector"] = self.finder.tool()

    @property
    def bot(self) -> Assistant:
        """The model, for work in this workshop's threads."""
        return cast(Assistant, self._bot)

    def card(self) -> dict[str, Any]:
        """What ``/v1/models`` tells of it."""
        kinds = [] if self.generators is None else list(self.generators.kinds)
        return {"tools": list(self.tools), "makes": kinds}

    async def make(self, work: Callable[[], T]) -> T:
        """The result of heavy work, one at a time.

        Raises:
            ApiError: too many are inside, or the time is over.
        """
        self._bot.loop = asyncio.get_running_loop()
        self._service.enter()
        stop = Stop()
        try:
            return await self._service.timed(self._in(self._making, _ending(work, stop)))
        finally:
            stop.set()
            self._service.leave()

    async def talk(self, work: Callable[[], T]) -> T:
        """The result of a dialog with tools. It is counted apart from its questions to the model, which need
        places of their own.

        Raises:
            ApiError: too many are inside, or the time is over.
        """
        self._bot.loop = asyncio.get_running_loop()
        if self._talking >= self._service.settings.max_rows + self._service.settings.max_queue:
            raise self._service.full(self._talking)
        self._talking += 1
        try:
            return await self._service.timed(self._in(self._asking, work))
        finally:
            self._talking -= 1

    @staticmethod
    async def _in(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    def close(self) -> None:
        """Begin nothing new."""
        for one in (self._making, self._asking):
            one.shutdown(wait=False, cancel_futures=True)


def _ending(work: Callable[[], T], stop: Stop) -> Callable[[], T]:
    """The same work, which can see that nobody waits for it any more."""

    def ended() -> T:
        with stopped_by(stop):
            return work()

    return ended
