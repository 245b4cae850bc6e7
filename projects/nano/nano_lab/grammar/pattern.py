"""Tiny phrase patterns: ``what [is|'s] {it}`` stands for every way of choosing inside the brackets.

``[a|b|]`` is a choice (nesting allowed, an empty alternative is fine); ``{name}`` is a slot that is filled
when the phrase is drawn. Patterns are compiled once, so drawing one costs a few microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from random import Random

Node = str | tuple["Sequence", ...]
Sequence = tuple[Node, ...]

_GAP_BEFORE_MARK = re.compile(r" +([,.:;?!'，。？！：；])")
_GAPS = re.compile(r" {2,}")


@dataclass(frozen=True)
class Pattern:
    """A compiled phrase pattern and the name it is reported under."""

    name: str
    source: str
    nodes: Sequence

    def draw(self, random: Random, slots: Mapping[str, str]) -> str:
        """One phrase of the pattern, choices drawn from ``random`` and slots filled from ``slots``."""
        pieces: list[str] = []
        _draw(self.nodes, random, pieces)
        return _tidy("".join(pieces).format_map(slots))

    def expand(self, slots: Mapping[str, str]) -> Iterator[str]:
        """Every phrase of the pattern with the slots filled from ``slots``."""
        for text in _expand(self.nodes):
            yield _tidy(text.format_map(slots))


def compile_pattern(name: str, source: str, macros: Mapping[str, str]) -> Pattern:
    """Compile ``source`` after replacing each ``<macro>``; ValueError when brackets do not match."""
    text = source
    for macro, replacement in macros.items():
        text = text.replace(f"<{macro}>", replacement)
    if "<" in text or text.count("[") != text.count("]"):
        raise ValueError(f"pattern {source!r} has an unknown macro or unmatched brackets")
    nodes, end = _parse(text, 0)
    if end != len(text):
        raise ValueError(f"pattern {source!r} closes a bracket it never opened at {end}")
    return Pattern(name, source, nodes[0])


def _parse(text: str, start: int) -> tuple[tuple[Sequence, ...], int]:
    alternatives: list[Sequence] = []
    current: list[Node] = []
    at = start
    while at < len(text) and not (text[at] == "]" and start > 0):
        mark = text[at]
        if mark == "[":
            choices, closing = _parse(text, at + 1)
            current.append(choices)
            at = closing + 1
        elif mark == "|" and start > 0:
            alternatives.append(tuple(current))
            current = []
            at += 1
        else:
            stop = at
            while stop < len(text) and text[stop] not in "[]|":
                stop += 1
            current.append(text[at:stop])
            at = stop
    alternatives.append(tuple(current))
    return tuple(alternatives), at


def _draw(nodes: Sequence, random: Random, pieces: list[str]) -> None:
    for node in nodes:
        if isinstance(node, str):
            pieces.append(node)
        else:
            _draw(node[int(random.random() * len(node))], random, pieces)


def _expand(nodes: Sequence) -> Iterator[str]:
    options = [
        [node] if isinstance(node, str) else [t for alt in node for t in _expand(alt)] for node in nodes
    ]
    for combination in product(*options):
        yield "".join(combination)


def _tidy(text: str) -> str:
    if "  " in text:
        text = _GAPS.sub(" ", text)
    return _GAP_BEFORE_MARK.sub(r"\1", text.strip())
