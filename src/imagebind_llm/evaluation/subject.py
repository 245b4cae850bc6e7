"""What is evaluated: something that embeds media and answers questions about embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from imagebind_llm.common.modality import Modality
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.inference.driver import Driver
from imagebind_llm.inference.engine import Engine, TokenRequest
from imagebind_llm.inference.perception import raised
from imagebind_llm.inference.request import Options
from imagebind_llm.model.dialog import Message, build_dialog
from imagebind_llm.nano.grammar import Turn

NEW_TOKENS = 32
"""Longest answer in tokens; the grammar's longest has 31."""


@dataclass(frozen=True)
class Question:
    """A dialog that waits for an answer.

    Attributes:
        turn: what is asked last, and its true answer. It is for judging; whoever answers must not look at it.
        messages: the dialog so far, the question last. Media parts are placeholders.
        conditions: ``[n, D]``, one row for each message that brings media; None when none does.
    """

    turn: Turn
    messages: tuple[Message, ...]
    conditions: Tensor | None

    @classmethod
    def about(cls, turn: Turn, condition: Tensor | None) -> Question:
        """A single question about one condition ``[D]``, or about nothing."""
        conditions = None if condition is None else condition[None]
        return cls(turn, (user(turn.question, condition is not None),), conditions)


def user(text: str, media: bool) -> Message:
    """A user's message. ``media`` puts a placeholder into it, which stands for a condition given apart."""
    parts: list[dict[str, Any]] = [{"type": "image", "image": "given as an embedding"}] if media else []
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


class Subject(Protocol):
    """Who is evaluated. Tests put an oracle in its place."""

    @property
    def has_cache(self) -> bool:
        """Whether :meth:`enhance` can be called."""
        ...

    def embed(self, modality: Modality, tensors: Sequence[Tensor]) -> Tensor:
        """Unit rows ``[n, D]`` of media tensors without batch axis."""
        ...

    def enhance(self, conditions: Tensor) -> Tensor:
        """Conditions ``[n, D]`` moved towards cached pictures, with the model's own settings."""
        ...

    def uses_cache(self, modalities: Sequence[Modality]) -> bool:
        """Whether a condition of these modalities is enhanced unless somebody says otherwise."""
        ...

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """Answers, in order."""
        ...


class AssistantSubject:
    """An assistant, asked in batches about embeddings made beforehand.

    Args:
        bot: the assistant; its encoder and its cache are used.
        batch_size: answers written at once.
        new_tokens: longest answer.
    """

    def __init__(self, bot: Assistant, batch_size: int = 64, new_tokens: int = NEW_TOKENS) -> None:
        self.bot = bot
        self._perception = bot.pipeline.perception
        self._driver = Driver(Engine(bot.model, batch_size))
        self._options = Options(max_new_tokens=new_tokens)

    @property
    def has_cache(self) -> bool:
        """Whether the model came with a cache, or was given one."""
        return self.bot.cache is not None

    def embed(self, modality: Modality, tensors: Sequence[Tensor]) -> Tensor:
        """Unit rows ``[n, D]``."""
        self._perception.check_modality(modality)
        rows = self._perception.encode([(modality, tensor) for tensor in tensors])
        return torch.stack([raised(row) for row in rows])

    def enhance(self, conditions: Tensor) -> Tensor:
        """Conditions moved towards cached pictures."""
        return self._perception.enhance(conditions, [True] * len(conditions), self._options)

    def uses_cache(self, modalities: Sequence[Modality]) -> bool:
        """The model's default."""
        return self._perception.wants_cache(modalities, self._options)

    @torch.no_grad()
    def answer(self, questions: Sequence[Question]) -> list[str]:
        """Greedy answers. A dialog that has outgrown the model's context gets none (an empty one)."""
        processor, limit = self.bot.processor, self.bot.context_length
        sampling = self.bot.pipeline.sampling(self._options)
        requests = {}
        for number, question in enumerate(questions):
            dialog = build_dialog(question.messages, processor.tokenizer, add_generation_prompt=True)
            if limit is None or len(dialog) < limit:
                requests[number] = TokenRequest(
                    dialog.input_ids, dialog.condition_ids, question.conditions, sampling
                )
        order = sorted(requests, key=lambda number: len(requests[number].input_ids))
        found = self._driver.complete([requests[number] for number in order])
        answers = [""] * len(questions)
        for number, completion in zip(order, found, strict=True):
            answers[number] = processor.decode(raised(completion).ids, skip_special_tokens=True).strip()
        return answers
