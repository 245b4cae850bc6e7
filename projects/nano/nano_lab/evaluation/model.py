"""The model under test: something that embeds media and answers questions about embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.model.dialog import Dialog, Message, build_dialog
from imagebind_llm.model.parts import vectors, with_stand_ins
from nano_lab.grammar import Turn

NEW_TOKENS = 32
"""Longest answer in tokens; the grammar's longest has 31."""
_ENCODED_AT_ONCE = 32


@dataclass(frozen=True)
class Question:
    """A dialog that waits for an answer.

    Attributes:
        turn: what is asked last, and its true answer. It is for judging; whoever answers must not look at it.
        messages: the dialog so far, the question last. Media parts are placeholders.
        conditions: ``[n, D]`` (``[n, 1 + G, D]``), one row for each message that brings media; None when none
            does.
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


class ModelUnderTest(Protocol):
    """What is evaluated. Tests put an oracle in its place."""

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


class AssistantUnderTest:
    """An assistant, asked in batches about embeddings made beforehand."""

    def __init__(self, bot: Assistant, batch_size: int = 64, new_tokens: int = NEW_TOKENS) -> None:
        self.bot = bot
        self._batch_size, self._new_tokens = batch_size, new_tokens

    @property
    def has_cache(self) -> bool:
        """Whether the model came with a cache, or was given one."""
        return self.bot.cache is not None

    @torch.no_grad()
    def embed(self, modality: Modality, tensors: Sequence[Tensor]) -> Tensor:
        """Unit rows ``[n, D]`` float32 on the CPU; tensors of equal shape are encoded together.

        Raises:
            UserError: the model's encoder lacks the modality.
        """
        return vectors(self.conditions(modality, tensors))

    @torch.no_grad()
    def conditions(self, modality: Modality, tensors: Sequence[Tensor]) -> Tensor:
        """What the model is told of single media: their unit rows ``[n, D]``, or ``[n, 1 + G, D]`` where it
        asks for the encoder's tokens.

        Raises:
            UserError: the model's encoder lacks the modality.
        """
        encoder: Any = self.bot.model.encoder
        if encoder is None or modality not in encoder.modalities:
            known = "nothing" if encoder is None else ", ".join(sorted(encoder.modalities))
            raise UserError(f"this model's encoder has no {modality.value}; it knows {known}")
        shapes: dict[tuple[int, ...], list[int]] = {}
        for number, tensor in enumerate(tensors):
            shapes.setdefault(tuple(tensor.shape), []).append(number)
        groups = self.bot.model.bind.encoder_tokens
        rows = with_stand_ins(torch.empty(len(tensors), int(encoder.embedding_dim)), groups).clone()
        for numbers in shapes.values():
            for start in range(0, len(numbers), _ENCODED_AT_ONCE):
                part = numbers[start : start + _ENCODED_AT_ONCE]
                batch = torch.stack([tensors[number] for number in part])
                found = self.bot.model.encode_media(modality, batch)
                rows[part] = with_stand_ins(found, groups).float().cpu()
        return rows

    def enhance(self, conditions: Tensor) -> Tensor:
        """Conditions moved towards cached pictures, with the model's own settings."""
        cache, own = self.bot.cache, self.bot.model.config.cache
        assert cache is not None, "there is no cache"
        return cache.enhance(
            conditions, k=min(own["k"], cache.size), temperature=own["temperature"], weight=own["weight"]
        )

    def uses_cache(self, modalities: Sequence[Modality]) -> bool:
        """The model's default."""
        return self.bot.uses_cache([modality.value for modality in modalities])

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """Greedy answers. A dialog that has outgrown the model's context gets none (an empty one)."""
        limit = self.bot.context_length
        dialogs = [
            build_dialog(q.messages, self.bot.processor.tokenizer, add_generation_prompt=True)
            for q in questions
        ]
        answers = [""] * len(questions)
        for with_media in (True, False):
            numbers = [
                number
                for number, dialog in enumerate(dialogs)
                if (questions[number].conditions is not None) == with_media
                and (limit is None or len(dialog) < limit)
            ]
            numbers.sort(key=lambda number: len(dialogs[number]))
            for start in range(0, len(numbers), self._batch_size):
                part = numbers[start : start + self._batch_size]
                rows = [row for n in part if (row := questions[n].conditions) is not None]
                texts = self._generate([dialogs[n] for n in part], rows)
                for number, text in zip(part, texts, strict=True):
                    answers[number] = text
        return answers

    @torch.no_grad()
    def _generate(self, dialogs: list[Dialog], conditions: list[Tensor]) -> list[str]:
        """Answers to dialogs that all bring media, or none of them does (``conditions`` is empty)."""
        bot = self.bot
        inputs: dict[str, Any] = dict(bot.processor.pad(dialogs))
        if conditions:
            inputs["conditions"] = torch.cat(conditions)
        else:
            del inputs["condition_ids"]  # text only: the plain language model
        inputs = {name: tensor.to(bot.model.device) for name, tensor in inputs.items()}
        tokenizer, own = bot.processor.tokenizer, bot.model.generation_config
        ends = own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id]
        known = {token for token in (*ends, tokenizer.eos_token_id) if token is not None}
        padding = tokenizer.pad_token_id
        output = bot.model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=self._new_tokens,
            eos_token_id=sorted(known) or None,
            pad_token_id=tokenizer.eos_token_id or 0 if padding is None else padding,
        )
        length = inputs["input_ids"].shape[1]
        found = []
        for dialog, ids in zip(dialogs, output[:, length:].tolist(), strict=True):
            room = len(ids) if bot.context_length is None else bot.context_length - len(dialog)
            ids = ids[:room]
            end = next((number for number, token in enumerate(ids) if token in known), len(ids))
            found.append(bot.processor.decode(ids[: end + 1], skip_special_tokens=True).strip())
        return found
