"""Captions for the joint-embedding text encoder: many ways to say what a picture (or anything else) shows."""

from __future__ import annotations

from functools import cache
from random import Random

import numpy as np

from imagebind_llm.nano.grammar.ask import pick
from imagebind_llm.nano.grammar.facts import check_concept, is_digit
from imagebind_llm.nano.grammar.pattern import Pattern, compile_pattern
from imagebind_llm.nano.grammar.phrasing import SPLITS, Split
from imagebind_llm.nano.grammar.words import (
    EN_ALIASES,
    EN_NUMBERS,
    EN_SOUNDS,
    ZH_ALIASES,
    ZH_COUNTERS,
    ZH_NUMBERS,
    ZH_SOUNDS,
    Language,
)
from imagebind_llm.nano.world.concepts import UNCLEAR

_TEMPLATES: dict[tuple[Language, str], tuple[tuple[str, ...], tuple[str, ...]]] = {
    ("en", "digit"): (
        (
            "{word}",
            "{numeral}",
            "[the|a] [number|digit] [{word}|{numeral}]",
            "[number|digit] [{word}|{numeral}]",
            "a [handwritten|hand written|written|spoken|drawn] [{word}|digit {word}|number {word}|{numeral}]",
            "[a|the] [picture|photo|image|drawing|scan] of [the number|the digit|a] [{word}|{numeral}]",
            "[someone|a person|somebody] [saying|writing|drawing] [the number|the digit|] [{word}|{numeral}]",
            "the [word|sound of the word|numeral] {word}",
            "[this is|it is|there is|I see|I hear] [a|the number|the digit] [{word}|{numeral}]",
            "[a voice|a man|a woman] says {word}",
        ),
        (
            "a drawing that shows the digit [{word}|{numeral}]",
            "the spoken number {word}",
            "an image with the number [{word}|{numeral}]",
        ),
    ),
    ("en", "object"): (
        (
            "{name}",
            "{a} {name}",
            "the {name}",
            "[a|the] [photo|picture|image|photograph|drawing|video|model] of {a} {name}",
            "[a small|a big|an old|a young|a black|a white|a red|a brown] {name}",
            "the sound of {a} {name}",
            "{a} {name} [{verbs}|that {verbs}]",
            "[this is|it is|there is|I see|I hear|here is] {a} {name}",
            "[some|many|] {names}",
            "{a} {name} [in the picture|in a photo|outside|close up|from the side]",
            "a blurry photo of {a} {name}",
        ),
        (
            "here you can see {a} {name}",
            "a video in which {a} {name} {verbs}",
            "a close up picture of the {name}",
        ),
    ),
    ("zh", "digit"): (
        (
            "{word}",
            "数字[{word}|{numeral}]",
            "[手写|写的|口述][的|]数字[{word}|{numeral}]",
            "[一张|一幅]数字[{word}|{numeral}]的[图片|照片|图]",
            "[这是|我看到|我听到|有人说][数字|]{word}",
            "[数字|]{word}的读音",
        ),
        ("图片里的数字[{word}|{numeral}]", "有人写数字{word}"),
    ),
    ("zh", "object"): (
        (
            "{name}",
            "{a}{name}",
            "{a}{name}的[照片|图片|图像|视频]",
            "一张{name}的[照片|图片]",
            "{name}的[声音|叫声|照片]",
            "[这是|我看到|我听到|这里有]{a}{name}",
            "{name}{verbs}",
            "[小|大|白色的|黑色的|红色的]{name}",
        ),
        ("图片里有{a}{name}", "视频里的{name}{verbs}"),
    ),
}

_UNCLEAR: dict[Language, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "en": (
        (
            "something unclear",
            "noise",
            "[only|just|random|white|pure] noise",
            "nothing",
            "nothing recognisable",
            "[static|silence|a blank page|an empty picture|darkness|a blur|a black screen|a grey surface]",
            "[an image|a picture|a recording|a sound] of [noise|nothing|something unclear|something else]",
            "[the sound of|a photo of|a picture of|a|the|some|] {thing}",
            "[a photo of|a picture of|] {thing} and {thing}",
            "{letters}",
            "{letters} {letters}",
        ),
        ("a blurred nothing", "an unclear recording of {thing}", "{letters} {thing}"),
    ),
    "zh": (
        (
            "不清楚的东西",
            "噪声",
            "[只有|一片|一些]噪声",
            "什么都没有",
            "[空白|一片黑暗|静音|一张白纸|一片模糊]",
            "[一张|]{thing}[的照片|的图片|]",
            "{thing}的声音",
        ),
        ("一张不清楚的图片", "{thing}和{thing}"),
    ),
}
_EN_THINGS = (
    "tree house mountain river cloud flower chair table lamp piano guitar violin bottle cup spoon "
    "apple banana bread "
    "pizza shirt shoe hat clock phone computer keyboard book pencil door window bridge castle "
    "church street garden "
    "beach forest moon star sun rain snow fire stone ball toy doll sofa bed mirror knife umbrella "
    "grass leaf building "
    "hand face city kitchen music wind box bag letter painting tower wall hill lake",
    "desk orange cake glove drum flute pillow carpet statue volcano island candle ladder fence",
)
_ZH_THINGS = (
    "树 房子 山 河 云 花 椅子 桌子 灯 钢琴 吉他 瓶子 杯子 苹果 香蕉 面包 衣服 鞋 帽子 钟 手机 电脑 书 "
    "铅笔 门 窗 桥 街道 花园 海滩 月亮 星星 太阳 雨 雪 火 石头 球 玩具 沙发 床 镜子 音乐 风",
    "橙子 蛋糕 手套 鼓 枕头 雕像 火山 蜡烛 梯子",
)
_OTHER_THINGS: dict[Language, tuple[tuple[str, ...], ...]] = {
    "en": tuple(tuple(names.split()) for names in _EN_THINGS),
    "zh": tuple(tuple(names.split()) for names in _ZH_THINGS),
}


@cache
def _patterns(language: Language, kind: str, split: Split) -> tuple[Pattern, ...]:
    sources = (_UNCLEAR[language] if kind == "unclear" else _TEMPLATES[language, kind])[SPLITS.index(split)]
    return tuple(compile_pattern(f"{language}.{kind}.{i}", source, {}) for i, source in enumerate(sources))


def caption(
    rng: np.random.Generator, concept: int, language: Language | None = None, split: Split = "train"
) -> str:
    """A caption of the concept (label id 0..20); about a quarter are Chinese when no language is given.

    ``unclear`` (20) yields noise, nothing, random letters and things outside nano's world, so that those
    lie far from every known concept. Held-out captions use templates (and outside things) never used in
    training.
    """
    random = Random(int(rng.integers(1 << 62)))
    language = language or ("en" if random.random() < 0.75 else "zh")
    check_concept(concept)
    kind = "unclear" if concept == UNCLEAR else "digit" if is_digit(concept) else "object"
    text = pick(random, _patterns(language, kind, split)).draw(
        random, _slots(random, language, concept, split)
    )
    if language == "en":
        roll = random.random()
        text = text[:1].upper() + text[1:] if roll < 0.25 else text
        return text + "." if random.random() < 0.15 else text
    return text + "。" if random.random() < 0.15 else text


def _slots(random: Random, language: Language, concept: int, split: Split) -> dict[str, str]:
    if concept == UNCLEAR:
        things = _OTHER_THINGS[language][SPLITS.index(split)]
        return {"thing": pick(random, things), "letters": _letters(random)}
    if is_digit(concept):
        words = EN_NUMBERS if language == "en" else ZH_NUMBERS
        return {"word": words[concept], "numeral": str(concept)}
    if language == "zh":
        name = pick(random, ZH_ALIASES[concept])
        return {"name": name, "a": f"一{ZH_COUNTERS[concept]}", "verbs": ZH_SOUNDS[concept]}
    aliases = EN_ALIASES[concept]
    name = aliases[0] if random.random() < 0.6 else pick(random, aliases)
    article = "an" if name[0] in "aeiou" else "a"
    return {"name": name, "names": _plural(name), "a": article, "verbs": EN_SOUNDS[concept]}


def _plural(name: str) -> str:
    if name in ("deer", "aircraft"):
        return name
    return f"{name[:-1]}ies" if name.endswith("y") and name[-2] not in "aeiou" else f"{name}s"


def _letters(random: Random) -> str:
    length = 3 + int(random.random() * 6)
    return "".join("bcdfghjklmnpqrstvwxzaeiouy"[int(random.random() * 26)] for _ in range(length))
