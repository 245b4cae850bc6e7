"""Numbers in words: what a person writes, and what a model names."""

import re
from decimal import Decimal

_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
    "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = {word: value for value, word in enumerate(_UNITS)} | {
    word: 10 * value for value, word in enumerate(_TENS, start=2)
}
_CHINESE = {sign: value for value, sign in enumerate("零一二三四五六七八九十")}
_NUMBER = re.compile(
    r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w])"
    rf"|\b(?:{'|'.join(_TENS)})[- ](?:{'|'.join(_UNITS[1:10])})\b"
    rf"|\b(?:{'|'.join((*_TENS, *_UNITS))})\b"
    rf"|[{''.join(_CHINESE)}]",
    re.IGNORECASE,
)
MOST_DIGITS = 40


def numbers_in(text: str) -> list[Decimal]:
    """Numbers in the order in which they stand: in digits, in English words up to ninety-nine, or one Chinese
    sign from zero to ten. Longer ones than :data:`MOST_DIGITS` are left out."""
    found = []
    for match in _NUMBER.finditer(text):
        word = match[0].lower()
        if word[-1].isdigit():
            if len(word) <= MOST_DIGITS:
                found.append(Decimal(word))
        elif word in _CHINESE:
            found.append(Decimal(_CHINESE[word]))
        else:
            found.append(Decimal(sum(_WORDS[part] for part in re.split("[- ]", word))))
    return found


def one_number(text: str) -> Decimal | None:
    """The number that a text names; None if it names none, or several different ones."""
    found = set(numbers_in(text))
    return found.pop() if len(found) == 1 else None
