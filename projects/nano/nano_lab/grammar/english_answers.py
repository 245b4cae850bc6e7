"""The English answers: one wording per question and truth, so that a small model learns it sharply."""

from __future__ import annotations

from nano_lab.grammar.answer import Answer, capitalised
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
    EN_DESCRIPTIONS,
    EN_NAMES,
    EN_NUMBERS,
    EN_SOUNDS,
    en_bare,
    en_noun,
    en_number,
)
from nano_lab.world.concepts import UNCLEAR

NOTHING = Answer(
    "You have not given me anything to look at. Please attach an image, a sound or another input.",
    truth="nothing",
)
HELLO = "Hello! Give me an image, a sound or another input and ask me about it."
FREE: dict[str, str] = {
    "hello": HELLO,
    "who": "I am nano, a small model that sees, hears and senses.",
    "can_do": "I can recognise numbers, animals and vehicles in images, sounds and other inputs.",
    "thanks": "You are welcome!",
    "bye": "Goodbye!",
    "world": "I do not know that. I only know numbers, animals and vehicles.",
}
UNSURE = Answer("I am not sure what this is.", truth="doubt")
_KIND_WORDS = CATEGORY_WORDS["en"]


def answer(ask: Ask, concepts: tuple[int, ...]) -> Answer:
    """The answer to ``ask`` about the perceived ``concepts`` (one or two label ids; none for text-only
    talk)."""
    kind = ask.kind
    if kind in FREE:
        return Answer(FREE[kind], truth="free")
    if kind in ("find_sound", "find"):
        return Answer(_find(ask), en_noun(ask.target))
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
        return Answer(f"I am not sure what I {ask.word}.", truth="doubt")
    if ask.kind.startswith("caption"):
        return Answer("something unclear", truth="doubt")
    return UNSURE


def _about_one(ask: Ask, concept: int) -> Answer:
    noun, kind = en_noun(concept), ask.kind
    if kind in ("name", "again"):
        return Answer(f"It is {noun}.", noun)
    if kind == "see":
        return Answer(f"I {ask.word} {noun}.", noun)
    if kind == "like":
        return Answer(f"It {ask.word}s like {noun}.", noun)
    if kind in ("number", "animal", "vehicle"):
        fits = category(concept) == kind
        return Answer(f"It is {noun}." if fits else f"It is not {_KIND_WORDS[kind]}. It is {noun}.", noun)
    if kind == "short":
        return Answer(
            f"{capitalised(EN_NUMBERS[concept] if is_digit(concept) else EN_NAMES[concept])}.", noun
        )
    if kind == "describe":
        return Answer(f"It is {noun}, {_description(concept)}.", noun)
    if kind == "define":
        return Answer(f"{capitalised(en_bare(concept))} is {_description(concept)}.", _description(concept))
    if kind == "is_it":
        word = "Yes" if ask.target == concept else "No"
        return Answer(f"{word}, it is {noun}.", word)
    if kind == "choice":
        return Answer(f"It is {noun}." if concept in ask.options else f"Neither, it is {noun}.", noun)
    if kind == "recall":
        return Answer(f"It was {noun}.", noun)
    if kind.startswith("caption"):
        return Answer(_caption(kind, concept), noun)
    if kind == "beyond":
        return Answer(f"I do not know that. I only know that it is {noun}.", noun)
    if kind in ("is_kind", "category"):
        return _kind_answer(ask, concept)
    return _digit_answer(ask, concept) if kind in _DIGIT else _object_answer(ask, concept)


def _description(concept: int) -> str:
    if is_digit(concept):
        return "an odd number" if concept % 2 else "an even number"
    return EN_DESCRIPTIONS[concept]


def _caption(kind: str, concept: int) -> str:
    if kind == "caption_image":
        return (
            f"a handwritten digit {EN_NUMBERS[concept]}"
            if is_digit(concept)
            else f"a photo of {en_noun(concept)}"
        )
    if kind == "caption_sound":
        return (
            f"a spoken digit {EN_NUMBERS[concept]}"
            if is_digit(concept)
            else f"the sound of {en_noun(concept)}"
        )
    return en_noun(concept)


def _kind_answer(ask: Ask, concept: int) -> Answer:
    truth = category(concept)
    fact = f"{en_bare(concept)} is {_KIND_WORDS[truth]}"
    if ask.kind == "category":
        return Answer(f"{capitalised(fact)}.", truth)
    word = "Yes" if ask.word == truth else "No"
    return Answer(f"{word}, {fact}.", word)


_DIGIT = frozenset(
    {"parity", "odd_or_even", "next", "previous", "plus", "minus", "compare", "numeral", "word"}
)


def _digit_answer(ask: Ask, concept: int) -> Answer:
    name = en_bare(concept)
    if not is_digit(concept):
        return Answer(f"{capitalised(name)} is not a number.", "not a number")
    parity = "odd" if concept % 2 else "even"
    if ask.kind == "parity":
        word = "Yes" if ask.word == parity else "No"
        return Answer(f"{word}, {name} is {parity}.", word)
    if ask.kind == "odd_or_even":
        return Answer(f"{capitalised(name)} is {parity}.", parity)
    if ask.kind == "next":
        return Answer(f"{capitalised(en_number(concept + 1))} comes after {name}.", en_number(concept + 1))
    if ask.kind == "previous":
        return Answer(f"{capitalised(en_number(concept - 1))} comes before {name}.", en_number(concept - 1))
    if ask.kind == "plus":
        total = en_number(concept + ask.number)
        return Answer(f"{capitalised(name)} plus {en_number(ask.number)} is {total}.", total)
    if ask.kind == "minus":
        left = en_number(concept - ask.number)
        return Answer(f"{capitalised(name)} minus {en_number(ask.number)} is {left}.", left)
    if ask.kind == "compare":
        return _comparison(ask, concept)
    return Answer(str(concept) if ask.kind == "numeral" else name, name)


def _comparison(ask: Ask, concept: int) -> Answer:
    relation = (
        "bigger than" if concept > ask.number else "smaller than" if concept < ask.number else "equal to"
    )
    word = "Yes" if relation.startswith(ask.word) else "No"
    return Answer(f"{word}, {en_bare(concept)} is {relation} {en_number(ask.number)}.", word)


def _object_answer(ask: Ask, concept: int) -> Answer:
    name, kind = en_bare(concept), ask.kind
    if is_digit(concept):
        return Answer(f"{capitalised(name)} is a number, not an animal or a vehicle.", "a number")
    if kind == "fly":
        return _yes_no(concept in CAN_FLY, f"{name} can fly", f"{name} cannot fly")
    if kind == "live_water":
        return _yes_no(
            concept in LIVES_IN_WATER, f"{name} lives in water and on land", f"{name} does not live in water"
        )
    if kind == "sail":
        return _yes_no(concept in SAILS, f"{name} sails on water", f"{name} does not sail on water")
    if kind == "road":
        return _yes_no(concept in DRIVES, f"{name} drives on the road", f"{name} does not drive on the road")
    if kind == "sound":
        return Answer(f"{capitalised(name)} {EN_SOUNDS[concept]}.", EN_SOUNDS[concept])
    if kind == "legs":
        count = EN_NUMBERS[LEGS[concept]] if concept in ANIMALS else "no"
        return Answer(f"{capitalised(name)} has {count} legs.", f"{count} legs")
    if concept in (AUTOMOBILE, TRUCK):
        count = "four wheels" if concept == AUTOMOBILE else "at least four wheels"
        return Answer(f"{capitalised(name)} has {count}.", "four wheels")
    if concept in VEHICLES and concept != SHIP:
        return Answer(f"{capitalised(name)} has wheels for landing.", "wheels for landing")
    return Answer(f"{capitalised(name)} has no wheels.", "no wheels")


def _yes_no(true: bool, positive: str, negative: str) -> Answer:
    return Answer(f"Yes, {positive}.", "Yes") if true else Answer(f"No, {negative}.", "No")


def _about_two(ask: Ask, concepts: tuple[int, int]) -> Answer:
    first, second = sorted(concepts)
    kind = ask.kind
    if second == UNCLEAR:
        noun = en_noun(first)
        return Answer(f"One is {noun}. I am not sure about the other.", noun)
    nouns = f"{en_noun(first)} and {en_noun(second)}"
    if kind == "sum":
        if not (is_digit(first) and is_digit(second)):
            return Answer(f"They are not two numbers: {nouns}.", "not two numbers")
        total = en_number(first + second)
        return Answer(f"{capitalised(en_number(first))} plus {en_number(second)} is {total}.", total)
    if kind == "bigger":
        return _bigger(ask, (first, second))
    if first == second and kind not in ("is_there", "is_it"):
        return _same_twice(ask, first)
    if kind in ("is_there", "is_it"):
        word = "Yes" if ask.target in concepts else "No"
        return Answer(f"{word}, there is {nouns if first != second else en_noun(first)}.", word)
    if kind == "see_and_hear":
        return Answer(f"I see and hear {nouns}.", nouns)
    if kind == "see":
        return Answer(f"I {ask.word} {nouns}.", nouns)
    if kind == "short":
        return Answer(f"{capitalised(_plain(first))}, {_plain(second)}.", nouns)
    if kind == "describe":
        one, other = (f"{en_noun(c)}, {_description(c)}" for c in (first, second))
        return Answer(f"There is {one}, and {other}.", nouns)
    return Answer(f"They are {nouns}.", nouns)


def _same_twice(ask: Ask, concept: int) -> Answer:
    if ask.kind in ("name", "see", "short", "describe"):
        return _about_one(ask, concept)
    return Answer(f"Both are the same: {en_noun(concept)}.", en_noun(concept))


def _plain(concept: int) -> str:
    return EN_NUMBERS[concept] if is_digit(concept) else EN_NAMES[concept]


def _bigger(ask: Ask, pair: tuple[int, int]) -> Answer:
    first, second = sorted(pair)
    if not (is_digit(first) and is_digit(second)):
        return Answer(f"They are not two numbers: {en_noun(first)} and {en_noun(second)}.", "not two numbers")
    if first == second:
        return Answer(f"Both are the same: {en_noun(first)}.", "the same")
    large, small = en_number(second), en_number(first)
    left, right = (large, small) if ask.word == "bigger" else (small, large)
    return Answer(f"{capitalised(left)} is {ask.word} than {right}.", left)


def _find(ask: Ask) -> str:
    subject = capitalised(en_noun(ask.target))
    if ask.kind == "find_sound":
        return f"{subject} {EN_SOUNDS[ask.target]}."
    verb = {"flying": "can fly", "sailing": "sails on water", "water": "lives in water and on land"}
    clue = next(name for name, concept in CLUES.items() if concept == ask.target)
    return f"{subject} {verb[clue.split('_')[0]]}."


def same_answer(before: int, now: int) -> Answer:
    """The answer to "is it the same as before?"."""
    if UNCLEAR in (before, now):
        return UNSURE
    if before == now:
        return Answer(f"Yes, it is {en_noun(now)} again.", "Yes")
    return Answer(f"No, it was {en_noun(before)}, now it is {en_noun(now)}.", "No")
