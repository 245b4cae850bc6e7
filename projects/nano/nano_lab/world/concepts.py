"""The closed list of things nano knows, with the label ids every other nano module uses.

Ids 0..9 are the handwritten and spoken digits, 10..19 the photographed objects in alphabetical order
(the class order of CIFAR-10), and 20 stands for "unclear": input that shows none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from imagebind_llm.common.errors import UserError

ConceptKind = Literal["digit", "object", "unclear"]


@dataclass(frozen=True)
class Concept:
    """One thing nano knows: its label id, its English name and what kind of thing it is."""

    id: int
    name: str
    kind: ConceptKind


_DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_OBJECT_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

DIGITS: tuple[Concept, ...] = tuple(Concept(i, name, "digit") for i, name in enumerate(_DIGIT_NAMES))
"""The ten digits; ``DIGITS[d].id == d``."""

OBJECTS: tuple[Concept, ...] = tuple(Concept(10 + i, name, "object") for i, name in enumerate(_OBJECT_NAMES))
"""The ten objects; ids 10..19."""

UNCLEAR = 20
"""Label id of far-off input: noise, blank frames, scribbles, silence."""

CONCEPTS: tuple[Concept, ...] = (*DIGITS, *OBJECTS, Concept(UNCLEAR, "unclear", "unclear"))
"""All concepts, indexable by label id."""

_BY_NAME = {concept.name: concept for concept in CONCEPTS}


def concept_named(name: str) -> Concept:
    """The concept called ``name``; :class:`UserError` lists the known names when there is none."""
    try:
        return _BY_NAME[name]
    except KeyError:
        known = ", ".join(_BY_NAME)
        raise UserError(f"nano knows no concept named {name!r}; use one of: {known}") from None
