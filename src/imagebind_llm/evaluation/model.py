"""The model under test, as suites see it. An assistant is one; tests put an oracle in its place."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol


class Answered(Protocol):
    """An answer; see :class:`~imagebind_llm.inference.request.Answer`."""

    @property
    def text(self) -> str:
        """What was answered."""
        ...


class ModelUnderTest(Protocol):
    """The public methods of an ``Assistant`` that an evaluation needs."""

    def ask_batch(self, requests: Iterable[Mapping[str, Any]]) -> Sequence[Answered | Exception]:
        """Answers, or the error in place of one, in the order of the requests."""
        ...
