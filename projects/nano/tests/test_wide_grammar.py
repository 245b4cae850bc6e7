"""What training alone draws: more wordings, slips of typing, checks. The held-out wordings stay held out."""

import re
from collections import Counter, defaultdict
from random import Random

import numpy as np
import pytest

from nano_lab.data.dialogs import NanoDialogs, draw_things
from nano_lab.grammar import (
    LANGUAGES,
    check_sample,
    claim_sample,
    correct,
    is_nothing_given,
    kinds,
    media_sample,
    patterns,
    statement_sample,
    text_sample,
)
from nano_lab.grammar.ask import NEAR, draw_ask
from nano_lab.grammar.judge import named, normalised
from nano_lab.grammar.slips import slip
from nano_lab.grammar.words import EN_ALIASES, EN_NUMBERS
from nano_lab.world.concepts import UNCLEAR


def names_in(text):
    known = {*EN_NUMBERS, *(name for names in EN_ALIASES.values() for name in names)}
    return sorted(word for word in re.findall("[a-z]+", text.lower()) if word in known)


@pytest.mark.parametrize("language", LANGUAGES)
def test_training_shows_more_wordings_and_never_a_held_out_one(language):
    slots = defaultdict(lambda: "X")
    heldout = {
        normalised(text)
        for kind in kinds(language)
        for pattern in patterns(language, kind, "heldout")
        for text in pattern.expand(slots)
    }
    for kind in kinds(language):
        wide = patterns(language, kind, "wide")
        assert wide[: len(patterns(language, kind, "train"))] == patterns(language, kind, "train")
        assert not {normalised(t) for pattern in wide for t in pattern.expand(slots)} & heldout, kind
    assert len(patterns(language, "is_it", "wide")) > 2 * len(patterns(language, "is_it", "train"))


def test_checks_are_half_yes_and_their_answers_are_true():
    rng = np.random.default_rng(0)
    words, languages = Counter(), Counter()
    for number in range(4000):
        sample = check_sample(rng) if number % 2 else claim_sample(rng)
        languages[sample.language] += 1
        assert (sample.turns[0].concepts is None) == (number % 2 == 0)
        assert all(turn.concepts is None for turn in sample.turns[1:])
        for turn in sample.turns:
            assert correct(turn, turn.answer), turn
            if turn.kind in ("is_it", "is_there", "is_kind", "parity") and turn.truth == "fact":
                words[turn.kind, turn.key.lower() in ("yes", "是的", "有")] += 1
    for kind in ("is_it", "is_there", "is_kind", "parity"):
        share = words[kind, True] / (words[kind, True] + words[kind, False])
        assert 0.4 < share < 0.6, (kind, share)
    assert min(languages.values()) > 1500


def test_what_is_wrongly_asked_about_is_often_easily_confused():
    random = Random(0)
    for concept, near in NEAR.items():
        asked = [draw_ask(random, "is_it", (concept,), near=True).target for _ in range(400)]
        wrong = [target for target in asked if target != concept]
        assert 0.4 < len(wrong) / 400 < 0.6
        assert sum(target in near for target in wrong) > 0.4 * len(wrong)
        assert concept not in near


def test_slips_keep_the_names_of_things_and_the_language():
    rng, plain = np.random.default_rng(1), 0
    seen = Counter()
    for _ in range(1500):
        turn = media_sample(rng, split="train", follow_ups=0).turns[0]
        language = "en" if turn.question.isascii() else "zh"
        typed = slip(Random(int(rng.integers(1 << 30))), language, turn.question)
        assert names_in(typed) == names_in(turn.question), (turn.question, typed)
        plain += typed == turn.question
        seen["capitals"] += typed.isupper() and language == "en"
        seen["letters"] += typed.lower().split() != turn.question.lower().split() and typed[-1] in "?."
    assert 500 < plain < 1200
    assert seen["capitals"] > 40
    assert seen["letters"] > 40


def test_some_words_are_spelt_as_they_sound():
    typed = {slip(Random(number), "en", "What is in this photo?") for number in range(2000)}
    assert "What is in this foto?" in typed
    assert "Wat is in this photo?" in typed


def test_clauses_are_put_into_every_frame():
    for language, kind, said in (
        ("en", "fly", "I wonder whether X can fly."),
        ("en", "minus", "do you know how much X minus X is"),
        ("zh", "fly", "我想知道X会不会飞。"),
        ("zh", "fly", "有人说X会飞，对吗"),
        ("zh", "legs", "你能告诉我X有几条腿吗"),
    ):
        slots = defaultdict(lambda: "X")
        found = {text for pattern in patterns(language, kind, "wide") for text in pattern.expand(slots)}
        assert said in found, (kind, said)


def test_every_question_about_media_that_are_not_there_is_answered_so():
    rng, kinds_asked = np.random.default_rng(2), set()
    for _ in range(1500):
        (turn,) = text_sample(rng, "wide", kind="nothing").turns
        assert is_nothing_given(turn.answer)
        assert not named(turn.answer)
        kinds_asked.add(turn.phrasing.split(".")[1])
    assert {"is_it", "caption_sound", "sum", "see_and_hear", "legs", "compare"} <= kinds_asked


def test_wide_phrasings_do_not_move_those_of_the_evaluation():
    one, two = np.random.default_rng(3), np.random.default_rng(3)
    media_sample(one, split="wide")
    statement_sample(one, split="wide")
    media_sample(two)
    statement_sample(two)
    assert media_sample(one, split="heldout") == media_sample(two, split="heldout")


@pytest.mark.parametrize("kind", ["check", "talk", "things", "pair", "media"])
def test_dialogs_of_each_kind_bring_images(kind):
    rng = np.random.default_rng(4)
    for _ in range(60):
        found = NanoDialogs().dialog(kind, rng, "wide", lambda label: 100 + label, 0.2)
        parts = [part for part in found[0]["content"] if part["type"] == "image"]
        first = parts or [part for part in found[2]["content"] if part["type"] == "image"]
        assert len(first) == (2 if kind in ("things", "pair") else len(first)) > 0
        assert sum(part["weight"] for part in first) == pytest.approx(1.0)
        if kind == "talk":
            assert sum(message["role"] == "user" for message in found) > 1


def test_two_things_are_different_and_no_digits():
    rng = np.random.default_rng(5)
    drawn = [draw_things(rng) for _ in range(500)]
    assert all(9 < a < UNCLEAR > b > 9 and a != b for a, b in drawn)
    assert len({frozenset(pair) for pair in drawn}) == 45
