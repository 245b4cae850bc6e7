"""How people ask for a tool: phrases with places in them, each of which becomes an argument.

A model that was never trained on tools (nano) cannot choose one by writing a call. For such a model a tool
may bring routes. A route is plain data: a phrase, and what the arguments are made of::

    {"phrase": "(add|join) {a} (to|and) {b}", "arguments": {"expression": "{a} + {b}"}}

In a phrase ``(a|b)`` is a choice, ``[a|b]`` one that may be missing, and ``{name}`` a place. A place is a
number unless it says otherwise: ``{name:thing}`` is the name of a thing, ``{name:words}`` are the words that
stand there, ``{name:media}`` are the attached media that these words speak of, as a list of their numbers
from 1, and ``{name:described}`` are words that speak of none of them. Numbers and names may be written in the
question ("five") or be what the model perceives in one of the attached media ("the number you hear":
:mod:`imagebind_llm.skills.tools.operands`). ``{1}`` and ``{2}`` in arguments are the numbers in the first and
the second medium, ``{1:thing}`` what the first shows.

A question may end with a courtesy ("please"). Chinese words need no space between them.

``says`` is what is answered: the arguments by name, ``{result}``, and the texts of a result that is a JSON
object, by their keys.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.common.names import refuse_unknown

PLACE = re.compile(r"\{(\w{1,32})(?::(number|thing|words|media|described))?\}")
LONGEST_QUESTION = 200
"""Characters of a question that is looked at: matching takes the third power of its words at worst."""
_MOST_PLACES = 2
_LONGEST_PHRASE = 500
_MOST_ROUTES = 64
_MARKS = " ,;:?!.，；：？！。"
_END = r"(?:,? ?\b(?:please|for me|thanks|thank you))?[ ?!.？！。]*$"
"""Of every question: a courtesy, and marks."""
_FIRST_CHINESE = "\u2e80"
"""From here on Unicode has the signs of Chinese, between which no spaces stand."""
_PIECE = re.compile(r"\{[^}]*\}|[()\[\]|]|[^{}()\[\]|]+")


@dataclass(frozen=True)
class Route:
    """One way to ask for a tool.

    Attributes:
        phrase: see above; it stands at the end of the question, and case does not count.
        arguments: by parameter: a text with places, or a value that is taken as it is.
        says: the answer.
    """

    phrase: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    says: str = "{result}"

    def __post_init__(self) -> None:
        _compiled(self.phrase)
        known = {*_places(self.phrase)} | {str(number) for number in range(1, 10)}
        for value in self.arguments.values():
            for name, _ in PLACE.findall(value) if isinstance(value, str) else ():
                if name not in known:
                    raise UserError(
                        f"route {short(self.phrase)}: its arguments name {name!r}, which is no place in it"
                    )

    def match(self, question: str) -> dict[str, str] | None:
        """What stands in the places; None if the question is another."""
        text = " ".join(question.split())
        if len(text) > LONGEST_QUESTION:
            return None
        found = _compiled(self.phrase).match(text)
        return (
            None
            if found is None
            else {key: (value or "").strip(_MARKS) for key, value in found.groupdict().items()}
        )

    def kind(self, name: str) -> str:
        """What a place of the phrase is: a number, a thing or words."""
        return _places(self.phrase)[name]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as :func:`read_routes` takes it."""
        return {"phrase": self.phrase, "arguments": dict(self.arguments), "says": self.says}


def read_routes(given: Any, where: str) -> tuple[Route, ...]:
    """Routes from plain data.

    Raises:
        UserError: malformed; it begins with ``where``.
    """
    if given is None:
        return ()
    if not isinstance(given, list) or len(given) > _MOST_ROUTES:
        raise UserError(f"{where} is {short(given)}; expected a list of at most {_MOST_ROUTES} routes")
    routes = []
    for number, one in enumerate(given):
        place = f"{where}[{number}]"
        if not isinstance(one, Mapping):
            raise UserError(f"{place} is {short(one)}; expected {{'phrase': …, 'arguments': {{…}}}}")
        refuse_unknown(one, ("phrase", "arguments", "says"), what=f"key in {place}:")
        phrase, arguments, says = one.get("phrase"), one.get("arguments", {}), one.get("says", "{result}")
        if not isinstance(phrase, str) or not isinstance(arguments, Mapping) or not isinstance(says, str):
            raise UserError(f"{place} is {short(one)}; expected a phrase, an object of arguments, and a text")
        routes.append(Route(phrase, arguments, says))
    return tuple(routes)


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """An argument: a text with its places filled in; the value itself where the text is one place."""
    if not isinstance(template, str):
        return template
    whole = PLACE.fullmatch(template)
    if whole is not None and whole[1] in values:
        return values[whole[1]]
    return PLACE.sub(lambda place: str(values.get(place[1], place[0])), template)


@lru_cache(maxsize=512)
def _places(phrase: str) -> dict[str, str]:
    return {name: kind or "number" for name, kind in PLACE.findall(phrase)}


@lru_cache(maxsize=512)
def _compiled(phrase: str) -> "re.Pattern[str]":
    """The regular expression of a phrase. A phrase must be one's own: a long row of choices that may be
    missing can take forever to match."""
    places = PLACE.findall(phrase)
    if not phrase.strip() or len(phrase) > _LONGEST_PHRASE or len(places) > _MOST_PLACES:
        raise UserError(
            f"the phrase of a route is {short(phrase)}; expected 1 to {_LONGEST_PHRASE} characters with at "
            f"most {_MOST_PLACES} places"
        )
    if len({name for name, _ in places}) < len(places):
        raise UserError(f"the phrase {short(phrase)} has two places of one name")
    parts: list[str] = []
    closing: list[str] = []
    for piece in _PIECE.findall(phrase):
        if piece in ("(", "["):
            parts.append("(?:")
            closing.append(")" if piece == "(" else ")?")
        elif piece in (")", "]"):
            if not closing or (piece == ")") != (closing[-1] == ")"):
                raise UserError(f"the phrase {short(phrase)} closes a bracket that is not open")
            parts.append(closing.pop())
        elif piece == "|":
            parts.append("|")
        elif place := PLACE.fullmatch(piece):
            parts.append(rf"(?P<{place[1]}>.{{1,120}}?)")
        else:
            parts.append(_words(piece))
    if closing or PLACE.sub("", phrase).count("{"):
        raise UserError(f"the phrase {short(phrase)} has a bracket that is not closed")
    try:
        return re.compile(rf"(?:.*?(?<!\w))??{''.join(parts)}{_END}", re.IGNORECASE)
    except re.error as error:
        raise UserError(f"the phrase {short(phrase)} cannot be read: {error}") from None


def _words(piece: str) -> str:
    """Words with a space between them, and none needed where something else stands beside them."""
    return " ?".join(["", *(_word(word) for word in piece.split()), ""]) or " ?"


def _word(word: str) -> str:
    """A word, not within another one; "3D" is no part of another one in 一个3D模型."""
    letter = r"[0-9A-Za-z_]" if any(sign >= _FIRST_CHINESE for sign in word) else r"\w"
    before = f"(?<!{letter})" if _has_border(word[0]) else ""
    after = f"(?!{letter})" if _has_border(word[-1]) else ""
    return f"{before}{re.escape(word)}{after}"


def _has_border(sign: str) -> bool:
    return sign.isalnum() and sign < _FIRST_CHINESE
