"""What is said to ask for a picture: captions, as the encoder learnt them, and wordings that are none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np

from nano_lab.captions import captions
from nano_lab.grammar.words import EN_ALIASES, EN_NUMBERS, ZH_ALIASES, ZH_COUNTERS, ZH_NUMBERS
from nano_lab.world.concepts import DIGITS

_DIGIT_FORMS = (
    "please draw the numeral {n}",
    "show me a {n}",
    "I would like to see the digit {n}",
    "write down the number {n} for me",
    "a {n} in somebody's handwriting",
    "one single {n}, white on black",
    "what a {n} looks like",
    "a sketch of the figure {n}",
)
_ZH_DIGIT_FORMS = ("请画一个{n}", "请写出数字{n}", "我想看看{n}", "手写体的数字{n}")
_OBJECT_FORMS = (
    "please draw {a}",
    "show me {a}",
    "I would like to see {a}",
    "a snapshot of some {n}",
    "{a} seen from close by",
    "what {a} looks like",
    "one single {n} in the middle of the picture",
    "somebody took a picture of {a}",
)
_ZH_OBJECT_FORMS = ("请画{a}", "我想看看{a}", "照片里有{a}", "拍一张{n}的照片")


@cache
def new_wordings(concept: int) -> tuple[str, ...]:
    """Ways to ask for a digit or an object (an id of ``world.concepts``) that are no captions of it."""
    if concept < len(DIGITS):
        english = product(_DIGIT_FORMS, (EN_NUMBERS[concept], str(concept)))
        chinese = product(_ZH_DIGIT_FORMS, (ZH_NUMBERS[concept], str(concept)))
        return tuple(form.format(n=name) for form, name in (*english, *chinese))
    english = product(_OBJECT_FORMS, EN_ALIASES[concept])
    chinese = product(_ZH_OBJECT_FORMS, ZH_ALIASES[concept])
    return (
        *(form.format(n=n, a=f"{'an' if n[0] in 'aeiou' else 'a'} {n}") for form, n in english),
        *(form.format(n=n, a=f"一{ZH_COUNTERS[concept]}{n}") for form, n in chinese),
    )


WORDINGS = {"known wordings": captions, "new wordings": new_wordings}
"""Name → what is said of a concept."""


def said(wordings: str, labels: Sequence[int], count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """About ``count`` texts, equally many for each label, and their labels ``[n]``.

    Each wording of a label comes once before any comes twice.
    """
    texts: list[str] = []
    found: list[int] = []
    each = max(1, round(count / len(labels)))
    for label in labels:
        known = WORDINGS[wordings](label)
        order = np.random.default_rng((seed, label)).permutation(len(known))
        texts += [known[place] for place in np.resize(order, each)]
        found += [label] * each
    return texts, np.array(found, np.int64)
