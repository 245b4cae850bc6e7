"""Units of inertial recordings as people write them above columns: ``m s^-2``, ``g``, ``deg/s``, ``[ns]``."""

import math
import re

STANDARD_GRAVITY = 9.80665
"""m/s² of one g (3rd General Conference on Weights and Measures, 1901)."""
_DEGREE = math.pi / 180

_SECONDS = {
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "ns": 1e-9,
}
_WORDS = [
    (r"(?:nano|n)(?:sec(?:ond)?s?|s)|nanos", "ns"),
    (r"(?:micro|[uµμ])(?:sec(?:ond)?s?|s)|micros", "us"),
    (r"(?:milli|m)(?:sec(?:ond)?s?|s)|millis", "ms"),
    (r"sec(?:ond)?s?|s", "s"),
]
_PER_SECOND = r"(?:/s|s-1|ps|/sec|/second)"
_KINDS: dict[str, list[tuple[str, float]]] = {
    "a": [
        (r"m/s2|ms-2|ms2|mps2|m/s/s|m/sec2|met(?:er|re)s?/s(?:ec(?:ond)?)?2", 1.0),
        (r"cm/s2|cms-2", 0.01),
        (r"gs?|gn|g0|gforce", STANDARD_GRAVITY),
        (r"m(?:illi)?g", STANDARD_GRAVITY / 1000),
    ],
    "g": [
        (rf"rad(?:ian)?s?{_PER_SECOND}|rads", 1.0),
        (rf"(?:d|deg(?:ree)?s?|[°º]){_PER_SECOND}|degs", _DEGREE),
        (rf"m(?:d|deg(?:ree)?s?){_PER_SECOND}", _DEGREE / 1000),
    ],
}
UNIT_NAMES = {"a": "m/s^2, g or mg", "g": "rad/s, deg/s or mdps", "t": "s, ms, us or ns"}
"""What is understood, for messages, by kind: acceleration, angular rate, time."""


def unit_scale(kind: str, text: str) -> float | None:
    """What one of the unit ``text`` is in m/s² (kind ``a``), rad/s (``g``) or s (``t``); None: not known."""
    flat = text.lower().translate(str.maketrans("²⁻¹", "2-1"))
    flat = re.sub(r"[\s_^·*.()\[\]]", "", flat)
    if kind == "t":
        found = next((unit for pattern, unit in _WORDS if re.fullmatch(pattern, flat)), None)
        return None if found is None else _SECONDS[found]
    return next((scale for pattern, scale in _KINDS[kind] if re.fullmatch(pattern, flat)), None)
