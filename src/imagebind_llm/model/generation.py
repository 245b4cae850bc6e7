"""Checking a ``generation_config.json`` before anybody uses it: types, ranges, token ids that exist."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from imagebind_llm.common.errors import CheckpointError, UserError, one_line, reason_of
from imagebind_llm.common.files import read_json

GENERATION_FILE = "generation_config.json"
MOST_BEAMS = 256
"""Beams, and sequences for one prompt. Each takes the memory of a row; more than some ten help nobody."""
_MOST = 10**9


def _whole(least: int, most: int = _MOST) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _number(least: float, most: float = math.inf, above: bool = False) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        try:
            number = type(value) in (int, float) and math.isfinite(value)
        except OverflowError:  # a whole number of hundreds of digits
            return False
        return number and (least < value if above else least <= value) and value <= most

    return fits


def _listed(fits: Callable[[Any], bool], empty: bool = True) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and (empty or bool(value)) and all(map(fits, value))


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


_ID = _whole(-1)  # some published models write -1 for none
_WORDS = {
    "max_new_tokens": (_whole(1), "a whole number of at least 1"),
    "max_length": (_whole(1), "a whole number of at least 1"),
    "min_length": (_whole(0), "a whole number of at least 0"),
    "min_new_tokens": (_whole(0), "a whole number of at least 0"),
    "num_beams": (_whole(1, MOST_BEAMS), f"a whole number from 1 to {MOST_BEAMS}"),
    "num_return_sequences": (_whole(1, MOST_BEAMS), f"a whole number from 1 to {MOST_BEAMS}"),
    "no_repeat_ngram_size": (_whole(0), "a whole number of at least 0"),
    "top_k": (_whole(0), "a whole number of at least 0"),
    "top_p": (_number(0, 1), "a number from 0 to 1"),
    "temperature": (_number(0), "a number of at least 0"),
    "repetition_penalty": (_number(0, above=True), "a number above 0"),
    "do_sample": (_truth, "true or false"),
    "use_cache": (_truth, "true or false"),
    "bos_token_id": (lambda value: _ID(value) or _listed(_ID)(value), "token ids"),
    "eos_token_id": (lambda value: _ID(value) or _listed(_ID)(value), "token ids"),
    "pad_token_id": (_ID, "a token id"),
}
"""Setting → what fits, in words. Others are left to transformers; null is always allowed."""


def check_generation_settings(file: Path, vocabulary: int) -> None:
    """Read a ``generation_config.json`` and refuse what cannot be.

    Args:
        file: the file, which need not be there.
        vocabulary: number of tokens of the language model; ids that are forbidden must be below.

    Raises:
        CheckpointError: it is damaged, or a setting has a value that it cannot have.
    """
    if not file.is_file():  # transformers would go on without a damaged one
        return
    values = read_json(file)
    ids = _listed(_whole(0, vocabulary - 1))
    below = f"token ids below {vocabulary}"
    rules = {
        **_WORDS,
        "suppress_tokens": (ids, f"a list of {below}"),
        "begin_suppress_tokens": (ids, f"a list of {below}"),
        "bad_words_ids": (
            _listed(lambda item: bool(item) and ids(item), empty=False),
            f"a list of lists of {below}",
        ),
    }
    for key, (fits, words) in rules.items():
        value = values.get(key)
        if value is not None and not fits(value):
            raise CheckpointError(
                f"{str(file)!r} has {key} {one_line(repr(value), 60)}; expected {words}: correct it, or get "
                "the file again"
            )


def check_beams(given: Mapping[str, Any], config: Any) -> None:
    """Refuse more beams or answers than memory is there for.

    Args:
        given: what ``generate`` was called with.
        config: its generation configuration, for what was not.

    Raises:
        UserError: naming the setting.
    """
    for name in ("num_beams", "num_return_sequences"):
        value = given.get(name)
        value = getattr(config, name, None) if value is None else value
        fits, words = _WORDS[name]
        if value is not None and not fits(value):
            raise UserError(f"{name} is {one_line(repr(value), 60)}; expected {words}")


def load_generation_settings(folder: Path) -> GenerationConfig:
    """The settings in a folder that has some.

    Raises:
        CheckpointError: transformers cannot make sense of them.
    """
    try:
        return GenerationConfig.from_pretrained(folder)
    except Exception as error:  # what its checks make of odd values has many names
        raise CheckpointError(
            f"{str(folder / GENERATION_FILE)!r} cannot be used ({one_line(reason_of(error), 200)}); correct "
            "it, or get the file again"
        ) from error
