"""The words for nano's concepts in both languages: names, aliases, articles, counters and sounds."""

from __future__ import annotations

from typing import Literal

from nano_lab.grammar.facts import (
    AIRPLANE,
    AUTOMOBILE,
    BIRD,
    CAT,
    DEER,
    DOG,
    FROG,
    HORSE,
    SHIP,
    TRUCK,
    is_digit,
)

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

_EN_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)
EN_NUMBERS: tuple[str, ...] = tuple(_EN_NUMBERS.split())
ZH_NUMBERS: tuple[str, ...] = (
    *"零一二三四五六七八九十",
    *("十" + mark for mark in "一二三四五六七八九"),
    "二十",
)

EN_NAMES: dict[int, str] = {
    AIRPLANE: "airplane",
    AUTOMOBILE: "car",
    BIRD: "bird",
    CAT: "cat",
    DEER: "deer",
    DOG: "dog",
    FROG: "frog",
    HORSE: "horse",
    SHIP: "ship",
    TRUCK: "truck",
}
"""The name used in answers; questions may use any alias."""

EN_ALIASES: dict[int, tuple[str, ...]] = {
    AIRPLANE: ("airplane", "plane", "aeroplane", "aircraft"),
    AUTOMOBILE: ("car", "automobile"),
    BIRD: ("bird",),
    CAT: ("cat", "kitten", "kitty"),
    DEER: ("deer",),
    DOG: ("dog", "puppy"),
    FROG: ("frog",),
    HORSE: ("horse",),
    SHIP: ("ship", "boat"),
    TRUCK: ("truck", "lorry"),
}
EN_ASKED: dict[int, tuple[str, ...]] = {
    AIRPLANE: ("an airplane", "an airplane", "a plane"),
    AUTOMOBILE: ("a car", "a car", "an automobile"),
    SHIP: ("a ship", "a ship", "a boat"),
}
"""How a thing is named in a question, where the plain name is not the only way."""

EN_SOUNDS: dict[int, str] = {
    AIRPLANE: "roars",
    AUTOMOBILE: "honks",
    BIRD: "chirps",
    CAT: "meows",
    DEER: "grunts",
    DOG: "barks",
    FROG: "croaks",
    HORSE: "neighs",
    SHIP: "blows its horn",
    TRUCK: "rumbles",
}
EN_DESCRIPTIONS: dict[int, str] = {
    AIRPLANE: "a vehicle that flies in the air",
    AUTOMOBILE: "a vehicle that drives on the road",
    BIRD: "an animal that can fly",
    CAT: "an animal that meows",
    DEER: "an animal with four legs that lives in the forest",
    DOG: "an animal that barks",
    FROG: "an animal that lives in water and on land",
    HORSE: "an animal that neighs",
    SHIP: "a vehicle that sails on water",
    TRUCK: "a big vehicle that drives on the road",
}

ZH_NAMES: dict[int, str] = {
    AIRPLANE: "飞机",
    AUTOMOBILE: "汽车",
    BIRD: "鸟",
    CAT: "猫",
    DEER: "鹿",
    DOG: "狗",
    FROG: "青蛙",
    HORSE: "马",
    SHIP: "船",
    TRUCK: "卡车",
}
ZH_ALIASES: dict[int, tuple[str, ...]] = {
    AIRPLANE: ("飞机", "客机"),
    AUTOMOBILE: ("汽车", "轿车", "小车"),
    BIRD: ("鸟",),
    CAT: ("猫",),
    DEER: ("鹿",),
    DOG: ("狗", "犬"),
    FROG: ("青蛙", "蛙"),
    HORSE: ("马",),
    SHIP: ("船",),
    TRUCK: ("卡车", "货车"),
}
ZH_COUNTERS: dict[int, str] = {
    AIRPLANE: "架",
    AUTOMOBILE: "辆",
    BIRD: "只",
    CAT: "只",
    DEER: "只",
    DOG: "只",
    FROG: "只",
    HORSE: "匹",
    SHIP: "艘",
    TRUCK: "辆",
}
ZH_SOUNDS: dict[int, str] = {
    AIRPLANE: "轰轰响",
    AUTOMOBILE: "嘀嘀响",
    BIRD: "叽叽喳喳叫",
    CAT: "喵喵叫",
    DEER: "呦呦叫",
    DOG: "汪汪叫",
    FROG: "呱呱叫",
    HORSE: "嘶嘶叫",
    SHIP: "呜呜响",
    TRUCK: "隆隆响",
}
ZH_DESCRIPTIONS: dict[int, str] = {
    AIRPLANE: "在天上飞的交通工具",
    AUTOMOBILE: "在路上开的交通工具",
    BIRD: "会飞的动物",
    CAT: "喵喵叫的动物",
    DEER: "住在森林里的四条腿的动物",
    DOG: "汪汪叫的动物",
    FROG: "住在水里和陆地上的动物",
    HORSE: "嘶嘶叫的动物",
    SHIP: "在水上开的交通工具",
    TRUCK: "在路上开的大型交通工具",
}

CATEGORY_WORDS: dict[Language, dict[str, str]] = {
    "en": {"number": "a number", "animal": "an animal", "vehicle": "a vehicle"},
    "zh": {"number": "数字", "animal": "动物", "vehicle": "交通工具"},
}


def en_number(value: int) -> str:
    """The English word for -20..20."""
    return EN_NUMBERS[value] if value >= 0 else f"minus {EN_NUMBERS[-value]}"


def zh_number(value: int) -> str:
    """The Chinese word for -20..20."""
    return ZH_NUMBERS[value] if value >= 0 else f"负{ZH_NUMBERS[-value]}"


def en_noun(concept: int) -> str:
    """``a cat`` / ``the number seven``: the form answers use."""
    if is_digit(concept):
        return f"the number {EN_NUMBERS[concept]}"
    name = EN_NAMES[concept]
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def zh_noun(concept: int) -> str:
    """``一只猫`` / ``数字七``: the form answers use."""
    if is_digit(concept):
        return f"数字{ZH_NUMBERS[concept]}"
    return f"一{ZH_COUNTERS[concept]}{ZH_NAMES[concept]}"


def en_bare(concept: int) -> str:
    """``a cat`` / ``seven``: the form that begins a statement about the thing."""
    return EN_NUMBERS[concept] if is_digit(concept) else en_noun(concept)


def zh_bare(concept: int) -> str:
    """``猫`` / ``七``: the form that begins a statement about the thing."""
    return ZH_NUMBERS[concept] if is_digit(concept) else ZH_NAMES[concept]
