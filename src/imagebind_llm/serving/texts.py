"""Tokens → text of one answer, up to the texts that end it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imagebind_llm.inference.detokenizer import Detokenizer
from imagebind_llm.inference.engine import Event


@dataclass(frozen=True)
class TokenLogprob:
    """A token with the natural logarithm of its probability, and those of the likeliest tokens."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...]


class AnswerText:
    """Collects the tokens of one answer.

    Args:
        tokenizer: of the language model.
        stop: texts that end the answer; they are not part of it.

    Attributes:
        tokens: how many have come, the end token included.
        stopped: whether one of ``stop`` has come.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._text = Detokenizer(tokenizer)
        self._stop = tuple(stop)
        self._held = ""
        self.tokens = 0
        self.stopped = False

    def add(self, event: Event) -> str:
        """The text that is certain after one more token; what may be the beginning of a stop waits."""
        assert event.token is not None, "an event without error has a token"
        self.tokens += 1
        return self._release(
            self._text.add(event.token) + (self._text.rest() if event.last else ""), event.last
        )

    def logprob(self, event: Event) -> TokenLogprob | None:
        """Of the token of ``event``, if they were asked for."""
        if event.logprob is None:
            return None
        assert event.token is not None, "an event without error has a token"
        return TokenLogprob(
            self._word(event.token),
            event.logprob,
            tuple((self._word(token), value) for token, value in event.top),
        )

    def _word(self, token: int) -> str:
        return str(self._tokenizer.decode([token]))

    def _release(self, piece: str, last: bool) -> str:
        if not self._stop:
            return piece
        text = self._held + piece
        places = [place for stop in self._stop if (place := text.find(stop)) >= 0]
        if places:
            self.stopped, self._held = True, ""
            return text[: min(places)]
        kept = 0 if last else max(_overlap(text, stop) for stop in self._stop)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest beginning of ``stop`` that ends ``text``."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
