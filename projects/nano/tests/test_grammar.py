"""The grammar tells the truth, keeps held-out phrasings out of training, and its judge knows right from
wrong."""

import re
from collections import Counter, defaultdict

import numpy as np
import pytest

from imagebind_llm.common.errors import UserError
from nano_lab import grammar
from nano_lab.captions import captions
from nano_lab.grammar import (
    LANGUAGES,
    MIXTURE_KINDS,
    PROPERTY_KINDS,
    SINGLE_KINDS,
    TEXT_KINDS,
    caption_sample,
    correct,
    is_doubt,
    judge,
    kinds,
    media_sample,
    messages,
    patterns,
    questions,
    statement_sample,
    text_sample,
)
from nano_lab.grammar.judge import normalised
from nano_lab.world.concepts import UNCLEAR

NAMES_THE_THING = ("name", "see", "like", "number", "animal", "vehicle", "short", "is_it", "choice", "beyond")
NAMES_BOTH = ("both", "see_and_hear", "name", "see", "short", "describe")


def draw(count, seed=0, split="train"):
    rng = np.random.default_rng(seed)
    for index in range(count):
        if index % 4 < 2:
            yield media_sample(rng, split=split)
        elif index % 4 == 2:
            yield statement_sample(rng, split=split)
        else:
            yield text_sample(rng, split=split)


@pytest.fixture(scope="module")
def train():
    return list(draw(20_000))


@pytest.fixture(scope="module")
def heldout():
    return list(draw(6_000, seed=1, split="heldout"))


def test_the_same_seed_draws_the_same_dialogs(train):
    assert list(draw(300)) == train[:300]
    assert list(draw(300, seed=5)) != train[:300]


def test_drawing_takes_exactly_one_number_from_the_generator():
    one, two = np.random.default_rng(3), np.random.default_rng(3)
    media_sample(one, (7,), language="en", kind="name")
    media_sample(two, None, follow_ups=2)
    assert one.integers(1 << 40) == two.integers(1 << 40)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_has_enough_phrasings_of_both_splits(language):
    assert set(kinds("en")) == set(kinds("zh"))
    for kind in kinds(language):
        assert len(patterns(language, kind, "train")) >= 10, kind
        assert len(patterns(language, kind, "heldout")) >= 3, kind
        assert len(questions(kind, language, "heldout")) == len(patterns(language, kind, "heldout"))


@pytest.mark.parametrize("split", ["train", "heldout"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_can_be_asked_for(language, split):
    rng = np.random.default_rng(2)
    for kind in SINGLE_KINDS:
        for concept in (7, 0, 13, 18, UNCLEAR):
            sample = media_sample(rng, (concept,), split, language, kind)
            assert (sample.kind, sample.language, sample.turns[0].concepts) == (kind, language, (concept,))
    for kind in MIXTURE_KINDS:
        for concepts in ((7, 2), (2, 2), (13, 7), (UNCLEAR, 13), (UNCLEAR, UNCLEAR)):
            assert media_sample(rng, concepts, split, language, kind).turns[0].about == concepts
    for kind in (*PROPERTY_KINDS, *TEXT_KINDS, "nothing"):
        sample = text_sample(rng, split, language, kind)
        assert sample.kind == kind
        assert all(turn.concepts is None for turn in sample.turns)


def test_every_kind_comes_up_by_itself_in_both_languages(train):
    seen = Counter((s.language, t.kind) for s in train for t in s.turns)
    for language in LANGUAGES:
        for kind in {*SINGLE_KINDS, *MIXTURE_KINDS, *TEXT_KINDS, "nothing", "again", "same", "recall"}:
            assert seen[language, kind] > 5, (language, kind)


def words_of(text, language):
    # A Chinese text is seen as its characters, an English one as its words.
    return re.findall(r"[a-z']+", text.lower()) if language == "en" else re.findall(r"[一-鿿]", text)


def test_heldout_phrasings_are_new_arrangements_of_training_words(train, heldout):
    texts = {normalised(t.question) for s in train for t in s.turns}
    vocabulary = {w for s in train for t in s.turns for w in words_of(t.question, s.language)}
    for language in LANGUAGES:
        for kind in kinds(language):
            for pattern in patterns(language, kind, "train"):
                vocabulary |= {
                    w for text in pattern.expand(defaultdict(str)) for w in words_of(text, language)
                }
    for sample in heldout:
        for turn in sample.turns:
            assert ".heldout." in turn.phrasing
            assert normalised(turn.question) not in texts, turn.question
            assert set(words_of(turn.question, sample.language)) <= vocabulary, turn.question


def test_no_heldout_pattern_can_be_drawn_in_training():
    slots = defaultdict(lambda: "X")
    for language in LANGUAGES:
        everything = {"train": set(), "heldout": set()}
        for kind in kinds(language):
            for split, texts in everything.items():
                for pattern in patterns(language, kind, split):
                    texts |= {normalised(text) for text in pattern.expand(slots)}
        assert not everything["train"] & everything["heldout"]


def test_one_question_about_one_thing_has_one_answer(train):
    answers = defaultdict(set)
    for sample in train:
        turn = sample.turns[0]
        if turn.concepts:
            answers[normalised(turn.question), turn.concepts].add(turn.answer)
    assert [(key, said) for key, said in answers.items() if len(said) > 1] == []


def test_the_judge_accepts_every_true_answer_and_rejects_every_other(train):
    for sample in train:
        for turn in sample.turns:
            assert correct(turn, turn.answer), turn
            if not turn.about or turn.truth != "fact":
                continue
            single = len(turn.about) == 1
            if turn.kind in (NAMES_THE_THING if single else NAMES_BOTH) or turn.kind == "describe":
                assert judge(turn.answer, turn.about), turn
                wrong = tuple((c + 1) % 20 for c in turn.about)
                if set(wrong) != set(turn.about):
                    assert not judge(turn.answer, wrong), turn


def test_an_answer_about_another_thing_is_incorrect():
    rng = np.random.default_rng(4)
    for kind in ("name", "see", "short", "describe", "number", "numeral", "next", "plus", "caption_image"):
        for language in LANGUAGES:
            right = media_sample(rng, (7,), "train", language, kind).turns[0]
            other = media_sample(rng, (3,), "train", language, kind).turns[0]
            if kind == "plus":
                continue
            assert not correct(right, other.answer), (right, other)


@pytest.mark.parametrize(
    ("answer", "concepts", "verdict"),
    [
        ("It is the number seven.", (7,), True),
        ("7", (7,), True),
        ("It is 7.", (7,), True),
        ("七", (7,), True),
        ("数字7", (7,), True),
        ("这是十七。", (7,), False),
        ("It is seventeen.", (7,), False),
        ("It is 17.", (7,), False),
        ("It is seven or nine.", (7,), False),
        ("This one is a cat.", (13,), True),
        ("This one is a cat.", (1,), False),
        ("It is the number one.", (1,), True),
        ("这是一只猫。", (13,), True),
        ("这是一只猫。", (1,), False),
        ("这是一。", (1,), True),
        ("这是数字一。", (1,), True),
        ("A plane.", (10,), True),
        ("It is an automobile.", (11,), True),
        ("这是一辆轿车。", (11,), True),
        ("这是一辆卡车。", (11,), False),
        ("这是一匹马。", (17,), True),
        ("这是一匹斑马。", (17,), False),
        ("It is not a cat.", (13,), False),
        ("这不是猫。", (13,), False),
        ("It is a cat and a dog.", (13,), False),
        ("A dog and a cat.", (13, 15), True),
        ("A dog.", (13, 15), False),
        ("Two and seven.", (7, 2), True),
        ("I see a cat, an animal with four legs.", (13,), True),
        ("猫有四条腿。", (13,), True),
        ("It is a cathedral.", (13,), False),
        ("I am not sure what this is.", (UNCLEAR,), True),
        ("It is a cat.", (UNCLEAR,), False),
        ("I am not sure, maybe a cat.", (UNCLEAR,), False),
        ("我不确定这是什么。", (UNCLEAR,), True),
        ("I am not sure what this is.", (13,), False),
        ("", (13,), False),
        ("One is a cat. I am not sure about the other.", (13, UNCLEAR), True),
        # denials of the true label
        ("not a dog", (15,), False),
        ("There is no dog.", (15,), False),
        ("I don't see a dog here.", (15,), False),
        ("no cat here", (13,), False),
        ("It is not seven.", (7,), False),
        ("It isn’t the number seven.", (7,), False),
        ("neither a dog nor a cat", (13, 15), False),
        ("anything but a dog", (15,), False),
        ("没有飞机", (10,), False),
        ("我没看到飞机。", (10,), False),
        ("并非飞机", (10,), False),
        ("这不是数字七。", (7,), False),
        ("It is a dog, not a cat.", (15,), False),
        # denials of something else
        ("No, it is a dog.", (15,), True),
        ("No it is a dog.", (15,), True),
        ("It is not a vehicle. It is a dog.", (15,), True),
        ("It is not a number but a dog.", (15,), True),
        ("There is no doubt that it is a dog.", (15,), True),
        ("这不是数字，而是飞机。", (10,), True),
        # other words and numbers that hold a label
        ("It was taken in 2007.", (7,), False),
        ("seven hundred", (7,), False),
        ("twenty-seven", (7,), False),
        ("seven or eight", (7,), False),
        ("七或八", (7,), False),
        ("Dogs.", (15,), True),
        ("puppies", (15,), True),
        ("lorries", (19,), True),
        ("a bulldog", (15,), False),
        ("一只熊猫", (13,), False),
        ("热狗", (15,), False),
        ("猫头鹰", (13,), False),
        ("飞船", (18,), False),
    ],
)
def test_judge(answer, concepts, verdict):
    assert judge(answer, concepts) is verdict


@pytest.mark.parametrize(
    ("language", "kind", "concept", "right", "wrong"),
    [
        (
            "en",
            "next",
            7,
            ("Eight.", "8", "It is eight.", "Eight comes after seven."),
            ("Seven.", "Nine.", ""),
        ),
        ("en", "odd_or_even", 7, ("Odd.", "It is odd."), ("Even.", "It is even, not odd.", "Seven.")),
        ("zh", "odd_or_even", 8, ("偶数", "它是双数。"), ("奇数", "八")),
        (
            "en",
            "fly",
            12,
            ("Yes.", "Yes, a bird can fly."),
            ("No.", "Yes, a cat can fly.", "Yes, it cannot fly."),
        ),
        ("zh", "fly", 13, ("不，猫不会飞。", "不会。"), ("会。", "是的，猫会飞。")),
        ("en", "legs", 13, ("Four.", "Four legs.", "4 legs"), ("Two legs.", "None.")),
        ("zh", "sound", 15, ("汪汪叫", "狗会汪汪叫。"), ("喵喵叫", "猫会汪汪叫。")),
        ("en", "category", 13, ("An animal.", "It is an animal."), ("A vehicle.", "A cat.")),
    ],
)
def test_correct_takes_other_wordings_and_refuses_wrong_ones(language, kind, concept, right, wrong):
    turn = media_sample(np.random.default_rng(0), (concept,), "train", language, kind).turns[0]
    assert [answer for answer in right if not correct(turn, answer)] == []
    assert [answer for answer in wrong if correct(turn, answer)] == []


def test_unclear_input_is_met_with_doubt(train):
    for sample in train:
        for turn in sample.turns:
            if turn.about == (UNCLEAR,):
                assert turn.truth == "doubt"
                assert turn.kind.startswith("caption") or is_doubt(turn.answer), turn
            elif turn.about:
                assert turn.kind == "same" or not is_doubt(turn.answer)


def test_yes_and_no_are_balanced(train):
    for kind in ("is_it", "parity", "compare", "is_kind", "is_there"):
        answers = [t.key for s in train for t in s.turns if t.kind == kind and t.truth == "fact"]
        polar = [key for key in answers if key in ("Yes", "是的", "有", "No", "不是", "不", "没有")]
        yes = sum(key in ("Yes", "是的", "有") for key in polar)
        assert 0.42 < yes / len(polar) < 0.58, kind


def test_chinese_is_chinese_and_english_is_english(train, heldout):
    for sample in (*train, *heldout):
        for turn in sample.turns:
            text = turn.question + turn.answer
            if sample.language == "zh":
                assert not re.search(r"[A-Za-z{}\[\]|]", text), text
            else:
                assert text.isascii(), text
                assert not re.search(r"[{}\[\]|]|  | [,.?]", text), text
                assert not re.search(r"\ba (?:[aei8]|o(?!ne))|\ban [^aeio8]", text.lower()), text


TENS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
EN = {word: number for number, word in enumerate(TENS.split()[:11])}
ZH = {word: number for number, word in enumerate("零一二三四五六七八九十")}


def value(text):
    # An oracle of its own: the first number in a phrase, by eye rather than by the grammar's tables.
    if match := re.search(r"\d+", text):
        return int(match[0])
    for table in (EN, ZH):
        for word, number in table.items():
            if re.search(rf"\b{word}\b", text.lower()) if table is EN else word in text:
                return number
    raise AssertionError(text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_arithmetic_is_true(language):
    rng = np.random.default_rng(6)
    spoken = TENS.split() if language == "en" else [*ZH, *("十" + c for c in "一二三四五六七八九")]
    minus = "minus " if language == "en" else "负"

    def say(number):
        return spoken[number] if number >= 0 else minus + spoken[-number]

    joint = {"plus": (" plus ", "加"), "minus": (" minus ", "减")}
    for _ in range(400):
        digit = int(rng.integers(10))
        for kind, step in (("next", 1), ("previous", -1)):
            turn = media_sample(rng, (digit,), "train", language, kind).turns[0]
            said = (
                turn.answer.split(" comes ")[0]
                if language == "en"
                else turn.answer.rstrip("。").split("是")[1]
            )
            assert said.lower() == say(digit + step)
        for kind, sign in (("plus", 1), ("minus", -1)):
            turn = media_sample(rng, (digit,), "train", language, kind).turns[0]
            left, right = turn.answer.rstrip(".。").split(" is " if language == "en" else "等于")
            added = value(left.split(joint[kind][language == "zh"])[1])
            asked = re.sub("一下|一共", "", turn.question)
            assert value(asked) == added
            assert right == say(digit + sign * added)
        turn = media_sample(rng, (digit,), "train", language, "odd_or_even").turns[0]
        assert ("odd" in turn.answer or "奇" in turn.answer) == (digit % 2 == 1)
        turn = media_sample(rng, (digit,), "train", language, "parity").turns[0]
        asked_odd = bool(re.search(r"odd|奇|单", turn.question))
        assert turn.answer.startswith(("Yes", "是的")) == (asked_odd == bool(digit % 2))
        turn = media_sample(rng, (digit,), "train", language, "compare").turns[0]
        body = re.sub(r"(这个|这|一个|哪个)", "", turn.question)
        bigger = bool(re.search("bigger|larger|greater|大", body))
        assert turn.answer.startswith(("Yes", "是的")) == (
            digit > value(body) if bigger else digit < value(body)
        ), turn
        other = int(rng.integers(10))
        turn = media_sample(rng, (digit, other), "train", language, "sum").turns[0]
        assert turn.answer.rstrip(".。").split(" is " if language == "en" else "等于")[1] == say(
            digit + other
        )


@pytest.mark.parametrize(
    ("kind", "yes"), [("fly", {10, 12}), ("live_water", {16}), ("sail", {18}), ("road", {11, 19})]
)
def test_what_things_can_do(kind, yes):
    rng = np.random.default_rng(7)
    for concept in range(10, 20):
        for language in LANGUAGES:
            answer = media_sample(rng, (concept,), "train", language, kind).turns[0].answer
            assert answer.startswith(("Yes", "是的")) == (concept in yes), answer


def test_later_media_are_what_the_answer_is_about(train):
    for sample in train:
        shown = None
        for turn in sample.turns:
            shown = turn.concepts or shown
            if shown and turn.about and turn.kind != "recall":
                assert turn.about == shown


def test_messages_carry_the_concepts_where_media_arrive():
    sample = media_sample(np.random.default_rng(1), (7, 13), language="en", kind="both")
    first, second = messages(sample)
    assert first["content"][:2] == [{"type": "image", "concept": 7}, {"type": "image", "concept": 13}]
    assert first["content"][2] == {"type": "text", "text": sample.turns[0].question}
    assert second == {"role": "assistant", "content": [{"type": "text", "text": sample.turns[0].answer}]}


def test_captions_name_their_concept_and_unclear_ones_name_none():
    rng = np.random.default_rng(8)
    for concept in range(21):
        texts = captions(concept)
        assert len(set(texts)) == len(texts) > 8
        if concept == UNCLEAR:
            assert not any(grammar.named(text) for text in texts)
        else:
            expected = frozenset({f"num:{concept}" if concept < 10 else f"obj:{concept}"})
            # "something that barks" describes without a name; no caption names another thing
            assert {grammar.named(text) for text in texts} - {frozenset()} == {expected}
        sample = caption_sample(rng, concept)
        assert sample.turns[0].concepts == (concept,)


def test_what_cannot_be_asked_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match=r"0\.\.20, got 21"):
        media_sample(rng, (21,))
    with pytest.raises(UserError, match="one or two concepts, got 3"):
        media_sample(rng, (1, 2, 3))
    with pytest.raises(UserError, match="'fly' cannot be asked about 2"):
        media_sample(rng, (1, 2), kind="fly")
    with pytest.raises(UserError, match="no question of kind 'nonsense'"):
        patterns("en", "nonsense", "train")
    with pytest.raises(UserError, match="no kind 'nonsense'"):
        text_sample(rng, kind="nonsense")
