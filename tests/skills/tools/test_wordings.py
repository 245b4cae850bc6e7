"""How many wordings of sums the calculator's routes understand, if what is perceived is right."""

import pytest

from imagebind_llm.common.modality import Modality
from imagebind_llm.model.messages import MediaItem, user_message
from imagebind_llm.skills.tools import CALCULATOR
from imagebind_llm.skills.tools.calculator import calculate
from imagebind_llm.skills.tools.perceived import plan

wordings = pytest.importorskip("nano_lab.evaluation.tool_questions")
MEDIA = [MediaItem(Modality.IMAGE, "seen", 1.0), MediaItem(Modality.AUDIO, "heard", 1.0)]


def understood(wording):
    """Whether the call is the right one, for a larger digit that is seen and for one that is heard."""
    for seen, heard in ((7, 2), (2, 8)):
        found = plan([user_message(wording.text, MEDIA)], [CALCULATOR])
        if found is None:
            return False
        answers = [str({"seen": seen, "heard": heard}[one.item.source]) for one in found.perceptions]
        if calculate(found.arguments(answers)["expression"]) != str(wording.result(seen, heard)):
            return False
    return True


@pytest.mark.parametrize(("name", "least"), [("KNOWN", 12), ("NEW", 12), ("HELD_OUT", 35)])
def test_as_many_as_the_page_says(name, least):
    assert sum(map(understood, getattr(wordings, name))) >= least


@pytest.mark.parametrize(
    "question",
    [
        "Which animal is bigger?",
        "What is the largest animal?",
        "Find the larger dog.",
        "Is it a dog or a cat?",
        "What is more important?",
        "Which of the two animals is larger?",
        "What is left?",
        "Tell me the number.",
        "Name the digit.",
        "Are they the same?",
        "Are these two the same digit?",
        "Is the number you see the number you hear?",
    ],
)
def test_questions_that_only_look_like_sums(question):
    assert plan([user_message(question, MEDIA)], [CALCULATOR]) is None
