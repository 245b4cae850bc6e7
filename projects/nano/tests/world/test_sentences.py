"""Captions in sentences: the thing stays, what is around it changes and names nothing known."""

import numpy as np

from nano_lab.captions import captions
from nano_lab.world.concepts import DIGITS, UNCLEAR
from nano_lab.world.photographs import things_named
from nano_lab.world.sentences import Sentences

WRITTEN = (
    "A man sits on a bench in the park .",
    "A brown dog runs through the grass .",
    "Two children look at a wall .",
    "A dog looks at a horse .",
    "Women in white dresses dance outside",
)


def drawn(sentences: Sentences, label: int, count: int = 400) -> list[tuple[str, str]]:
    rng = np.random.default_rng(3)
    known = captions(label)
    chosen = [known[rng.integers(len(known))] for _ in range(count)]
    return [(caption, sentences.put(rng, label, caption)) for caption in chosen]


def test_a_caption_is_kept_put_between_words_or_replaced_by_a_sentence_about_the_thing():
    sentences = Sentences(WRITTEN)
    dog = 15
    found = drawn(sentences, dog)
    plain = [text for caption, text in found if text == caption]
    around = [text for caption, text in found if caption in text and text != caption]
    whole = [text for caption, text in found if caption not in text]
    assert len(plain) + len(around) + len(whole) == 400
    assert 0.35 < len(plain) / 400 < 0.65
    assert 0.25 < len(around) / 400 < 0.45
    assert 0.08 < len(whole) / 400 < 0.22
    assert set(map(str.lower, whole)) >= {"a brown dog runs through the grass"}
    assert not any("horse" in text for _, text in found), "it names two things"


def test_the_words_around_a_digit_name_no_other_thing_and_no_number():
    sentences = Sentences(WRITTEN)
    for digit in DIGITS:
        for caption, text in drawn(sentences, digit.id, 200):
            assert caption in text
            before, _, behind = text.partition(caption)
            rest = f"{before} {behind}"
            assert not things_named(rest)
            assert "Two" not in rest
            assert not set(rest) & set("0123456789零一二三四五六七八九")


def test_what_names_nothing_known_is_about_nothing_known():
    found = {text for caption, text in drawn(Sentences(WRITTEN), UNCLEAR) if caption != text}
    assert "A man sits on a bench in the park" in found
    assert "Two children look at a wall" not in found, "it has a number"
    assert not any(things_named(text) for text in found)
    numbers = [int(text) for text in found if text.isdecimal()]
    assert numbers
    assert min(numbers) >= 10
    chinese = [text for text in found if "\u4e00" <= text[:1] <= "\u9fff"]
    assert len(chinese) > 40
    assert not any(
        set(text) & set("零一二三四五六七八九猫狗马鸟鹿船")
        for text in chinese
        if text not in captions(UNCLEAR)
    )


def test_without_written_sentences_nanos_own_questions_lend_their_words():
    sentences = Sentences()
    texts = {text for label in (0, 15) for caption, text in drawn(sentences, label) if caption != text}
    assert len(texts) > 100
    seen = " ".join(sentences.vocabulary())
    assert "please" in seen.lower()
    assert any("\u4e00" <= sign <= "\u9fff" for sign in seen)
