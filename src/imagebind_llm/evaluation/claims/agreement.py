"""Whether two documents with Markdown tables say the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Place = tuple[str, str]
"""Heading above a table, and the first cell of a row (with a number if the heading has it twice)."""


@dataclass(frozen=True)
class Disagreement:
    """A row that two documents tell differently.

    Attributes:
        section: the heading above its table.
        row: its first cell.
        before: the other cells in the first document; None: it has no such row.
        now: those in the second.
    """

    section: str
    row: str
    before: tuple[str, ...] | None
    now: tuple[str, ...] | None

    def __str__(self) -> str:
        cells = [
            " · ".join(cells) if cells is not None else "no such row" for cells in (self.before, self.now)
        ]
        return f"{self.section}, {self.row}: {cells[0]} → {cells[1]}"


def disagreements(before: str, now: str) -> list[Disagreement]:
    """Rows of Markdown tables that differ, in the order of the first document, then of the second.

    Numbers are compared as they are printed: those that round to the same digits agree.
    """
    first, second = dict(_rows(before)), dict(_rows(now))
    return [
        Disagreement(*place, first.get(place), second.get(place))
        for place in dict.fromkeys((*first, *second))
        if first.get(place) != second.get(place)
    ]


def row_count(text: str) -> int:
    """How many rows the tables of a document have, without their heads."""
    return sum(1 for _ in _rows(text))


def _rows(text: str) -> Iterator[tuple[Place, tuple[str, ...]]]:
    section, head = "", True
    seen: dict[Place, int] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            section = line.lstrip("#").strip()
        if not line.startswith("|"):
            head = True
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if head or not set("".join(cells)) - set("-: "):
            head = False
            continue
        name = cells[0]
        seen[section, name] = seen.get((section, name), 0) + 1
        number = seen[section, name]
        yield (section, name if number == 1 else f"{name} ({number})"), tuple(cells[1:])
