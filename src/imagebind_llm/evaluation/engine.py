"""Who answers: a model in this process. Another way to have one is :mod:`.endpoint`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from imagebind_llm.evaluation.suite import Floats

if TYPE_CHECKING:
    from imagebind_llm.inference.assistant import Assistant


class Said(str):
    """The text of an answer, with how sure the model was of it.

    Attributes:
        confidence: 0 … 1 (:mod:`imagebind_llm.inference.confidence`), or None.
    """

    confidence: float | None

    def __new__(cls, text: str, confidence: float | None = None) -> Said:
        """A text; ``confidence`` as the attribute."""
        own = super().__new__(cls, text)
        own.confidence = confidence
        return own


def is_confidence(value: Any) -> bool:
    """Whether ``value``, from somewhere else, is a number from 0 to 1."""
    return type(value) in (int, float) and 0 <= value <= 1


class Engine(Protocol):
    """What an evaluation needs of a model. Tests put an oracle in its place."""

    @property
    def modalities(self) -> Sequence[str] | None:
        """Names of what the encoder takes; None: not known."""
        ...

    def answers(self, requests: Iterable[Mapping[str, Any]]) -> Iterator[str | Exception]:
        """The text that answers each request, or its error, in order, as they come.

        A :class:`Said` where the confidence is known.
        """
        ...

    def embeddings(self, requests: Iterable[Mapping[str, Any]]) -> Iterator[Floats | Exception]:
        """The unit embedding ``[D]`` of the one medium of each request, or its error, in order."""
        ...


class LocalEngine:
    """An assistant in this process. While it answers, the media of the next requests are decoded."""

    def __init__(self, assistant: Assistant) -> None:
        self.assistant = assistant

    @property
    def modalities(self) -> Sequence[str]:
        """See :class:`Engine`."""
        return self.assistant.modalities

    def answers(self, requests: Iterable[Mapping[str, Any]]) -> Iterator[str | Exception]:
        """See :class:`Engine`."""
        for found in self.assistant.iter_batch(requests):
            yield found if isinstance(found, Exception) else Said(found.text, found.confidence)

    def embeddings(self, requests: Iterable[Mapping[str, Any]]) -> Iterator[Floats | Exception]:
        """See :class:`Engine`."""
        from imagebind_llm.model.messages import media_items

        media = (item for request in requests for item in media_items(request))
        for found in self.assistant.iter_embed(media):
            yield found if isinstance(found, Exception) else np.asarray(found, dtype=np.float64)
