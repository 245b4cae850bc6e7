"""A dialog with a memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.inference.request import Answer, Options, Request
from imagebind_llm.model.messages import Message, media_items, read_messages, user_message

if TYPE_CHECKING:
    from imagebind_llm.inference.pipeline import AnswerStream

SUMMARY_TOKENS = 128
"""Longest summary of what is forgotten."""
_SUMMARISE = (
    "Summarise our conversation so far in at most three sentences: what was shown, asked and answered. "
    "Write only the summary."
)
_BEFORE = "Earlier in this conversation: "
"""Stands before a summary in the system message."""


@dataclass(frozen=True)
class _Memory:
    """What the next turn still knows of the first turns: how many of them are left out, and their summary."""

    forgotten: int = 0
    summary: str = ""


class Chat:
    """A multi-turn dialog. Make one with :meth:`Assistant.chat`.

    Later turns see the media of the latest turn that brought some. When the dialog outgrows the model's
    context, or ``window``, the model does not read the oldest turns any more (``forgotten`` counts them); the
    media that the rest refers to are kept. :attr:`history` has everything that was said.

    Args:
        ask: answers a request.
        stream: likewise, in pieces.
        count: the number of tokens of a dialog that waits for its answer.
        context_length: most tokens of a dialog with its answer; None if nobody knows.
        system: a system message that is never forgotten.
        window: most questions that the model reads, the latest included; None: as many as fit.
        summary: whether the model writes a summary of what it will not read any more, which it then reads in
            the system message. It takes a model that can summarise: nano cannot.
        options: fields of :class:`~imagebind_llm.inference.request.Options`, for all turns.

    Raises:
        UserError: an unknown or impossible setting.
    """

    def __init__(
        self,
        ask: Callable[[Request], Answer],
        stream: "Callable[[Request], AnswerStream]",
        count: Callable[[Sequence[Message]], int],
        context_length: int | None = None,
        system: str | None = None,
        window: int | None = None,
        summary: bool = False,
        **options: Any,
    ) -> None:
        if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
            raise UserError(f"window is {short(window)}; expected a whole number of at least 1")
        if not isinstance(summary, bool):
            raise UserError(f"summary is {short(summary)}; expected true or false")
        self._ask = ask
        self._answer: Callable[[Request], Answer] | None = None
        self._stream = stream
        self._count = count
        self._context_length = context_length
        self._options = Options.make(**options)
        self._system = system
        self._window = window
        self._sums_up = summary
        self._turns: list[Message] = []
        self._memory = _Memory()

    def __repr__(self) -> str:
        turns = len(self._turns) // 2
        seen = latest_media(self._turns)
        return (
            f"Chat({turns} turn{'' if turns == 1 else 's'}"
            + (f", {self.forgotten} forgotten" if self.forgotten else "")
            + (f", about {', '.join(seen)}" if seen else ", no media")
            + (", with a system message)" if self._system is not None else ")")
        )

    @property
    def messages(self) -> list[Message]:
        """What the model reads of the dialog so far."""
        return self._read(self._turns, self._memory)

    @property
    def history(self) -> list[Message]:
        """Everything that was said, without the system message: questions and answers in turn."""
        return list(self._turns)

    @property
    def system(self) -> str | None:
        """The system message."""
        return self._system

    @property
    def forgotten(self) -> int:
        """Questions, of the oldest, that the model does not read any more."""
        return self._memory.forgotten

    @property
    def summary(self) -> str:
        """What the model wrote of the forgotten turns; empty if nothing."""
        return self._memory.summary

    def clear(self) -> None:
        """Forget everything but the system message."""
        self._turns = []
        self._memory = _Memory()

    def answered_by(self, answer: Callable[[Request], Answer]) -> "Chat":
        """Let something else answer the questions, such as a model with tools. Returns this dialog.

        Summaries are still written by the model alone. Such a dialog has no :meth:`stream`.

        Args:
            answer: answers a request.
        """
        self._answer = answer
        return self

    def send(self, question: str, **media: Any) -> Answer:
        """Say something, with media as in :meth:`Assistant.ask`, and get the answer.

        After an error the dialog is as it was before.
        """
        return self._answered(_question(question, media), self._options)

    def stream(self, question: str, **media: Any) -> "AnswerStream":
        """As :meth:`send`, in pieces. The turn counts once the answer has been read to its end.

        What is wrong with the question is raised here, before the first piece.

        Raises:
            UserError: also if the questions are answered by something else (:meth:`answered_by`).
        """
        if self._answer is not None:
            raise UserError("answers with tools are not streamed; use send")
        turns = [*self._turns, _question(question, media)]
        memory = self._remembered(turns)
        pieces = self._stream(Request(self._read(turns, memory), self._options))
        pieces.when_done(lambda answer: self._accept(turns, memory, answer.text))
        return pieces

    def undo(self) -> tuple[str, dict[str, Any]]:
        """Take the last question and its answer back.

        Returns:
            The question and its media, as :meth:`send` takes them.

        Raises:
            UserError: nothing has been asked.
        """
        last = self._last()
        question, media = _asked(self._turns[2 * last])
        self._keep(last)
        return question, media

    def regenerate(self, **options: Any) -> Answer:
        """Answer the last question again, for example with another ``seed`` or ``temperature``.

        Args:
            options: of :class:`~imagebind_llm.inference.request.Options`, for this answer alone.

        Raises:
            UserError: nothing has been asked, or an option that there is not. The dialog is as it was then.
        """
        last = self._last()
        return self._instead(last, self._turns[2 * last], self._options.but(**options))

    def edit(self, turn: int, question: str, **media: Any) -> Answer:
        """Put another question in the place of an earlier one. What came after it is taken back.

        Args:
            turn: which question, from 0; -1 is the last.
            question: the new one.
            media: those of the new question; none given: those that the old one had.

        Raises:
            UserError: there is no such question, or the new one cannot be asked; the dialog is as it was.
        """
        count = len(self._turns) // 2
        if isinstance(turn, bool) or not isinstance(turn, int) or not -count <= turn < count:
            known = f"; there are {count}, numbered from 0" if count else "; nothing has been asked yet"
            raise UserError(f"there is no question {short(turn)} to edit{known}")
        place = turn % count
        asked = _question(question, media or _asked(self._turns[2 * place])[1])
        return self._instead(place, asked, self._options)

    def restore(self, history: Sequence[Message], system: str | None = None) -> None:
        """Go on with a dialog from elsewhere, in the place of this one.

        Args:
            history: questions and answers in turn, as :attr:`history` gives them.
            system: the system message from now on; None: the one that there is.

        Raises:
            UserError: they are not in turn, or malformed. The dialog is as it was then.
        """
        read = read_messages(history) if history else []
        for number, turn in enumerate(read):
            expected = ("user", "assistant")[number % 2]
            if turn.role != expected:
                raise UserError(
                    f"message {number} is of the role {turn.role!r}; expected {expected!r}: questions and "
                    "answers come in turn"
                )
        if len(read) % 2:
            raise UserError(f"message {len(read) - 1}, the last, has no answer; leave it out")
        self._turns = [
            user_message(turn.text, turn.media)
            if turn.role == "user"
            else {"role": "assistant", "content": turn.text}
            for turn in read
        ]
        self._memory = _Memory()
        self._system = self._system if system is None else system

    def _last(self) -> int:
        """Which question is the last."""
        if not self._turns:
            raise UserError("nothing has been asked yet")
        return len(self._turns) // 2 - 1

    def _keep(self, questions: int) -> None:
        """Forget what came after so many questions."""
        self._turns = self._turns[: 2 * questions]
        if self._memory.forgotten >= questions:
            self._memory = _Memory()  # what is left fits

    def _instead(self, place: int, asked: Message, options: Options) -> Answer:
        """Ask in the place of a question, which is lost only once there is an answer."""
        before = self._turns, self._memory
        self._keep(place)
        try:
            return self._answered(asked, options)
        except BaseException:
            self._turns, self._memory = before
            raise

    def _answered(self, asked: Message, options: Options) -> Answer:
        turns = [*self._turns, asked]
        memory = self._remembered(turns)
        answer = (self._answer or self._ask)(Request(self._read(turns, memory), options))
        self._accept(turns, memory, answer.text)
        return answer

    def _accept(self, turns: list[Message], memory: _Memory, answer: str) -> None:
        self._turns = [*turns, {"role": "assistant", "content": answer}]
        self._memory = memory

    def _read(self, turns: Sequence[Message], memory: _Memory) -> list[Message]:
        """What the model reads of ``turns``: without the forgotten ones, whose media stay if they are the
        latest."""
        gone, rest = turns[: 2 * memory.forgotten], list(turns[2 * memory.forgotten :])
        if rest and not _media_parts(rest[0]):
            carried = next((found for turn in reversed(gone) if (found := _media_parts(turn))), [])
            rest[0] = {**rest[0], "content": [*carried, *rest[0]["content"]]}
        said = [] if self._system is None else [self._system]
        if memory.summary:
            said.append(_BEFORE + memory.summary)
        return [*([{"role": "system", "content": "\n\n".join(said)}] if said else []), *rest]

    def _remembered(self, turns: Sequence[Message]) -> _Memory:
        """How many of the oldest turns are left out, so that there is room for an answer to the last."""
        memory, questions = self._memory, len(turns) // 2 + 1
        forgotten = memory.forgotten
        if self._window is not None:
            forgotten = max(forgotten, questions - self._window)
        while forgotten < questions - 1 and not self._fits(turns, replace(memory, forgotten=forgotten)):
            forgotten += 1
        if forgotten == memory.forgotten:
            return memory
        summary = self._summarised(turns, forgotten) if self._sums_up else ""
        return _Memory(forgotten, summary)

    def _fits(self, turns: Sequence[Message], memory: _Memory) -> bool:
        length = self._context_length
        if length is None:
            return True
        room = min(self._options.max_new_tokens or length, length // 4)
        if self._sums_up and memory.forgotten > self._memory.forgotten:
            room += min(SUMMARY_TOKENS, length // 4)  # the summary is written after this
        return self._count(self._read(turns, memory)) <= length - room

    def _summarised(self, turns: Sequence[Message], forgotten: int) -> str:
        """What the model writes of the turns that it will not read any more, and of those before them; of the
        latest of them, if all are too long to be read at once."""
        length = self._context_length
        most = SUMMARY_TOKENS if length is None else min(SUMMARY_TOKENS, length // 4)
        options = self._options.but(max_new_tokens=most, temperature=0.0, explain=False)
        for first in range(self._memory.forgotten, forgotten):
            shown = self._read(turns[: 2 * forgotten], replace(self._memory, forgotten=first))
            asked = [*shown, {"role": "user", "content": _SUMMARISE}]
            if length is None or self._count(asked) <= length - most:
                return " ".join(self._ask(Request(asked, options)).text.split())
        return self._memory.summary


def latest_media(turns: Sequence[Message]) -> list[str]:
    """Modalities of the media that the next turn sees."""
    for turn in reversed(turns):
        if found := _media_parts(turn):
            return [str(part["type"]) for part in found]
    return []


def _question(question: str, media: Mapping[str, Any]) -> Message:
    if not isinstance(question, str):
        raise UserError(f"the question is {short(question)}; expected some words")
    if not question.strip():
        raise UserError("the question is empty; say something")
    return user_message(question, media_items(media))


def _asked(message: Message) -> tuple[str, dict[str, Any]]:
    """The words and the media of a question, as :meth:`Chat.send` takes them."""
    (turn,) = read_messages([message])
    media: dict[str, Any] = {}
    for item in turn.media:
        media.setdefault(item.modality.value, []).append((item.source, item.weight))
    return turn.text, media


def _media_parts(turn: Message) -> list[Mapping[str, Any]]:
    content = turn["content"]
    return [
        part
        for part in ([] if isinstance(content, str) else content)
        if part["type"] != "text" or part.get("as_media")
    ]
