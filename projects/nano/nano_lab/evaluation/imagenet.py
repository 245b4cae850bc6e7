"""Which ImageNet classes show nano's things, which look like them, and which show something else.

By class number (0 … 998 in the usual order, sorted by WordNet id). What merely looks like one of its things
(a wolf, a tram, a gazelle) is in neither group: neither a name nor doubt would be wrong.
"""

from __future__ import annotations

from nano_lab.grammar.facts import AIRPLANE, AUTOMOBILE, BIRD, CAT, DOG, FROG, HORSE, SHIP, TRUCK

_INSIDE: tuple[tuple[int, tuple[int, ...]], ...] = (
    (BIRD, (*range(7, 25), *range(80, 101), *range(127, 147))),
    (FROG, (30, 31, 32)),
    (DOG, tuple(range(151, 269))),
    (CAT, tuple(range(281, 286))),
    (HORSE, (339,)),
    (AUTOMOBILE, (436, 468, 511, 609, 627, 656, 661, 751, 817)),
    (TRUCK, (555, 569, 675, 717, 864, 867)),
    (AIRPLANE, (404, 895)),
    (SHIP, (403, 484, 510, 554, 625, 628, 724, 780, 814, 871, 914)),
)
_ALIKE = frozenset(
    (
        *range(269, 281), *range(286, 294),  # wolves, foxes, big cats
        340, *range(351, 354), *range(345, 351),  # zebra, antelopes, cattle
        104, 354, 355,  # kangaroos, camels
        26, 27,  # newts
        405, 407, 408, 417, 466, 472, 475, 479, 536, 537, 540, 547, 561, 565, 573, 575, 576, 581, 586, 595,
        603, 612, 654, 665, 670, 690, 694, 705, 718, 730, 734, 779, 802, 803, 820, 829, 833, 847, 850, 856,
        866, 874, 880, 908, 913, 920,  # vehicles of other kinds, their parts and their places
    )
)  # fmt: skip

_CONCEPT = {index: concept for concept, indices in _INSIDE for index in indices}


def inside(index: int) -> int | None:
    """The concept that a class shows, if nano knows it."""
    return _CONCEPT.get(index)


def outside(index: int) -> bool:
    """Whether a class shows something that nano neither knows nor could take for what it knows."""
    return index not in _CONCEPT and index not in _ALIKE
