"""An answer and what in it decides whether another wording of it is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Truth = Literal["fact", "doubt", "nothing", "free"]


@dataclass(frozen=True)
class Answer:
    """The grammar's answer.

    ``key`` is the shortest correct answer ("eight", "yes", "a cat"): another answer is right when it
    says at least the key and nothing beyond ``text``. ``truth`` tells facts from doubt, from "nothing
    was given" and from free talk.
    """

    text: str
    key: str = ""
    truth: Truth = "fact"


def capitalised(text: str) -> str:
    """The text with its first letter large."""
    return text[:1].upper() + text[1:]
