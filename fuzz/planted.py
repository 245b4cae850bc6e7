"""Faults on purpose, to see that they are found. Not part of a run unless it is asked for."""

import os
import time
from random import Random

from fuzz.target import Case, Target
from imagebind_llm.common.errors import UserError


def _refuse() -> None:
    raise UserError("this is bad; give something else")


def _crash() -> None:
    raise KeyError("nobody expected this")


def _long_message() -> None:
    raise UserError("two\nlines")


def _hang() -> None:
    time.sleep(1000)


def _swell() -> None:
    len(b"x" * 1_200_000_000)


def _die() -> None:
    os._exit(7)


FAULTS = {
    "accepted": lambda: None,
    "refused": _refuse,
    "crash": _crash,
    "two lines": _long_message,
    "hang": _hang,
    "memory": _swell,
    "death": _die,
}


class Planted(Target):
    """One of them."""

    name = "planted"

    def case(self, rng: Random) -> Case:
        kind = rng.choice(list(FAULTS))
        return Case(kind, FAULTS[kind])
