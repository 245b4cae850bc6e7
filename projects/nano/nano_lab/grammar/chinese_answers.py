"""The Chinese answers: one wording per question and truth, so that a small model learns it sharply."""

from __future__ import annotations

from nano_lab.grammar.answer import Answer
from nano_lab.grammar.ask import CLUES, TWO_KINDS, Ask
from nano_lab.grammar.facts import (
    ANIMALS,
    AUTOMOBILE,
    CAN_FLY,
    DRIVES,
    LEGS,
    LIVES_IN_WATER,
    SAILS,
    SHIP,
    TRUCK,
    VEHICLES,
    category,
    is_digit,
)
from nano_lab.grammar.words import (
    CATEGORY_WORDS,
    ZH_DESCRIPTIONS,
    ZH_NUMBERS,
    ZH_SOUNDS,
    zh_bare,
    zh_noun,
    zh_number,
)
from nano_lab.world.concepts import UNCLEAR

NOTHING = Answer("你还没有给我什么东西。请附上图片、声音或其他输入。", truth="nothing")
FREE: dict[str, str] = {
    "hello": "你好！给我图片、声音或其他输入，然后问我吧。",
    "who": "我是小纳，一个能看、能听、能感觉的小模型。",
    "can_do": "我能认出图片、声音和其他输入里的数字、动物和交通工具。",
    "thanks": "不客气！",
    "bye": "再见！",
    "world": "这个我不知道。我只知道数字、动物和交通工具。",
}
UNSURE = Answer("我不确定这是什么。", truth="doubt")
VERBS: dict[str, str] = {
    "see": "看到",
    "hear": "听到",
    "sense": "感觉到",
    "feel": "感受到",
    "perceive": "察觉到",
    "notice": "注意到",
    "recognise": "认出",
}
LIKES: dict[str, str] = {"look": "看起来", "sound": "听起来", "feel": "摸起来"}
_KIND_WORDS = CATEGORY_WORDS["zh"]
_DIGIT = frozenset(
    {"parity", "odd_or_even", "next", "previous", "plus", "minus", "compare", "numeral", "word"}
)


def answer(ask: Ask, concepts: tuple[int, ...]) -> Answer:
    """The answer to ``ask`` about the perceived ``concepts`` (one or two label ids; none for text-only
    talk)."""
    kind = ask.kind
    if kind in FREE:
        return Answer(FREE[kind], truth="free")
    if kind in ("find_sound", "find"):
        return Answer(_find(ask), zh_bare(ask.target))
    if kind == "which_bigger":
        return _bigger(ask, ask.options)
    if not concepts:
        return NOTHING
    if all(concept == UNCLEAR for concept in concepts):
        return _doubt(ask)
    if len(concepts) > 1 or kind in TWO_KINDS:
        return _about_two(ask, (concepts[0], concepts[-1]))
    return _about_one(ask, concepts[0])


def _doubt(ask: Ask) -> Answer:
    if ask.kind == "see":
        return Answer(f"我不确定{VERBS[ask.word]}了什么。", truth="doubt")
    if ask.kind.startswith("caption"):
        return Answer("不清楚的东西", truth="doubt")
    return UNSURE


def _about_one(ask: Ask, concept: int) -> Answer:
    noun, kind = zh_noun(concept), ask.kind
    if kind in ("name", "again"):
        return Answer(f"这是{noun}。", noun)
    if kind == "see":
        return Answer(f"我{VERBS[ask.word]}了{noun}。", noun)
    if kind == "like":
        return Answer(f"{LIKES[ask.word]}像{noun}。", noun)
    if kind in ("number", "animal", "vehicle"):
        fits = category(concept) == kind
        return Answer(f"这是{noun}。" if fits else f"这不是{_KIND_WORDS[kind]}，这是{noun}。", noun)
    if kind == "short":
        return Answer(f"{zh_bare(concept)}。", noun)
    if kind == "describe":
        return Answer(f"这是{noun}，是{_description(concept)}。", noun)
    if kind == "define":
        return Answer(f"{zh_bare(concept)}是{_description(concept)}。", _description(concept))
    if kind == "is_it":
        word = "是的" if ask.target == concept else "不是"
        return Answer(f"{word}，这是{noun}。", word)
    if kind == "choice":
        return Answer(f"这是{noun}。" if concept in ask.options else f"都不是，这是{noun}。", noun)
    if kind == "recall":
        return Answer(f"刚才是{noun}。", noun)
    if kind.startswith("caption"):
        return Answer(_caption(kind, concept), noun)
    if kind == "beyond":
        return Answer(f"这个我不知道，我只知道这是{noun}。", noun)
    if kind in ("is_kind", "category"):
        return _kind_answer(ask, concept)
    return _digit_answer(ask, concept) if kind in _DIGIT else _object_answer(ask, concept)


def _description(concept: int) -> str:
    if is_digit(concept):
        return "奇数" if concept % 2 else "偶数"
    return ZH_DESCRIPTIONS[concept]


def _caption(kind: str, concept: int) -> str:
    name = zh_bare(concept)
    if kind == "caption_image":
        return f"手写数字{name}" if is_digit(concept) else f"一张{name}的照片"
    if kind == "caption_sound":
        return f"数字{name}的读音" if is_digit(concept) else f"{name}的声音"
    return zh_noun(concept)


def _kind_answer(ask: Ask, concept: int) -> Answer:
    truth = category(concept)
    fact = f"{zh_bare(concept)}是{_KIND_WORDS[truth]}"
    if ask.kind == "category":
        return Answer(f"{fact}。", _KIND_WORDS[truth])
    word = "是的" if ask.word == truth else "不是"
    return Answer(f"{word}，{fact}。", word)


def _digit_answer(ask: Ask, concept: int) -> Answer:
    name = zh_bare(concept)
    if not is_digit(concept):
        return Answer(f"{name}不是数字。", "不是数字")
    parity = "奇数" if concept % 2 else "偶数"
    if ask.kind == "parity":
        word = "是的" if (ask.word == "odd") == bool(concept % 2) else "不是"
        return Answer(f"{word}，{name}是{parity}。", word)
    if ask.kind == "odd_or_even":
        return Answer(f"{name}是{parity}。", parity)
    if ask.kind == "next":
        return Answer(f"{name}的后面是{zh_number(concept + 1)}。", zh_number(concept + 1))
    if ask.kind == "previous":
        return Answer(f"{name}的前面是{zh_number(concept - 1)}。", zh_number(concept - 1))
    if ask.kind == "plus":
        total = zh_number(concept + ask.number)
        return Answer(f"{name}加{zh_number(ask.number)}等于{total}。", total)
    if ask.kind == "minus":
        left = zh_number(concept - ask.number)
        return Answer(f"{name}减{zh_number(ask.number)}等于{left}。", left)
    if ask.kind == "compare":
        return _comparison(ask, concept)
    return Answer(str(concept) if ask.kind == "numeral" else name, name)


def _comparison(ask: Ask, concept: int) -> Answer:
    name, other = zh_bare(concept), zh_number(ask.number)
    true = concept > ask.number if ask.word == "bigger" else concept < ask.number
    relation = (
        f"和{other}一样大" if concept == ask.number else f"比{other}{'大' if concept > ask.number else '小'}"
    )
    word = "是的" if true else "不"
    return Answer(f"{word}，{name}{relation}。", word)


def _object_answer(ask: Ask, concept: int) -> Answer:
    name, kind = zh_bare(concept), ask.kind
    if is_digit(concept):
        return Answer(f"{name}是数字，不是动物也不是交通工具。", "是数字")
    if kind == "fly":
        return _yes_no(concept in CAN_FLY, f"{name}会飞", f"{name}不会飞")
    if kind == "live_water":
        return _yes_no(concept in LIVES_IN_WATER, f"{name}住在水里和陆地上", f"{name}不住在水里")
    if kind == "sail":
        return _yes_no(concept in SAILS, f"{name}在水上开", f"{name}不在水上开")
    if kind == "road":
        return _yes_no(concept in DRIVES, f"{name}在路上开", f"{name}不在路上开")
    if kind == "sound":
        return Answer(f"{name}会{ZH_SOUNDS[concept]}。", ZH_SOUNDS[concept])
    if kind == "legs":
        if concept not in ANIMALS:
            return Answer(f"{name}没有腿。", "没有腿")
        count = "两条腿" if LEGS[concept] == 2 else f"{ZH_NUMBERS[LEGS[concept]]}条腿"
        return Answer(f"{name}有{count}。", count)
    if concept in (AUTOMOBILE, TRUCK):
        return Answer(f"{name}{'有' if concept == AUTOMOBILE else '至少有'}四个轮子。", "四个轮子")
    if concept in VEHICLES and concept != SHIP:
        return Answer(f"{name}有降落用的轮子。", "降落用的轮子")
    return Answer(f"{name}没有轮子。", "没有轮子")


def _yes_no(true: bool, positive: str, negative: str) -> Answer:
    return Answer(f"是的，{positive}。", "是的") if true else Answer(f"不，{negative}。", "不")


def _about_two(ask: Ask, concepts: tuple[int, int]) -> Answer:
    first, second = sorted(concepts)
    kind = ask.kind
    if second == UNCLEAR:
        noun = zh_noun(first)
        return Answer(f"一个是{noun}，另一个我不确定。", noun)
    nouns = f"{zh_noun(first)}和{zh_noun(second)}"
    if kind == "sum":
        if not (is_digit(first) and is_digit(second)):
            return Answer(f"这不是两个数字，是{nouns}。", "不是两个数字")
        total = zh_number(first + second)
        return Answer(f"{zh_number(first)}加{zh_number(second)}等于{total}。", total)
    if kind == "bigger":
        return _bigger(ask, (first, second))
    if first == second and kind not in ("is_there", "is_it"):
        return _same_twice(ask, first)
    if kind == "is_it":
        word = "是的" if ask.target in concepts else "不是"
        return Answer(f"{word}，这是{nouns if first != second else zh_noun(first)}。", word)
    if kind == "is_there":
        word = "有" if ask.target in concepts else "没有"
        return Answer(f"{word}，是{nouns if first != second else zh_noun(first)}。", word)
    if kind == "see_and_hear":
        return Answer(f"我看到和听到了{nouns}。", nouns)
    if kind == "see":
        return Answer(f"我{VERBS[ask.word]}了{nouns}。", nouns)
    if kind == "short":
        return Answer(f"{zh_bare(first)}，{zh_bare(second)}。", nouns)
    if kind == "describe":
        return Answer(
            f"有{zh_noun(first)}，是{_description(first)}；还有{zh_noun(second)}，是{_description(second)}。",
            nouns,
        )
    return Answer(f"这是{nouns}。", nouns)


def _same_twice(ask: Ask, concept: int) -> Answer:
    if ask.kind in ("name", "see", "short", "describe"):
        return _about_one(ask, concept)
    return Answer(f"两个一样，都是{zh_noun(concept)}。", zh_noun(concept))


def _bigger(ask: Ask, pair: tuple[int, int]) -> Answer:
    first, second = sorted(pair)
    if not (is_digit(first) and is_digit(second)):
        return Answer(f"这不是两个数字，是{zh_noun(first)}和{zh_noun(second)}。", "不是两个数字")
    if first == second:
        return Answer(f"两个一样，都是{zh_noun(first)}。", "一样")
    large, small = zh_number(second), zh_number(first)
    if ask.word == "bigger":
        return Answer(f"{large}比{small}大。", large)
    return Answer(f"{small}比{large}小。", small)


def _find(ask: Ask) -> str:
    name = zh_bare(ask.target)
    if ask.kind == "find_sound":
        return f"{name}会{ZH_SOUNDS[ask.target]}。"
    verb = {"flying": "会飞", "sailing": "在水上开", "water": "住在水里和陆地上"}
    clue = next(name for name, concept in CLUES.items() if concept == ask.target)
    return f"{name}{verb[clue.split('_')[0]]}。"


def same_answer(before: int, now: int) -> Answer:
    """The answer to "is it the same as before?"."""
    if UNCLEAR in (before, now):
        return UNSURE
    if before == now:
        return Answer(f"是的，这还是{zh_noun(now)}。", "是的")
    return Answer(f"不是，刚才是{zh_noun(before)}，现在是{zh_noun(now)}。", "不是")
