"""JSON from outside: strict, and within limits."""

import json

import pytest

from imagebind_llm.common.json_text import DEEPEST, parse_json


@pytest.mark.parametrize(
    "text",
    ['{"a": [1, -2.5e3, "x", null, true, {"b": []}]}', "[]", '"\\ud83d\\ude80"', "5", "[" * 64 + "]" * 64],
)
def test_json_is_read(text):
    assert parse_json(text) == json.loads(text)


REFUSED = [
    ("NaN", "NaN is no number in JSON"),
    ('{"id": -Infinity}', "-Infinity is no number"),
    ("[1e999]", "1e999 is too large a number"),
    ("1" * 1001, "a number of 1001 digits"),
    ("9" * 5000, "a number of 5000 digits"),
    ('{"a": 1, "b": 2, "a": 3}', "the key 'a' stands twice in one object"),
    ("[" * 65 + "]" * 65, f"nested more than {DEEPEST} deep"),
    ("[" * 100_000, "nested more than 64 deep"),
    ('{"a":' * 900 + "1" + "}" * 900, "nested more than 64 deep"),
    ("[" + "{}," * 1_000_000 + "{}]", "more than 1,000,000 values"),
    ('{"a": 1} x', "Extra data"),
    ("", "Expecting value"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_everything_else_is_refused(number):
    text, complaint = REFUSED[number]
    with pytest.raises(ValueError, match=complaint) as caught:
        parse_json(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
