"""A dialog with a memory."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.inference.request import Answer, Options, Request
from imagebind_llm.model.messages import Message, media_items, user_message

if TYPE_CHECKING:
    from imagebind_llm.inference.pipeline import AnswerStream


class Chat:
    """A multi-turn dialog. Make one with :meth:`Assistant.chat`.

    Later turns see the media of the latest turn that brought some. When the dialog outgrows the model's
    context, the oldest turns are forgotten (``forgotten`` counts them); the media that the rest refers to
    are kept.

    Args:
        ask: answers a request.
        stream: likewise, in pieces.
        count: the number of tokens of a dialog that waits for its answer.
        context_length: most tokens of a dialog with its answer; None if nobody knows.
        system: a system message that is never forgotten.
        options: fields of :class:`~imagebind_llm.inference.request.Options`, for all turns.
    """

    def __init__(
        self,
        ask: Callable[[Request], Answer],
        stream: "Callable[[Request], AnswerStream]",
        count: Callable[[Sequence[Message]], int],
        context_length: int | None = None,
        system: str | None = None,
        **options: Any,
    ) -> None:
        self._ask = ask
        self._stream = stream
        self._count = count
        self._context_length = context_length
        self._options = Options.make(**options)
        self._system: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        self._turns: list[Message] = []
        self.forgotten = 0

    def __repr__(self) -> str:
        turns = sum(turn["role"] == "user" for turn in self._turns)
        seen = latest_media(self._turns)
        return (
            f"Chat({turns} turn{'' if turns == 1 else 's'}"
            + (f", {self.forgotten} forgotten" if self.forgotten else "")
            + (f", about {', '.join(seen)}" if seen else ", no media")
            + (", with a system message)" if self._system else ")")
        )

    @property
    def messages(self) -> list[Message]:
        """The dialog so far, as messages."""
        return [*self._system, *self._turns]

    def clear(self) -> None:
        """Forget everything but the system message."""
        self._turns.clear()
        self.forgotten = 0

    def send(self, question: str, **media: Any) -> Answer:
        """Say something, with media as in :meth:`Assistant.ask`, and get the answer.

        After an error the dialog is as it was before.
        """
        turns, forgotten = self._extended(question, media)
        answer = self._ask(Request([*self._system, *turns], self._options))
        self._accept(turns, forgotten, answer.text)
        return answer

    def stream(self, question: str, **media: Any) -> "AnswerStream":
        """As :meth:`send`, in pieces. The turn counts once the answer has been read to its end.

        What is wrong with the question is raised here, before the first piece.
        """
        turns, forgotten = self._extended(question, media)
        pieces = self._stream(Request([*self._system, *turns], self._options))
        pieces.when_done(lambda answer: self._accept(turns, forgotten, answer.text))
        return pieces

    def _accept(self, turns: list[Message], forgotten: int, answer: str) -> None:
        self._turns = [*turns, {"role": "assistant", "content": answer}]
        self.forgotten = forgotten

    def _extended(self, question: str, media: dict[str, Any]) -> tuple[list[Message], int]:
        """The dialog with one more question, short enough to leave room for an answer."""
        if not isinstance(question, str):
            raise UserError(f"the question is {short(question)}; expected some words")
        if not question.strip():
            raise UserError("the question is empty; say something")
        turns = [*self._turns, user_message(question, media_items(media))]
        forgotten = self.forgotten
        length = self._context_length
        while length is not None and len(turns) > 2:
            tokens = self._count([*self._system, *turns])
            if tokens <= length - min(self._options.max_new_tokens or length, length // 4):
                break
            turns = _without_oldest(turns)
            forgotten += 1
        return turns, forgotten


def latest_media(turns: Sequence[Message]) -> list[str]:
    """Modalities of the media that the next turn sees."""
    for turn in reversed(turns):
        content = turn["content"]
        found = [
            str(part["type"])
            for part in ([] if isinstance(content, str) else content)
            if part["type"] != "text" or part.get("as_media")
        ]
        if found:
            return found
    return []


def _without_oldest(turns: list[Message]) -> list[Message]:
    """``turns`` without the first question and answer; its media stay if later turns refer to them."""
    gone, rest = turns[0], turns[2:]
    media = [part for part in gone["content"] if part["type"] != "text" or part.get("as_media")]
    first = rest[0]
    brings = any(part["type"] != "text" or part.get("as_media") for part in first["content"])
    if media and not brings:
        rest = [{"role": "user", "content": [*media, *first["content"]]}, *rest[1:]]
    return rest
