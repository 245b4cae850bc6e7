"""What stands behind the server: it writes tokens, in this process, in another one, or on a cluster."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from imagebind_llm.inference.engine import Event, TokenRequest


@dataclass(frozen=True)
class Load:
    """How busy a backend is: sequences that write tokens, and those that wait for a place."""

    running: int
    waiting: int


class TokenBackend(Protocol):
    """Writes tokens for many requests at once; they join and leave between two steps."""

    @property
    def context_length(self) -> int | None:
        """Tokens of a prompt with its answer, or None if nobody knows."""
        ...

    def new_tokens(self, prompt: int, wanted: int | None) -> int:
        """How many tokens the answer to a prompt of ``prompt`` tokens may have.

        Raises:
            UserError: the prompt alone fills the context.
        """
        ...

    def stream(self, request: TokenRequest, session: str | None = None) -> AsyncGenerator[Event, None]:
        """The events of one request as they come, up to one that is :attr:`~Event.last`.

        Closing it early (or cancelling who waits for it) ends the sequence and frees its place.

        Args:
            request: what is asked.
            session: names the dialog that it belongs to, where one may go on: it is best written where the
                dialog was read before.

        Raises:
            UserError: a request that cannot be answered.
            BackendLostError: the process behind it has ended; the request may be sent again.
        """
        ...

    def load(self) -> Load:
        """How busy it is now."""
        ...

    async def start(self) -> None:
        """Begin; returns when requests can be taken."""
        ...

    async def close(self) -> None:
        """End; sequences that still run get an error."""
        ...


class BackendLostError(RuntimeError):
    """The process that wrote the tokens has ended."""
