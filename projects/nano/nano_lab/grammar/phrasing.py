"""From an :class:`Ask` to a question in words: pattern, slots, and the surface (openings, case,
punctuation)."""

from __future__ import annotations

import re
from functools import cache
from random import Random
from typing import Literal

from imagebind_llm.common.errors import UserError
from nano_lab.grammar import (
    chinese_checks,
    chinese_numbers,
    chinese_perception,
    chinese_text,
    chinese_things,
    chinese_turns,
    chinese_wide,
    english_checks,
    english_numbers,
    english_perception,
    english_text,
    english_things,
    english_turns,
    english_wide,
)
from nano_lab.grammar.answer import capitalised
from nano_lab.grammar.ask import Ask, pick
from nano_lab.grammar.framed import framed
from nano_lab.grammar.pattern import Pattern, compile_pattern
from nano_lab.grammar.slips import slip
from nano_lab.grammar.slots import Reference, question_slots, said
from nano_lab.grammar.words import LANGUAGES, Language

Split = Literal["train", "heldout", "wide"]
SPLITS: tuple[Split, ...] = ("train", "heldout")
"""What the evaluation asks: phrasings that training shows, and those it never does.

Training itself draws ``wide``: those of ``train`` and more, typed as people type.
"""

_BOOKS: dict[Language, tuple[dict[str, tuple[tuple[str, ...], tuple[str, ...]]], ...]] = {
    "en": (
        english_perception.PERCEPTION,
        english_checks.CHECKS,
        english_numbers.NUMBERS,
        english_things.THINGS,
        english_text.TEXT,
        english_turns.CAPTION,
        english_turns.TURNS,
    ),
    "zh": (
        chinese_perception.PERCEPTION,
        chinese_checks.CHECKS,
        chinese_numbers.NUMBERS,
        chinese_things.THINGS,
        chinese_text.TEXT,
        chinese_turns.CAPTION,
        chinese_turns.TURNS,
    ),
}
_MACROS = {"en": english_perception.MACROS, "zh": chinese_perception.MACROS}
_WIDE = {"en": english_wide.WIDE, "zh": chinese_wide.WIDE}
_WIDE_MACROS = {
    "en": {**english_perception.MACROS, **english_wide.MACROS},
    "zh": {**chinese_perception.MACROS, **chinese_wide.MACROS},
}
_STATEMENTS = {"en": english_turns.STATEMENTS, "zh": chinese_turns.STATEMENTS}
_OPENINGS = {
    "en": (english_turns.QUESTION_OPENINGS, english_turns.REQUEST_OPENINGS, english_turns.FOLLOW_OPENINGS),
    "zh": (chinese_turns.QUESTION_OPENINGS, chinese_turns.REQUEST_OPENINGS, chinese_turns.FOLLOW_OPENINGS),
}
_CLOSINGS = {"en": english_turns.CLOSINGS, "zh": chinese_turns.CLOSINGS}
_BARE_KINDS = frozenset({"hello", "who", "can_do", "thanks", "bye", "world", "again", "same", "recall"})
"""Kinds said as they are: no "please tell me:" in front."""


@cache
def patterns(language: Language, kind: str, split: Split) -> tuple[Pattern, ...]:
    """The compiled phrasings of one kind; :class:`UserError` when the language has no such kind or split."""
    if language not in LANGUAGES or split not in (*SPLITS, "wide"):
        raise UserError(
            f"expected a language of {LANGUAGES} and a split of {(*SPLITS, 'wide')}, got "
            f"{language!r}, {split!r}"
        )
    if split == "wide":
        more = (*_WIDE[language].get(kind, ()), *framed(language, kind))
        return patterns(language, kind, "train") + tuple(
            compile_pattern(f"{language}.{kind}.wide.{i}", source, _WIDE_MACROS[language])
            for i, source in enumerate(more)
        )
    for book in _BOOKS[language]:
        if kind in book:
            sources = book[kind][SPLITS.index(split)]
            return tuple(
                compile_pattern(f"{language}.{kind}.{split}.{i}", source, _MACROS[language])
                for i, source in enumerate(sources)
            )
    raise UserError(f"the grammar has no question of kind {kind!r}; it has: {', '.join(kinds(language))}")


def kinds(language: Language = "en") -> tuple[str, ...]:
    """Every kind of question the language has phrasings for."""
    return tuple(kind for book in _BOOKS[language] for kind in book)


@cache
def statement_patterns(language: Language) -> tuple[Pattern, ...]:
    """The sentences that state a perception in words."""
    sources = _STATEMENTS[language]
    return tuple(
        compile_pattern(f"{language}.statement.{i}", source, _MACROS[language])
        for i, source in enumerate(sources)
    )


def phrase(
    random: Random,
    language: Language,
    ask: Ask,
    split: Split,
    *,
    reference: Reference = "pronoun",
    concept: int = 0,
    follow_up: bool = False,
    kind: str | None = None,
) -> tuple[str, str]:
    """A question for ``ask`` and the name of its pattern.

    ``reference="name"`` calls the thing (``concept``) by its name; ``follow_up`` may open with "and";
    ``kind`` takes the phrasings of another kind ("and this one?" repeats any question).
    """
    pattern = pick(random, patterns(language, kind or ask.kind, split))
    slots = question_slots(random, language, ask, reference, concept)
    text = pattern.draw(random, slots).replace("that that ", "that this ")
    text = finish(random, language, text, bare=(kind or ask.kind) in _BARE_KINDS, follow_up=follow_up)
    return slip(random, language, text) if split == "wide" else text, pattern.name


def state(random: Random, language: Language, concepts: tuple[int, ...]) -> str:
    """A sentence that states what is perceived, punctuated: "I hear a dog and a seven." """
    pattern = pick(random, statement_patterns(language))
    join = " and " if language == "en" else "和"
    named = join.join(said(random, language, concept) for concept in concepts)
    text = pattern.draw(random, {"x": named})
    return f"{capitalised(text)}." if language == "en" else f"{text}。"


def finish(
    random: Random, language: Language, text: str, *, bare: bool = False, follow_up: bool = False
) -> str:
    """Opening, closing, final mark and letter case, the way different people type."""
    request = text.endswith((".", "。"))
    body = text.rstrip(".。")
    question, command, following = _OPENINGS[language]
    roll = random.random()
    if follow_up and roll < 0.5 and not bare:
        body = pick(random, following) + body
    elif (
        not bare and roll < (0.22 if request else 0.08) and not body.startswith(("please", "请", "I ", "我"))
    ):
        body = pick(random, command if request else question) + body
    if not bare and random.random() < 0.05 and "please" not in body and "谢谢" not in body:
        body += pick(random, _CLOSINGS[language])
    if language == "en":
        return _finish_english(random, body, request, bare)
    if bare and not request:
        request = not any(mark in body for mark in "吗谁么哪几呢")
    mark = "" if random.random() < 0.22 else ("。" if request else "？" if random.random() < 0.9 else "?")
    return body if body.endswith("？") else body + mark


_TELLING = re.compile(r"thank|bye|so long|see you|that was|that is all")
_ASKING = frozenset(
    [
        "what",
        "who",
        "how",
        "are",
        "is",
        "do",
        "does",
        "can",
        "could",
        "where",
        "which",
        "when",
        "why",
        "and",
        "now",
        "ok",
        "so",
        "same",
        "next",
        "that",
    ]
)


def _finish_english(random: Random, body: str, request: bool, bare: bool) -> str:
    if bare and not request:
        request = _TELLING.search(body) is not None or (
            body.split(" ", 1)[0].rstrip(",") not in _ASKING and "how are" not in body
        )
    last = body.rsplit(". ", 1)[-1].rsplit("? ", 1)[-1]
    tail = last[:1].isupper() and "? " in body and last.split(" ", 1)[0] in ("One", "Just", "In", "Answer")
    mark = "." if request or tail else "?"
    roll = random.random()
    if roll < 0.62:
        return capitalised(body) + mark
    if roll < 0.76:
        return body.lower() + mark
    return body.lower() if roll < 0.9 else capitalised(body)
