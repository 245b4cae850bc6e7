"""Deciding whether a generated answer is right, without trusting its wording.

:func:`judge` asks whether an answer names the true thing(s) and no other; :func:`correct` checks an
answer to any question of the grammar; :func:`is_doubt` recognises an honest "I am not sure". All work on both
languages at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from nano_lab.grammar.dialogs import Turn
from nano_lab.grammar.words import EN_ALIASES, EN_NUMBERS, ZH_ALIASES
from nano_lab.world.concepts import UNCLEAR

_DOUBT = re.compile(
    r"not (?:quite |really |so |very )?sure|unsure|uncertain|not certain|unclear"
    r"|can(?:not|'t) (?:tell|recogni[sz]e|identify)"
    r"|do(?:n't| not) know what|不确定|不清|说不准|认不出|无法(?:确定|识别|辨认)|不知道(?:这|那|它)?是什么"
)
_NOTHING = re.compile(r"nothing (?:here|to|was)|please attach|什么都没有|没有收到|请附上")
_EN_COUNTED = re.compile(
    r"\b(?:one|two|three|four|[1-4]) (?:legs?|wheels?|things?|numbers?|digits?|inputs?|objects?|words?|times?"
    r"|of)\b"
)
_EN_NOT_NUMBER = re.compile(
    r"\b(?:this|that|which|first|second|other|next|last|any|each|no|new|same|every|some|another|either) one\b"
    r"|\bone is (?=an? |the )|\bat least one\b|\bone another\b"
)
_EN_NUMBER = re.compile(r"\b(minus )?(" + "|".join(sorted(EN_NUMBERS, key=len, reverse=True)) + r")\b")
_EN_HUNDREDS = re.compile(r"\b(?:" + "|".join(EN_NUMBERS) + r"|an?|\d+)[ -](?:hundred|thousand|million)\b")
_ZH_COUNTED = re.compile(
    r"[一两二三四][只个张辆艘架匹头条样下些种起次句段点幅双片]|另一|第[一二]|一[样定直共般切]|唯一|其[一二]"
)
_ZH_ARTICLE = re.compile(r"一[只辆架匹艘]|另一|第一|一样")
_ZH_NUMBER = re.compile(r"(负?)([零〇一二三四五六七八九十百千万]+|两)")
_ZH_VALUES = {mark: value for value, mark in enumerate("零一二三四五六七八九十")} | {"〇": 0, "两": 2}
_NUMERAL = re.compile(r"(?<![a-z0-9.])(-?\d+)(?:st|nd|rd|th)?(?![a-z.]?\d)")
_ZH_COMPOUNDS = re.compile(
    r"熊猫|猫头鹰|热狗|海狗|飞船|飞艇|马上|马路|马达|马戏|马虎|罗马|斑马|河马|海马|木马|马桶|数码|巴拿马|马克"
)
_EN_OBJECT = {
    concept: re.compile(r"\b(?:" + "|".join(names).replace("y", "(?:y|ie)") + r")s?\b")
    for concept, names in EN_ALIASES.items()
}
_EN_COMPOUNDS = re.compile(r"\b(?:hot dogs?|cable cars?|spaceships?)\b")
_PROPERTIES: dict[str, re.Pattern[str]] = {
    "odd": re.compile(r"\bodd\b|奇数|单数"),
    "even": re.compile(r"\beven\b|偶数|双数"),
    "animal": re.compile(r"\banimals?\b|动物"),
    "vehicle": re.compile(r"\bvehicles?\b|交通工具"),
    "number": re.compile(r"\bnumbers?\b|数字"),
    "bigger": re.compile(r"\b(?:bigger|larger|greater)\b|大(?!型)"),
    "smaller": re.compile(r"\b(?:smaller|less)\b|小"),
    "not": re.compile(r"\b(?:not|cannot|can't)\b|不会|不能|不是|不住|不在|没有"),
}
_YES = re.compile(r"(?:yes|yeah|right|correct)\b|是的|对(?:[，。！]|$)|(?:是|会|能|有|可以)(?:[，。！]|$)")
_NO = re.compile(r"(?:no|nope)\b|不是?(?:[，。！]|$)|不[会能对住在可]|没有?(?:[，。！]|$)|没有一")
_PUNCTUATION = re.compile(r"[\s.,;:!?'\"，。！？；：、“”‘’]+")


@lru_cache(maxsize=65536)
def named(answer: str) -> frozenset[str]:
    """The things and numbers an answer names: ``obj:13`` for a cat, ``num:7`` for seven (words or
    numerals)."""
    text = answer.lower()
    english = _EN_HUNDREDS.sub(" 100 ", text)
    english = _EN_COMPOUNDS.sub(" ", _EN_NOT_NUMBER.sub(" ", _EN_COUNTED.sub(" ", english)))
    chinese = _ZH_COMPOUNDS.sub(" ", _ZH_COUNTED.sub(" ", text))
    found = {
        f"num:{-EN_NUMBERS.index(w) if minus else EN_NUMBERS.index(w)}"
        for minus, w in _EN_NUMBER.findall(english)
    }
    found |= {f"num:{_zh_value(run) * (-1 if minus else 1)}" for minus, run in _ZH_NUMBER.findall(chinese)}
    found |= {f"num:{int(value)}" for value in _NUMERAL.findall(english)}
    found |= {f"obj:{concept}" for concept, pattern in _EN_OBJECT.items() if pattern.search(english)}
    found |= {f"obj:{concept}" for concept, names in ZH_ALIASES.items() if any(n in chinese for n in names)}
    return frozenset(found)


def is_doubt(answer: str) -> bool:
    """Whether the answer says it is not sure and names nothing nano knows."""
    return bool(_DOUBT.search(answer.lower())) and not named(answer)


def is_nothing_given(answer: str) -> bool:
    """Whether the answer says that no input was given."""
    return bool(_NOTHING.search(answer.lower()))


def judge(answer: str, concepts: Iterable[int]) -> bool:
    """Whether the answer names exactly the true label(s) (label ids, any order and language) and nothing
    else known.

    Unclear input: only doubt is right. A mixture of a known and an unclear thing: the known one must be
    named. A denied label ("it is not a cat", "没有猫") is never right, and counts as named beside the right
    one, so an answer that hedges is judged wrong.
    """
    known = {int(concept) for concept in concepts if concept != UNCLEAR}
    if not known:
        return is_doubt(answer)
    expected = {f"num:{concept}" if concept < 10 else f"obj:{concept}" for concept in known}
    return named(answer) == expected and not _denied(answer) & expected


_CLAUSE = re.compile(r"[.,;:!?，。；：！？\n]|\bbut\b|而是")
_NO_AT_FIRST = re.compile(r"(?:no|nope) (?=(?:it|this|that|i|these|they|there|the)\b)")
_NO_DENIAL = re.compile(
    r"\b(?:no doubt|not only|nothing but|no other than|none other than)\b|毫无疑问|没错|不仅"
)
_DENIAL = re.compile(
    r"\b(?:not|no|never|neither|nor|none|without|cannot)\b|n['’]t\b"
    r"|不是|没|并非|绝非|不像|[看听见]不[到见出]|不存在"
)


def _denied(answer: str) -> frozenset[str]:
    """What is named behind a denial in the same clause."""
    text = answer.strip().lower().replace("anything but", "never")
    text = _NO_DENIAL.sub(" ", _NO_AT_FIRST.sub(" ", text, count=1))
    found: frozenset[str] = frozenset()
    for clause in _CLAUSE.split(text):
        denial = _DENIAL.search(clause)
        if denial:
            found |= named(clause[denial.end() :])
    return found


def correct(turn: Turn, answer: str) -> bool:
    """Whether the answer is right for the turn: the same as the grammar's, or saying its key and nothing
    false.

    "Eight." is right for "Eight comes after seven.", "Yes, nine is odd." is wrong for "Yes, seven is odd.".
    """
    if normalised(answer) == normalised(turn.answer):
        return True
    if turn.truth == "doubt":
        return is_doubt(answer)
    if turn.truth == "nothing":
        return is_nothing_given(answer)
    if turn.truth == "free" or is_nothing_given(answer) or _DOUBT.search(answer.lower()):
        return False
    allowed = _claims(turn.answer)
    if turn.kind in ("legs", "wheels"):
        allowed |= _counts(turn.answer)
    said = _claims(answer)
    return said <= allowed and _says_key(turn, answer, said)


def _says_key(turn: Turn, answer: str, said: frozenset[str]) -> bool:
    key = turn.key.lower()
    if turn.kind in ("legs", "wheels") and _counts(key):
        return _counts(key) == _counts(answer)
    if key in ("yes", "是的", "有"):
        return "yes" in said
    if key in ("no", "不是", "不", "没有"):
        return "no" in said
    claims = _claims(key)
    if claims:
        return claims <= said
    return f" {normalised(key)} " in f" {normalised(answer)} " or (not key.isascii() and key in answer)


def _counts(text: str) -> frozenset[str]:
    # Every number said, those that count something included: "four legs", "两条腿".
    spoken = _EN_NOT_NUMBER.sub(" ", text.lower())
    chinese = _ZH_NUMBER.findall(_ZH_ARTICLE.sub(" ", spoken))
    found = {EN_NUMBERS.index(word) for _, word in _EN_NUMBER.findall(spoken)}
    found |= {_zh_value(run) for _, run in chinese} | {int(value) for value in _NUMERAL.findall(spoken)}
    return frozenset(f"num:{number}" for number in found)


@lru_cache(maxsize=65536)
def _claims(answer: str) -> frozenset[str]:
    text = answer.strip().lower()
    claims = {name for name, pattern in _PROPERTIES.items() if pattern.search(text)}
    if _YES.match(text):
        claims.add("yes")
    elif _NO.match(text):
        claims.add("no")
    return frozenset(claims) | named(answer)


def normalised(text: str) -> str:
    """Lower case, punctuation and runs of space as one space."""
    return _PUNCTUATION.sub(" ", text.lower()).strip()


def _zh_value(run: str) -> int:
    if any(mark in run for mark in "百千万"):
        return 100
    if "十" in run:
        tens, _, ones = run.partition("十")
        return (_ZH_VALUES.get(tens, 1) if tens else 1) * 10 + (_ZH_VALUES.get(ones, 0) if ones else 0)
    return int("".join(str(_ZH_VALUES[mark]) for mark in run))
