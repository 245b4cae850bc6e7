"""The words that fill a phrase's slots: pronouns and names, numbers, verbs, and how things are called."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Literal

from nano_lab.grammar import chinese_answers
from nano_lab.grammar.ask import CLUES, DIGIT_KINDS, Ask, pick
from nano_lab.grammar.facts import is_digit
from nano_lab.grammar.words import (
    EN_ASKED,
    EN_NUMBERS,
    EN_SOUNDS,
    ZH_ALIASES,
    ZH_NAMES,
    ZH_NUMBERS,
    ZH_SOUNDS,
    Language,
    en_noun,
    zh_noun,
)

Reference = Literal["pronoun", "name"]

_EN_PRONOUNS = (
    ("it", "it", "it", "this", "that", "this number", "the number", "this digit"),
    ("it", "it", "it", "this", "that", "this thing", "the thing", "this object"),
)
_ZH_PRONOUNS = (("它", "它", "这个", "这个数", "这个数字"), ("它", "它", "它", "这个东西"))
_ZH_POINTING = frozenset({"parity", "odd_or_even", "is_kind", "category"})
_EN_COMPARE = {"bigger": ("bigger", "bigger", "larger", "greater"), "smaller": ("smaller",)}
_ZH_COMPARE = {"bigger": ("大", "大", "更大"), "smaller": ("小", "小", "更小")}
_ZH_PARITY = {"odd": ("奇数", "奇数", "单数"), "even": ("偶数", "偶数", "双数")}
_ZH_VERBS = {
    **{word: (zh,) for word, zh in chinese_answers.VERBS.items()},
    "see": ("看到", "看见"),
    "hear": ("听到", "听见"),
}
_EN_KINDS = {"number": ("a number", "a digit"), "animal": ("an animal",), "vehicle": ("a vehicle",)}
_ZH_KINDS = {
    "number": ("数字", "数字", "数"),
    "animal": ("动物", "动物", "一种动物"),
    "vehicle": ("交通工具",),
}
_EN_CLUES = {
    "flying_animal": ("an animal that can fly", "an animal that is able to fly"),
    "flying_vehicle": ("a vehicle that can fly", "a vehicle that is able to fly"),
    "sailing_vehicle": ("a vehicle that sails on water", "a vehicle that can sail"),
    "water_animal": ("an animal that lives in water", "an animal that can live in water"),
}
_ZH_CLUES = {
    "flying_animal": ("会飞的动物", "能飞的动物"),
    "flying_vehicle": ("会飞的交通工具", "能飞的交通工具"),
    "sailing_vehicle": ("在水上开的交通工具", "能航行的交通工具"),
    "water_animal": ("住在水里的动物", "生活在水里的动物"),
}


def said(random: Random, language: Language, concept: int) -> str:
    """The thing as someone would state it: "a seven", "a plane", "一只猫", "something unclear"."""
    if not is_digit(concept) and concept not in ZH_NAMES:
        unclear = (
            ("something unclear", "noise", "only noise")
            if language == "en"
            else ("不清楚的东西", "噪声", "一些噪声")
        )
        return pick(random, unclear)
    return _asked(random, language, concept, bare=False)


def question_slots(
    random: Random, language: Language, ask: Ask, reference: Reference, concept: int
) -> Mapping[str, str]:
    """The words for every slot a pattern of this kind may have."""
    slots: dict[str, str] = {"it": _it(random, language, ask.kind, reference, concept)}
    english_asked = language == "en"
    kind = ask.kind
    if kind in ("is_it", "is_there"):
        slots["x"] = _asked(random, language, ask.target, bare=kind == "is_it")
    elif kind in ("choice", "which_bigger"):
        first, second = ask.options
        if kind == "choice":
            slots["a"], slots["b"] = _pair(random, language, first, second)
        else:
            slots["a"], slots["b"] = _number(random, language, first), _number(random, language, second)
    if kind in ("compare", "bigger", "which_bigger"):
        slots["cmp"] = pick(random, (_EN_COMPARE if english_asked else _ZH_COMPARE)[ask.word])
    if kind in ("plus", "minus", "compare"):
        slots["n"] = _number(random, language, ask.number)
    elif kind == "parity":
        slots["parity"] = ask.word if english_asked else pick(random, _ZH_PARITY[ask.word])
    elif kind == "is_kind":
        slots["kind"] = pick(random, (_EN_KINDS if english_asked else _ZH_KINDS)[ask.word])
        slots["kindname"] = (
            slots["kind"].split(" ")[-1] if english_asked else slots["kind"].removeprefix("一种")
        )
    elif kind == "see":
        slots["verb"] = ask.word if english_asked else pick(random, _ZH_VERBS[ask.word])
    elif kind == "like":
        slots["like"] = ask.word if english_asked else chinese_answers.LIKES[ask.word]
    elif kind == "find_sound":
        slots["verbs"] = (EN_SOUNDS if english_asked else ZH_SOUNDS)[ask.target]
    elif kind == "find":
        clue = next(name for name, target in CLUES.items() if target == ask.target)
        slots["clue"] = pick(random, (_EN_CLUES if english_asked else _ZH_CLUES)[clue])
    return slots


def _it(random: Random, language: Language, kind: str, reference: Reference, concept: int) -> str:
    if reference == "name":
        return _name(random, language, kind, concept)
    of_number = kind in DIGIT_KINDS
    if language == "en":
        return pick(random, _EN_PRONOUNS[0 if of_number else 1])
    if kind in _ZH_POINTING and random.random() < 0.4:
        return "这"
    return pick(random, _ZH_PRONOUNS[0 if of_number else 1])


def _name(random: Random, language: Language, kind: str, concept: int) -> str:
    if is_digit(concept):
        words = EN_NUMBERS if language == "en" else ZH_NUMBERS
        if kind == "word":
            return str(concept)
        if kind == "numeral" or random.random() < 0.55:
            return words[concept]
        digit = ("the number ", "the digit ") if language == "en" else ("数字", "数字")
        return pick(
            random,
            (str(concept), digit[0] + words[concept], digit[0] + str(concept), digit[1] + words[concept]),
        )
    if language == "en":
        return pick(random, EN_ASKED.get(concept, (en_noun(concept),)))
    return pick(random, ZH_ALIASES[concept]) if random.random() < 0.3 else ZH_NAMES[concept]


def _number(random: Random, language: Language, value: int) -> str:
    if random.random() < 0.4:
        return str(value)
    return EN_NUMBERS[value] if language == "en" else ZH_NUMBERS[value]


def _asked(random: Random, language: Language, concept: int, *, bare: bool) -> str:
    if is_digit(concept):
        return pick(random, _digit_forms(language, concept)[0 if bare else 1])
    if language == "en":
        return pick(random, EN_ASKED.get(concept, (en_noun(concept),)))
    if random.random() < 0.45:
        return zh_noun(concept)
    return _name(random, language, "", concept)


def _pair(random: Random, language: Language, first: int, second: int) -> tuple[str, str]:
    if is_digit(first) and is_digit(second):
        forms, index = _digit_forms(language, first)[0], int(random.random() * 5)
        return forms[index], _digit_forms(language, second)[0][index]
    return _asked(random, language, first, bare=True), _asked(random, language, second, bare=True)


@cache
def _digit_forms(language: Language, digit: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if language == "zh":
        name = ZH_NUMBERS[digit]
        spoken = (name, f"数字{name}", str(digit), name, f"数字{digit}")
        return spoken, (f"数字{name}", name, f"数字{digit}")
    name, article = EN_NUMBERS[digit], "an" if digit == 8 else "a"
    forms = (
        f"{article} {name}",
        name,
        f"the number {name}",
        f"{article} {digit}",
        str(digit),
        f"the digit {digit}",
    )
    return forms, (f"{article} {name}", f"the number {name}", f"{article} {digit}", f"the digit {name}")
