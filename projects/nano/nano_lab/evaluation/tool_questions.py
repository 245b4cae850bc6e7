"""Questions that need a tool: sums of digits that are seen and heard, of the test splits.

Right is an answer whose one call gave the right number. Where it is wrong, it is said why: the question was
not taken for one that needs a tool (``not_called``), a digit was perceived wrongly (``perceived``), or the
call was not the one that was asked for (``meant``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.metrics import Score
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.inference.calls import ToolCall
from imagebind_llm.skills.tools import CALCULATOR, ToolUser
from imagebind_llm.skills.tools.numbers import one_number
from nano_lab.world.tables import label_ids, read_columns

Sum = Callable[[int, int], int]
"""Of the digit that is seen and the one that is heard."""


@dataclass(frozen=True)
class Wording:
    """A question, and what its right answer is."""

    text: str
    result: Sum


KNOWN: tuple[Wording, ...] = (
    Wording("Add the number you hear to the one you see.", lambda s, h: s + h),
    Wording(
        "What is the sum of the number in the picture and the number in the recording?", lambda s, h: s + h
    ),
    Wording("What is the number you see plus the number you hear?", lambda s, h: s + h),
    Wording("What do both numbers make together?", lambda s, h: s + h),
    Wording("Subtract the number you hear from the number you see.", lambda s, h: s - h),
    Wording("What is the spoken digit minus the written digit?", lambda s, h: h - s),
    Wording("What is the difference between the two numbers?", lambda s, h: abs(s - h)),
    Wording("Multiply the number you see by the number you hear.", lambda s, h: s * h),
    Wording("What is the product of both numbers?", lambda s, h: s * h),
    Wording("What is the number in the image times the number in the sound?", lambda s, h: s * h),
    Wording("Which is larger, the number you see or the number you hear?", max),
    Wording("Which number is smaller?", min),
)
"""Wordings that the calculator's routes were written with."""
NEW: tuple[Wording, ...] = (
    Wording("Could you add the digit in this photo and the digit that is spoken?", lambda s, h: s + h),
    Wording("I wrote a number and said another one. What is their sum?", lambda s, h: s + h),
    Wording("Tell me the total of the digit you see and the digit you hear.", lambda s, h: s + h),
    Wording("How much is the written number plus the spoken number?", lambda s, h: s + h),
    Wording("What do you get if you subtract the heard number from the seen number?", lambda s, h: s - h),
    Wording("Take the spoken number away from the one in the picture, please.", lambda s, h: s - h),
    Wording("By how much do the two numbers differ?", lambda s, h: abs(s - h)),
    Wording("Please multiply the two numbers with each other.", lambda s, h: s * h),
    Wording("What is the result of the digit in the audio times the digit in the image?", lambda s, h: s * h),
    Wording("Which one is the greater number, what I drew or what I said?", max),
    Wording("What is the smaller one of these two numbers?", min),
    Wording("Is the number you see or the number you hear the bigger one?", max),
)
"""Wordings written afterwards, from which no route was made."""
HELD_OUT: tuple[Wording, ...] = (
    Wording(
        "If you put the number you see and the number you hear together, what do you get?", lambda s, h: s + h
    ),
    Wording("What's the picture's number added to the recording's number?", lambda s, h: s + h),
    Wording("Compute the sum of the two digits, please.", lambda s, h: s + h),
    Wording("Can you sum up the digit that is shown and the digit that is spoken?", lambda s, h: s + h),
    Wording("Work out the written number plus the one in the audio.", lambda s, h: s + h),
    Wording("How much do the two numbers come to altogether?", lambda s, h: s + h),
    Wording("I'd like to know the total of both digits.", lambda s, h: s + h),
    Wording("Add these two up for me.", lambda s, h: s + h),
    Wording("How far apart are the two numbers?", lambda s, h: abs(s - h)),
    Wording("What is left when the number you hear is taken from the number you see?", lambda s, h: s - h),
    Wording("Calculate the seen number minus the heard number.", lambda s, h: s - h),
    Wording(
        "How much more is the number in the picture than the number in the recording?", lambda s, h: s - h
    ),
    Wording("What is the gap between the two digits?", lambda s, h: abs(s - h)),
    Wording("Deduct the spoken digit from the digit shown.", lambda s, h: s - h),
    Wording("If I take the number I said from the number I drew, what remains?", lambda s, h: s - h),
    Wording("Find the difference of the digit you see and the digit you hear.", lambda s, h: abs(s - h)),
    Wording("What do you get when you multiply the digit you see by the digit you hear?", lambda s, h: s * h),
    Wording("Multiply what is written by what is spoken, please.", lambda s, h: s * h),
    Wording("What is the written digit multiplied with the spoken digit?", lambda s, h: s * h),
    Wording("Could you work out the product of the two digits?", lambda s, h: s * h),
    Wording("How much is the number in the photo times the number in the clip?", lambda s, h: s * h),
    Wording("What are the two numbers multiplied together?", lambda s, h: s * h),
    Wording("Give me the two numbers multiplied by each other.", lambda s, h: s * h),
    Wording("Which of the two is larger?", max),
    Wording("Which is the bigger number?", max),
    Wording("What is the maximum of the two numbers?", max),
    Wording("Of the number you see and the number you hear, which one is greater?", max),
    Wording("Tell me which number is higher, the spoken one or the written one.", max),
    Wording("Name the largest of the two digits.", max),
    Wording("Which digit is more, the one in the picture or the one in the sound?", max),
    Wording("Which of these digits is the smallest?", min),
    Wording("Which of the two numbers is less?", min),
    Wording("What's the minimum of the digit in the image and the digit in the audio?", min),
    Wording("Is the spoken number or the written number the smaller one?", min),
    Wording("Find the lower number, please.", min),
    Wording("Between the number I said and the number I wrote, which is smaller?", min),
)
"""Wordings written before the routes were widened, and not looked at while that was done."""


@dataclass(frozen=True)
class _Asked:
    wording: Wording
    seen: int
    heard: int
    request: Mapping[str, Any]


def evaluate_tools(bot: Assistant, data: Path, items: int, seed: int) -> dict[str, Any]:
    """Ask ``items`` questions of each of the three sets of wordings.

    Args:
        bot: the model.
        data: folder of ``mnist`` and ``fsdd``; their test splits are read.
        items: questions of each set.
        seed: of the pairs of digits.

    Returns:
        By set: ``right`` (a score), ``wrong`` (reason → count), ``by_wording``; and ``digits``, how many of
        the digits were perceived rightly.
    """
    random = np.random.default_rng(seed)
    pictures = read_columns(data, "mnist", "test", ("image", "label"))
    sounds = read_columns(data, "fsdd", "test", ("audio", "label"))
    numbers = label_ids(pictures["label"]), label_ids(sounds["label"])
    user = ToolUser(bot, [CALCULATOR])
    found: dict[str, Any] = {"seed": seed}
    perceived = Counter[bool]()
    for name, wordings in (("known", KNOWN), ("new", NEW), ("held_out", HELD_OUT)):
        outcomes: list[tuple[str, str]] = []
        for number in range(items):
            one, two = int(random.integers(len(numbers[0]))), int(random.integers(len(numbers[1])))
            asked = _Asked(
                wordings[number % len(wordings)],
                int(numbers[0][one]),
                int(numbers[1][two]),
                {"image": pictures["image"][one], "audio": sounds["audio"][two]},
            )
            try:
                calls = user.ask(asked.wording.text, **asked.request).calls
            except UserError:  # it is said to be unclear
                calls = ()
            call = calls[0] if calls else None
            outcomes.append((asked.wording.text, _outcome(asked, call, perceived)))
        found[name] = _summary(outcomes)
    found["digits"] = _score(perceived[True], perceived[True] + perceived[False])
    return found


def _outcome(asked: _Asked, call: ToolCall | None, perceived: Counter[bool]) -> str:
    if call is None:
        return "not_called"
    wrong = False
    for one in call.perceived:
        truth = asked.seen if one.medium.startswith("image") else asked.heard
        right = one_number(one.answer) == truth
        perceived[right] += 1
        wrong = wrong or not right
    if call.result == str(asked.wording.result(asked.seen, asked.heard)):
        return "right"
    return "perceived" if wrong or call.error is not None else "meant"


def _summary(outcomes: list[tuple[str, str]]) -> dict[str, Any]:
    reasons = Counter(outcome for _, outcome in outcomes)
    right = reasons.pop("right", 0)
    wordings = dict.fromkeys(text for text, _ in outcomes)
    return {
        "right": _score(right, len(outcomes)),
        "wrong": dict(reasons),
        "by_wording": {text: _share([how for which, how in outcomes if which == text]) for text in wordings},
    }


def _share(outcomes: list[str]) -> str:
    return f"{outcomes.count('right')}/{len(outcomes)}"


def _score(right: int, count: int) -> dict[str, Any]:
    return Score(right, count).to_dict()
