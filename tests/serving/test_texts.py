"""Texts that end an answer, however the tokens cut them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebind_llm.inference.engine import Event
from imagebind_llm.serving.texts import AnswerText


class Letters:
    """A tokenizer with a token for each letter."""

    all_special_ids = ()

    def decode(self, ids, skip_special_tokens=True):
        return "".join(map(chr, ids))

    def convert_ids_to_tokens(self, token):
        return chr(token)


def written(text: str, stop: tuple[str, ...]) -> tuple[str, bool]:
    found, answer = "", AnswerText(Letters(), stop)
    for number, letter in enumerate(text, start=1):
        found += answer.add(Event(0, ord(letter), "stop" if number == len(text) else None))
        if answer.stopped:
            break
    return found, answer.stopped


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("one two three", ("two",), "one"),
        ("aaab", ("aab",), "a"),
        ("abab", ("abc",), "abab"),
        ("end.", (".",), "end"),
        ("x##y", ("#", "##"), "x"),
    ],
)
def test_examples(text, stop, expected):
    assert written(text, stop)[0].strip() == expected


@given(st.text("ab", min_size=1, max_size=12), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_the_one_that_is_complete_first_ends_it(text, stop):
    beginnings = [text[:end] for end in range(len(text) + 1)]
    first = next((one for one in beginnings if any(each in one for each in stop)), None)
    found, stopped = written(text, tuple(stop))
    assert stopped == (first is not None)
    assert found == (text if first is None else first[: min(first.find(one) for one in stop if one in first)])
