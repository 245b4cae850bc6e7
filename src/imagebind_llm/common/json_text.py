"""JSON that somebody else wrote: read strictly, within limits."""

import json
import math
from typing import Any

DEEPEST = 64
"""Lists and objects inside of each other."""
MOST_VALUES = 1_000_000
"""Values in one text: a minute of a waveform written out as numbers. Each takes up to 200 bytes of memory."""

_MOST_DIGITS = 1000
"""Python itself stops at 4,300, and takes long before."""


def parse_json(text: str, most_values: int = MOST_VALUES) -> Any:
    """What a JSON text says.

    Unlike Python's reader it takes JSON only: no NaN or infinity, also not as a number too large for float64,
    and no key twice in an object.

    Raises:
        ValueError: it is no JSON, has more than ``most_values`` values, or is nested more than
            :data:`DEEPEST` deep; the message is one line that says what was found.
    """
    if text.count(",") + text.count("[") + text.count("{") > most_values:
        raise ValueError(f"more than {most_values:,} values")
    try:
        value = json.loads(
            text,
            parse_constant=_refused,
            parse_int=_whole,
            parse_float=_finite,
            object_pairs_hook=_without_repetitions,
        )
    except RecursionError:
        raise ValueError(f"lists nested more than {DEEPEST} deep") from None
    if text.count("[") + text.count("{") > DEEPEST:
        _check_depth(value)
    return value


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _without_repetitions(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:40]!r} stands twice in one object")
    return found


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for item in level
            if isinstance(item, list | dict)
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, list | dict)
        ]
        if not level:
            return
    raise ValueError(f"lists nested more than {DEEPEST} deep")
