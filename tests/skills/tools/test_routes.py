"""Which tool the words of a question ask for, and what its arguments are made of."""

import time
from decimal import Decimal

import pytest

from imagebind_llm import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.model.messages import MediaItem, user_message
from imagebind_llm.skills.tools import CALCULATOR, Route, Tool
from imagebind_llm.skills.tools.numbers import numbers_in, one_number
from imagebind_llm.skills.tools.operands import Perception
from imagebind_llm.skills.tools.perceived import plan

SEEN = MediaItem(Modality.IMAGE, "seven.png", 1.0)
HEARD = MediaItem(Modality.AUDIO, "two.wav", 0.5)
OTHER = MediaItem(Modality.IMAGE, "five.png", 1.0)
ANSWERS = {"seven.png": "It is the number seven.", "two.wav": "I hear a two.", "five.png": "This is a 5!"}


def expression(question, *media):
    """What the calculator is asked where the model perceives as in ``ANSWERS``; None: it is not asked."""
    found = plan([user_message(question, media)], [CALCULATOR])
    if found is None:
        return None
    arguments = found.arguments([ANSWERS[one.item.source] for one in found.perceptions])
    return arguments["expression"]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Add the number you hear to the one you see.", "2 + 7"),
        ("add the number in the picture and the number in the recording", "7 + 2"),
        ("Please tell me the sum of what you see and what you hear.", "7 + 2"),
        ("What is the spoken number plus the written one?", "2 + 7"),
        ("What do the number you see and the number you hear make together?", "7 + 2"),
        ("What is the digit you see minus the digit you hear?", "7 - 2"),
        ("Subtract the number you hear from the number you see.", "7 - 2"),
        ("Take the number you hear away from the one you see.", "7 - 2"),
        ("Take two from the number you see", "7 - 2"),
        ("What is the difference between the two numbers?", "abs(7 - 2)"),
        ("Multiply the number in the image by the number in the sound.", "7 * 2"),
        ("What is the product of both numbers?", "7 * 2"),
        ("Multiply them.", "7 * 2"),
        ("Add the numbers", "7 + 2"),
        ("multiply the digits with each other", "7 * 2"),
        ("What do the digits make together?", "7 + 2"),
        ("Which is larger, the number you hear or the number you see?", "max(2, 7)"),
        ("Which number is smaller?", "min(7, 2)"),
        ("Which of them is it? What is the larger of the two numbers?", "max(7, 2)"),
        ("How much larger is the number you see than the number you hear?", "7 - 2"),
        ("Add 10 to the number you hear.", "10 + 2"),
        ("What is 3 plus 4?", "3 + 4"),
        ("What is 3+4?", "3 + 4"),
        ("what is twenty-one times three", "21 * 3"),
        ("Double the number you see.", "2 * 7"),
        ("What is 9 - 4?", "9 - 4"),
        ("What is twenty-one minus one?", "21 - 1"),
        ("Add the number one to the written one.", "1 + 7"),
        ("Add the first number to the second.", "7 + 2"),
        ("Divide the second number by the first one.", "2 / 7"),
        ("Add it to five", "7 + 5"),
        ("What is the square of the number you hear?", "(2) ** 2"),
    ],
)
def test_sums_of_what_is_seen_and_heard(question, expected):
    assert expression(question, SEEN, HEARD) == expected


def test_two_pictures_are_told_apart_by_their_order():
    assert expression("Subtract the first picture from the second picture.", SEEN, OTHER) == "5 - 7"
    assert (
        expression("Add the number in one picture to the number in the other picture.", SEEN, OTHER)
        == "7 + 5"
    )


@pytest.mark.parametrize(
    "question",
    [
        "What do you see?",
        "What number is this?",
        "Is this a seven?",
        "Describe the picture and the sound.",
        "Which animal is this?",
        "How are you?",
        "Add " + "very " * 100 + "much",
        "What comes after the number you see?",
    ],
)
def test_other_questions_ask_for_no_tool(question):
    assert expression(question, SEEN, HEARD) is None


@pytest.mark.parametrize(
    ("question", "media", "says"),
    [
        ("Add the number you hear to the one you see.", [SEEN], "something heard"),
        ("Add both numbers.", [SEEN], "2 media, and 1 are attached"),
        ("Add the third number to the first.", [SEEN, HEARD], "medium 3"),
        ("Add what you see and hear to five.", [SEEN, HEARD], "a number and of something heard"),
        ("Double what you see or hear.", [SEEN, HEARD], "several senses"),
        ("Add the weather to five.", [SEEN], "neither a number nor one of the media"),
    ],
)
def test_what_is_not_clear_is_said(question, media, says):
    with pytest.raises(UserError, match=says):
        expression(question, *media)


def test_each_medium_is_asked_about_alone_and_unweighted():
    found = plan([user_message("Add both numbers.", [SEEN, HEARD])], [CALCULATOR])
    first, second = found.questions()
    assert second[0]["content"][0] == {"type": "audio", "audio": "two.wav", "weight": 1.0}
    assert [part["type"] for part in first[0]["content"]] == ["image", "text"]


def test_a_medium_without_a_number_is_no_operand():
    found = plan([user_message("Double the number you see.", [SEEN])], [CALCULATOR])
    with pytest.raises(
        UserError, match=r"no number is perceived in seven.png: the model says 'It is a dog.'"
    ):
        found.arguments(["It is a dog."])
    with pytest.raises(UserError, match="no number"):
        found.arguments(["It is a one or a seven."])


def test_media_of_an_earlier_turn_are_still_seen():
    dialog = [
        user_message("What is this?", [SEEN]),
        {"role": "assistant", "content": "It is the number seven."},
        user_message("Add 5 to it.", []),
    ]
    found = plan(dialog, [CALCULATOR])
    assert [one.item for one in found.perceptions] == [SEEN]


def test_names_and_words_are_places_too():
    tool = Tool(
        "search",
        "",
        routes=(
            Route("(search|look) for {what:thing}", {"query": "{what}", "limit": 3}, "Found: {result}"),
            Route("(read|say) aloud {text:words}", {"text": "{text}"}),
            Route("compare them", {"pair": ["a"], "one": "{1:thing}", "two": "{2:thing}"}),
        ),
    )
    found = plan([user_message("Please search for what you see!", [SEEN])], [tool])
    assert found.arguments(["It is a fire truck."]) == {"query": "fire truck", "limit": 3}
    assert found.perceptions == [Perception(SEEN, "thing")]
    found = plan([user_message("Read aloud the whole text.", [])], [tool])
    assert found.arguments([]) == {"text": "the whole text"}
    found = plan([user_message("Compare them", [SEEN, HEARD])], [tool])
    assert found.arguments(["a dog", "This sounds like a cat."]) == {
        "pair": ["a"],
        "one": "a dog",
        "two": "cat",
    }


def test_a_number_stays_a_number_where_the_argument_is_one():
    tool = Tool("f", "", routes=(Route("take {a}", {"a": "{a}", "text": "a{a}"}),))
    found = plan([user_message("take 2.50", [])], [tool])
    assert found.arguments([]) == {"a": 2.5, "text": "a2.50"}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("seven and twenty-one", [7, 21]),
        ("It's a 3.5, or -2", [Decimal("3.5"), -2]),
        ("someone gone, 5th, v2", []),
        ("这是数字八。", [8]),
        ("9" * 50, []),
    ],
)
def test_numbers_in_text(text, numbers):
    assert numbers_in(text) == numbers


def test_one_number_named_twice_is_one():
    assert one_number("Seven. It is 7.") == 7
    assert one_number("six or seven") is None


@pytest.mark.parametrize(
    "phrase", ["", "add {a} {a}", "(a", "a)", "[a)", "{a} {b} {c}", "{a:number:b}", "{", "x" * 501]
)
def test_a_phrase_that_is_none_is_refused(phrase):
    with pytest.raises(UserError, match="phrase"):
        Route(phrase)


def test_a_phrase_is_no_regular_expression_and_takes_no_time():
    route = Route("a.* {a} b+ (c|$) {b}", {})
    assert route.match("a.* 1 b+ $ 3") == {"a": "1", "b": "3"}
    assert route.match("axx 1 bb c 3") is None
    started = time.perf_counter()
    assert Route("x {a} x {b} y").match("x " * 99) is None
    assert Route("x {a} x {b} y").match("x" * 100_000) is None
    assert time.perf_counter() - started < 5
