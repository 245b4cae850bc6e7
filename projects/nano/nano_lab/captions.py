"""Captions for nano's text encoder: every way the bind stage names a concept, in English and Chinese."""

from functools import cache
from itertools import product

from nano_lab.grammar.words import (
    EN_ALIASES,
    EN_NUMBERS,
    EN_SOUNDS,
    ZH_ALIASES,
    ZH_COUNTERS,
    ZH_NUMBERS,
)
from nano_lab.world.concepts import DIGITS, UNCLEAR

_DIGIT_FORMS = (
    "{n}",
    "the digit {n}",
    "a digit {n}",
    "digit {n}",
    "the number {n}",
    "a number {n}",
    "number {n}",
    "a handwritten {n}",
    "a handwritten digit {n}",
    "a drawing of the number {n}",
    "a picture of the digit {n}",
    "an image of a {n}",
    "the figure {n}",
    "someone says {n}",
    "a voice saying {n}",
    "the spoken word {n}",
    "a {n} written by hand",
    "this is a {n}",
    "it is the number {n}",
)
_ZH_DIGIT_FORMS = (
    "{n}",
    "数字{n}",
    "手写的{n}",
    "手写数字{n}",
    "一个{n}",
    "这是{n}",
    "有人说{n}",
    "{n}的图片",
)
_OBJECT_FORMS = (
    "{n}",
    "{a}",
    "a photo of {a}",
    "a picture of {a}",
    "an image of {a}",
    "a small photo of {a}",
    "a blurry photo of {a}",
    "a photograph of {a}",
    "this is {a}",
    "there is {a}",
    "the {n}",
    "a close-up photo of {a}",
    "a drawing of {a}",
    "the shape of {a}",
    "a model of {a}",
    "the sound of {a}",
    "{s}",
    "some {s}",
    "a photo of {s}",
)
_ZH_OBJECT_FORMS = ("{n}", "{a}", "{a}的照片", "{a}的图片", "这是{a}", "有{a}", "{n}的声音", "{n}的形状")
_UNCLEAR_FORMS = (
    "nothing",
    "nothing recognisable",
    "noise",
    "white noise",
    "random noise",
    "an empty picture",
    "a blank page",
    "an empty page",
    "something unclear",
    "something unknown",
    "a meaningless pattern",
    "a pattern without meaning",
    "static",
    "silence",
    "a blank image",
    "nothing to see",
    "什么都没有",
    "噪声",
    "空白",
    "看不清的东西",
    "一片空白",
)


def plural(name: str) -> str:
    """``dogs``, ``puppies``, ``deer``: of a thing's English name."""
    if name in ("deer", "aircraft"):
        return name
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


@cache
def captions(concept: int) -> tuple[str, ...]:
    """All captions of a concept (an id of ``world.concepts``), without repeats, in a fixed order."""
    if concept == UNCLEAR:
        return _UNCLEAR_FORMS
    if concept < len(DIGITS):
        english = [
            form.format(n=name) for form, name in product(_DIGIT_FORMS, (EN_NUMBERS[concept], str(concept)))
        ]
        chinese = [
            form.format(n=name)
            for form, name in product(_ZH_DIGIT_FORMS, (ZH_NUMBERS[concept], str(concept)))
        ]
        return tuple(dict.fromkeys(english + chinese))
    english = [
        form.format(n=name, a=f"{'an' if name[0] in 'aeiou' else 'a'} {name}", s=plural(name))
        for form, name in product(_OBJECT_FORMS, EN_ALIASES[concept])
    ]
    if concept in EN_SOUNDS:
        english.append(f"something that {EN_SOUNDS[concept]}")
    chinese = [
        form.format(n=name, a=f"一{ZH_COUNTERS[concept]}{name}")
        for form, name in product(_ZH_OBJECT_FORMS, ZH_ALIASES[concept])
    ]
    return tuple(dict.fromkeys(english + chinese))
