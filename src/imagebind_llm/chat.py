"""A dialog with a memory."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from imagebind_llm.answers import Answer, Options, Request, media_items, user_message
from imagebind_llm.common.errors import UserError
from imagebind_llm.messages import Message
from imagebind_llm.model.dialog import build_dialog

if TYPE_CHECKING:
    from imagebind_llm.assistant import Assistant


class Chat:
    """A multi-turn dialog. Make one with :meth:`Assistant.chat`.

    Later turns see the media of the latest turn that brought some. When the dialog outgrows the model's
    context, the oldest turns are forgotten (``forgotten`` counts them); the media that the rest refers to
    are kept.

    Args:
        assistant: who answers.
        system: a system message that is never forgotten.
        options: fields of :class:`~imagebind_llm.answers.Options`, for all turns.
    """

    def __init__(self, assistant: "Assistant", system: str | None = None, **options: Any) -> None:
        self._assistant = assistant
        self._options = Options(**options)
        self._system: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        self._turns: list[Message] = []
        self.forgotten = 0

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
        request = Request([*self._system, *turns], self._options)
        (result,) = self._assistant.ask_batch([request])
        if isinstance(result, Exception):
            raise result
        self._accept(turns, forgotten, result.text)
        return result

    def stream(self, question: str, **media: Any) -> Iterator[str]:
        """As :meth:`send`, in pieces. The turn counts once the answer has been read to its end."""
        turns, forgotten = self._extended(question, media)
        pieces = []
        for piece in self._assistant.stream_request(Request([*self._system, *turns], self._options)):
            pieces.append(piece)
            yield piece
        self._accept(turns, forgotten, "".join(pieces))

    def _accept(self, turns: list[Message], forgotten: int, answer: str) -> None:
        self._turns = [*turns, {"role": "assistant", "content": answer}]
        self.forgotten = forgotten

    def _extended(self, question: str, media: dict[str, Any]) -> tuple[list[Message], int]:
        """The dialog with one more question, short enough to leave room for an answer."""
        if not question.strip():
            raise UserError("the question is empty; say something")
        turns = [*self._turns, user_message(question, media_items(media))]
        forgotten = self.forgotten
        length = self._assistant.context_length
        while length is not None and len(turns) > 2:
            tokenizer = self._assistant.processor.tokenizer
            dialog = build_dialog([*self._system, *turns], tokenizer, add_generation_prompt=True)
            if len(dialog) <= length - min(self._options.max_new_tokens or length, length // 4):
                break
            turns = _without_oldest(turns)
            forgotten += 1
        return turns, forgotten


def _without_oldest(turns: list[Message]) -> list[Message]:
    """``turns`` without the first question and answer; its media stay if later turns refer to them."""
    gone, rest = turns[0], turns[2:]
    media = [part for part in gone["content"] if part["type"] != "text" or part.get("as_media")]
    first = rest[0]
    brings = any(part["type"] != "text" or part.get("as_media") for part in first["content"])
    if media and not brings:
        rest = [{"role": "user", "content": [*media, *first["content"]]}, *rest[1:]]
    return rest
