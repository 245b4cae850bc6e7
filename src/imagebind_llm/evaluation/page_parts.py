"""What the pages of evaluations have in common: HTML files with everything in them and nothing that runs."""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2

LONGEST = 1200
"""Characters of a text on a page."""


def render(template: str, **values: Any) -> str:
    """The page that ``pages/<template>`` makes of ``values``. Strings are escaped, and cut at
    :data:`LONGEST`; the result can be written as UTF-8 whatever they hold."""
    style = files(__package__).joinpath("pages", "page.css").read_text(encoding="utf-8")
    return _environment().get_template(template).render(style=style, **values)


@cache
def _environment() -> "jinja2.Environment":
    environment = page_environment(str(__package__))
    environment.filters |= {"percent": lambda share: f"{100 * share:.4g}%", "grouped": lambda n: f"{n:,}"}
    environment.globals["whiskers"] = whiskers
    return environment


def page_environment(package: str, longest: int = LONGEST) -> "jinja2.Environment":
    """Templates in the folder ``pages`` of a package. Strings are escaped, made printable, and cut at
    ``longest`` characters."""
    import jinja2
    from markupsafe import Markup

    def tidy(value: Any) -> Any:
        words = isinstance(value, str) and not isinstance(value, Markup)
        return printable(value, longest) if words else value

    return jinja2.Environment(
        loader=jinja2.PackageLoader(package, "pages"),
        autoescape=True,
        finalize=tidy,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def printable(text: str, longest: int = LONGEST) -> str:
    """``text`` as a page can show it: control characters and halves of surrogate pairs become U+FFFD; cut."""
    more = len(text) - longest
    if more > 0:
        text = text[:longest] + f"… (and {more:,} more characters)"
    return "".join(
        character
        if character.isprintable() or character in "\n\t " or _is_mark(character)
        else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def _is_mark(character: str) -> bool:
    """Whether it is a space, or shapes what is printed: joiners of emoji, marks of direction."""
    return unicodedata.category(character) in ("Cf", "Zs", "Zl", "Zp", "Co")


def label_of(value: Any) -> str | None:
    """A single word or name: a string, or the only value of an object (``{"class": "cat"}``)."""
    if isinstance(value, Mapping) and len(value) == 1:
        (value,) = value.values()
    return value if isinstance(value, str) else None


def words(value: Any) -> str:
    """What an item expects, or how an answer was read, for people: ``two ×7 · 2 ×3``."""
    label = label_of(value)
    if value is None or label is not None:
        return label or ""
    if isinstance(value, list) and all(isinstance(inner, str) for inner in value):
        counts = {inner: value.count(inner) for inner in dict.fromkeys(value)}
        return " · ".join(f"{inner} ×{count}" if count > 1 else inner for inner, count in counts.items())
    return json.dumps(value, ensure_ascii=False)


def flat(facts: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Nested facts as rows: ``("fingerprints.encoder", "1a2b…")``. What is empty is left out."""
    rows: list[tuple[str, str]] = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            rows += flat(value, f"{above}{name}.")
        elif value is not None:
            rows.append((f"{above}{name}", value if isinstance(value, str) else json.dumps(value)))
    return rows


def spread(rows: Sequence[Any], count: int) -> list[Any]:
    """At most ``count`` of ``rows``, evenly spread, the first and the last among them."""
    if len(rows) <= count:
        return list(rows)
    return [rows[round(at * (len(rows) - 1) / max(1, count - 1))] for at in range(count)]


def figure(value: float | None, unit: str, sign: bool = False) -> str:
    """A metric or a difference of metrics: shares in per cent with one decimal, points with four digits."""
    if value is None:
        return "–"
    plus = "+" if sign else ""
    return f"{100 * value:{plus}.1f}" if unit == "share" else f"{value:{plus}.4g}"


def interval(estimate: Mapping[str, Any], unit: str, sign: bool = False) -> str:
    """``96.4 to 97.9``; empty where there is none."""
    if estimate["low"] is None or estimate["high"] is None:
        return ""
    return f"{figure(estimate['low'], unit, sign)} to {figure(estimate['high'], unit, sign)}"


def whiskers(
    value: float | None, low: float | None, high: float | None, axis: tuple[float, float]
) -> dict[str, str]:
    """Where a mark and its interval are on a track from one end of ``axis`` to the other, in per cent."""
    first, last = axis

    def place(number: float) -> float:
        return min(100.0, max(0.0, 100 * (number - first) / (last - first)))

    if value is None:
        return {}
    found = {"at": f"{place(value):.2f}%"}
    if low is not None and high is not None:
        found |= {"low": f"{place(low):.2f}%", "wide": f"{place(high) - place(low):.2f}%"}
    return found
