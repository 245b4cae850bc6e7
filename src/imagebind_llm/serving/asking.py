"""The served model for work that runs in a thread: it asks through the service, as every request does."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from imagebind_llm.inference.request import Answer, Request
from imagebind_llm.serving.service import Job, Service

if TYPE_CHECKING:
    from imagebind_llm.inference.assistant import Assistant


class ServedAssistant:
    """Stands where an :class:`~imagebind_llm.inference.assistant.Assistant` stands, in a thread that is not
    the event loop's.

    Questions share the batch of the service. All else is the assistant's own.

    Args:
        service: answers.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._assistant: Assistant = service.assistant
        self.loop: asyncio.AbstractEventLoop | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._assistant, name)

    def ask_batch(self, requests: Iterable[Request]) -> list[Answer]:
        """The answers, one after the other.

        Raises:
            UserError: what is wrong with a request.
            ApiError: there is no room, or no time.
        """
        assert self.loop is not None, "the workshop says which loop it is"
        return [asyncio.run_coroutine_threadsafe(self._answered(one), self.loop).result() for one in requests]

    def ask(self, question: str, *, media: Mapping[str, Any] | None = None, **options: Any) -> Answer:
        """The answer to one question."""
        return self.ask_batch([Request.make(question, media, **options)])[0]

    async def _answered(self, request: Request) -> Answer:
        async def asked() -> Job:
            return Job(request, request.options)

        running = await self._service.open(asked)
        try:
            pieces = [piece async for piece in running.pieces()]
        finally:
            running.close()
        last = pieces[-1]
        return Answer(
            text="".join(piece.text for piece in pieces).strip(),
            finish_reason="length" if last.finish_reason == "length" else "stop",
            prompt_tokens=running.prompt_tokens,
            new_tokens=last.tokens,
            seconds=0.0,
            confidence=last.confidence,
        )
