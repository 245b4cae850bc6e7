"""What goes into an :class:`~imagebind_llm.inference.assistant.Assistant` and what comes out."""

import math
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.names import refuse_unknown
from imagebind_llm.inference.calls import MadeFile, ToolCall
from imagebind_llm.inference.confidence import rounded
from imagebind_llm.inference.response_format import read_form
from imagebind_llm.model.messages import (
    MediaItem,
    Message,
    media_items,
    read_messages,
    short,
    user_message,
)

if TYPE_CHECKING:
    from imagebind_llm.cache import Retrieved


_COLDEST = 1e-6
"""Lowest temperature but 0: logits divided by less may leave float32."""
_MOST = 2**31 - 1
"""Largest number of tokens or pictures that can be asked for; there are never so many."""


@dataclass(frozen=True)
class Options:
    """How to answer. ``None`` means the model's own default.

    Raises:
        UserError: a value of another type or out of range, by its name.

    Attributes:
        cache: move media towards cached pictures: ``True`` all, ``False`` none, ``None`` those of the
            modalities that the model lists (all but images, as a rule).
        cache_k: number of pictures.
        cache_temperature: factor on their similarities before the softmax.
        cache_weight: share of the pictures, 0 … 1.
        max_new_tokens: the answer ends there at the latest.
        temperature: 0 = always the likeliest token; above, logits are divided by it (the paper's code: 0.1).
        top_p: sample among the likeliest tokens that together have this probability, above 0, at most 1
            (0.75 is the default of the paper's code).
        seed: of the sampling, 0 … 2⁶⁴ - 1; the same request with the same seed gets the same answer.
        explain: report what the cache found.
        response_format: the form that the answer must have (:mod:`imagebind_llm.inference.response_format`);
            it has that form unless it was cut off at ``max_new_tokens`` (finish reason ``"length"``).
    """

    cache: bool | None = None
    cache_k: int | None = None
    cache_temperature: float | None = None
    cache_weight: float | None = None
    max_new_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 0.75
    seed: int | None = None
    explain: bool = False
    response_format: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        def refuse(name: str, expected: str) -> None:
            raise UserError(f"{name} is {short(getattr(self, name))}; expected {expected}")

        for name in ("cache_k", "max_new_tokens", "seed"):
            with suppress(TypeError):  # numpy's whole numbers are ours, too
                value = getattr(self, name)
                if not isinstance(value, bool) and str(getattr(value, "dtype", "")) != "bool":
                    object.__setattr__(self, name, operator.index(value))
        for name in ("cache_k", "max_new_tokens"):
            value = getattr(self, name)
            if value is not None and not (_is_whole(value) and 1 <= value <= _MOST):
                refuse(name, f"a whole number from 1 to {_MOST}")
        if self.seed is not None and not (_is_whole(self.seed) and 0 <= self.seed < 2**64):
            refuse("seed", "a whole number from 0 to 2^64 - 1")
        if not (_is_number(self.temperature) and (self.temperature == 0 or self.temperature >= _COLDEST)):
            refuse("temperature", f"0, or a finite number of at least {_COLDEST:g}")
        if not (_is_number(self.top_p) and 0 < self.top_p <= 1):
            refuse("top_p", "a number above 0, at most 1")
        if self.cache_temperature is not None and not (
            _is_number(self.cache_temperature) and self.cache_temperature >= 0
        ):
            refuse("cache_temperature", "a finite number of at least 0")
        if self.cache_weight is not None and not (
            _is_number(self.cache_weight) and 0 <= self.cache_weight <= 1
        ):
            refuse("cache_weight", "a number from 0 to 1")
        if self.cache is not None and not isinstance(self.cache, bool):
            refuse("cache", "true, false or nothing")
        if not isinstance(self.explain, bool):
            refuse("explain", "true or false")
        read_form(self.response_format)

    @classmethod
    def make(cls, **values: Any) -> "Options":
        """Options by name.

        Raises:
            UserError: there is none of a name, or its value is impossible.
        """
        refuse_unknown(values, _OPTIONS)
        return cls(**values)

    def but(self, **values: Any) -> "Options":
        """The same, but for some.

        Raises:
            UserError: there is none of a name, or its value is impossible.
        """
        refuse_unknown(values, _OPTIONS)
        return replace(self, **values)


_OPTIONS = tuple(sorted(item.name for item in fields(Options)))


@dataclass(frozen=True)
class Request:
    """A dialog that waits for the assistant's turn, and how to answer it.

    Attributes:
        messages: see :mod:`imagebind_llm.model.messages`.
        options: how to answer.
        tools: definitions of tools in OpenAI's form, for a chat template that reads them.
    """

    messages: Sequence[Message]
    options: Options = field(default_factory=Options)
    tools: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def make(
        cls,
        question: str | None = None,
        media: Mapping[str, Any] | None = None,
        *,
        messages: Sequence[Message] | None = None,
        system: str | None = None,
        **options: Any,
    ) -> "Request":
        """A request from a question with media (by modality name), or from whole ``messages``.

        Raises:
            UserError: something is missing, unknown or of the wrong kind.
        """
        check_settings(options)
        media = {name: value for name, value in (media or {}).items() if value is not None}
        if messages is not None:
            if question is not None or media or system is not None:
                raise UserError(
                    "a request has 'messages' and also a question, media or system; give one way only"
                )
            read_messages(messages)
            return cls(messages, Options(**options))
        if not isinstance(question, str) or not question.strip():
            raise UserError(f"the question is {short(question)}; expected some words")
        own: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        own.append(user_message(question, media_items(media)))
        return cls(own, Options(**options))

    @classmethod
    def read(cls, value: Any, modalities: Sequence[str] | None = None) -> "Request":
        """A request from a plain mapping (a JSON object), a question alone, or a request.

        The keys are those of the command line: ``question``, a modality (``path``, ``[path, weight]`` or a
        list of these), or ``messages``; and the names of :class:`Options`.

        Args:
            value: the request.
            modalities: as :func:`check_settings` takes them.

        Raises:
            UserError: as :meth:`make`, or a value of another kind.
        """
        if isinstance(value, Request):
            return value
        if isinstance(value, str):
            return cls.make(value)
        if not isinstance(value, Mapping):
            raise UserError(
                f"a request is {type(value).__name__}; expected an object with 'question' or 'messages'"
            )
        rest = {str(key): item for key, item in value.items()}
        question, messages, system = (rest.pop(key, None) for key in ("question", "messages", "system"))
        media = {name.value: rest.pop(name.value) for name in Modality.known() if name in rest}
        check_settings(rest, modalities)
        if "question" not in value and messages is None:
            raise UserError(
                f"a request has the keys {sorted(map(str, value))}; expected 'question' or 'messages'"
            )
        return cls.make(question, media, messages=messages, system=system, **rest)


def check_settings(options: Iterable[str], modalities: Sequence[str] | None = None) -> None:
    """Refuse a setting that there is not.

    Args:
        options: names that are neither media nor messages.
        modalities: those of the model at hand, for the list of what may be given. None: all that this process
            knows, which are also those of models that were loaded before.

    Raises:
        UserError: one is unknown; with what may be given.
    """
    senses = Modality.known() if modalities is None else modalities
    refuse_unknown(options, _OPTIONS, ("question", "messages", "system", *senses))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """Whether ``value`` is a number that a float can hold."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


@dataclass(frozen=True)
class Answer:
    """What the assistant said, and what it took.

    Attributes:
        text: the answer.
        finish_reason: ``"stop"`` the model ended it, ``"length"`` it was cut off.
        prompt_tokens: length of the question with its dialog; media cost none.
        new_tokens: length of the answer, its end token included.
        seconds: from reading the media to the last token; of the whole batch for answers made together.
        media: the media the last turn sees.
        cached: whether they were moved towards cached pictures.
        retrieved: the pictures, when asked to explain.
        confidence: 0 … 1, the probability that the model gives exactly this answer at temperature 1
            (:mod:`imagebind_llm.inference.confidence`); None where whoever wrote it does not say. It can be
            read as the probability of being right only for a model of which that was measured.
        nearest: cosine, -1 … 1, of the media (before the cache moves them) to the nearest picture of the
            visual cache. A low one tells of something the model has not seen the like of. None where the
            request does not search the cache: no media, no cache, or media that it is not used for (images,
            as a rule; ``explain`` searches it for them, too). It never opens a cache of its own accord.
        calls: the calls of tools on the way to the answer, in order (:mod:`imagebind_llm.skills.tools`).
    """

    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    new_tokens: int
    seconds: float
    media: tuple[MediaItem, ...] = ()
    cached: bool = False
    retrieved: "tuple[Retrieved, ...]" = ()
    confidence: float | None = None
    nearest: float | None = None
    calls: tuple[ToolCall, ...] = ()

    @property
    def made(self) -> tuple[MadeFile, ...]:
        """The files that the calls made, in order."""
        return tuple(one for call in self.calls for one in call.made)

    def __str__(self) -> str:
        return self.text

    def __format__(self, spec: str) -> str:
        return format(self.text, spec)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``retrieved`` only when there is any, ``confidence`` and ``nearest`` None
        where they are not known."""
        values: dict[str, Any] = {
            "answer": self.text,
            "finish_reason": self.finish_reason,
            "prompt_tokens": self.prompt_tokens,
            "new_tokens": self.new_tokens,
            "seconds": round(self.seconds, 4),
            "media": [
                {"modality": item.modality.value, "source": describe(item), "weight": item.weight}
                for item in self.media
            ],
            "cached": self.cached,
            "confidence": None if self.confidence is None else rounded(self.confidence),
            "nearest": None if self.nearest is None else round(self.nearest, 4),
        }
        if self.calls:
            values["calls"] = [call.to_dict() for call in self.calls]
        if self.retrieved:
            values["retrieved"] = [
                {
                    "rank": hit.rank,
                    "index": hit.index,
                    "similarity": round(hit.similarity, 4),
                    "share": round(hit.share, 4),
                    "caption": hit.caption,
                }
                for hit in self.retrieved
            ]
        return values


def describe(item: MediaItem) -> str:
    """A source in a few words: its path, its text, or what kind of data it is."""
    if isinstance(item.source, str | os.PathLike):
        return os.fspath(item.source)
    if isinstance(item.source, bytes):
        return f"{len(item.source)} bytes"
    return type(item.source).__name__
