"""What is true of nano's concepts, independent of any language.

Everything here is general knowledge about ten digits and ten everyday things, chosen so that each
question has one undisputed answer (no "can a cat swim?").
"""

from __future__ import annotations

from imagebind_llm.common.errors import UserError
from nano_lab.world.concepts import DIGITS, OBJECTS, UNCLEAR

AIRPLANE, AUTOMOBILE, BIRD, CAT, DEER, DOG, FROG, HORSE, SHIP, TRUCK = (concept.id for concept in OBJECTS)

DIGIT_IDS: tuple[int, ...] = tuple(concept.id for concept in DIGITS)
OBJECT_IDS: tuple[int, ...] = tuple(concept.id for concept in OBJECTS)
ANIMALS: tuple[int, ...] = (BIRD, CAT, DEER, DOG, FROG, HORSE)
VEHICLES: tuple[int, ...] = (AIRPLANE, AUTOMOBILE, SHIP, TRUCK)
KNOWN_IDS: tuple[int, ...] = (*DIGIT_IDS, *OBJECT_IDS)

CAN_FLY = frozenset({AIRPLANE, BIRD})
LIVES_IN_WATER = frozenset({FROG})
SAILS = frozenset({SHIP})
DRIVES = frozenset({AUTOMOBILE, TRUCK})
LEGS: dict[int, int] = {BIRD: 2, CAT: 4, DEER: 4, DOG: 4, FROG: 4, HORSE: 4}

LARGEST_NUMBER = 20
"""Sums asked for stay within 0..20."""


def is_digit(concept: int) -> bool:
    """Whether the label id is one of the ten digits (its value is then the id itself)."""
    return 0 <= concept < 10


def category(concept: int) -> str:
    """``number``, ``animal``, ``vehicle`` or ``unclear``."""
    if is_digit(concept):
        return "number"
    if concept in ANIMALS:
        return "animal"
    return "vehicle" if concept in VEHICLES else "unclear"


def check_concept(concept: int) -> int:
    """The label id itself; :class:`UserError` when it is not 0..20."""
    if not 0 <= concept <= UNCLEAR:
        raise UserError(f"nano's label ids are 0..{UNCLEAR}, got {concept}")
    return int(concept)
