"""Word errors: counted, made into a rate with an interval, and kept in a file that a run goes on from."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.evaluation.bootstrap import Sums, estimates

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def words(text: str) -> list[str]:
    """Lower case, without marks; an apostrophe inside of a word belongs to it."""
    return _WORD.findall(text.lower().replace("’", "'"))


def distance(one: list[str], two: list[str]) -> int:
    """Words that have to be put in, left out or changed (Levenshtein)."""
    row = list(range(len(two) + 1))
    for number, left in enumerate(one, start=1):
        before, row[0] = row[0], number
        for place, right in enumerate(two, start=1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (left != right))
    return row[-1]


def characters(text: str) -> list[str]:
    """Lower case, without marks and spaces."""
    return list("".join(words(text)))


def error_rate(pairs: Iterable[tuple[str, str]], split: Callable[[str], list[str]] = words) -> dict[str, Any]:
    """The rate of (truth, recognised) texts: errors for every word (or character) of the truths.

    Returns:
        ``texts``, ``texts_without_error``, ``of`` (words), ``errors``, and ``rate`` with ``value``, ``low``
        and ``high``: the interval is of a bootstrap over texts (95 %,
        :mod:`imagebind_llm.evaluation.bootstrap`).

    Raises:
        UserError: the truths hold no word.
    """
    counted = [(distance(split(truth), split(said)), len(split(truth))) for truth, said in pairs]
    errors, total = (sum(column) for column in zip(*counted, strict=True)) if counted else (0, 0)
    if not total:
        raise UserError("there is no word to recognise")
    sums = Sums(("errors", "of"), np.array(counted, dtype=np.float64), np.arange(len(counted)))
    found = estimates(sums, lambda by: {"rate": by["errors"] / np.maximum(by["of"], 1)}, points=("rate",))
    return {
        "texts": len(counted),
        "texts_without_error": sum(not wrong for wrong, _ in counted),
        "of": total,
        "errors": errors,
        "rate": found["rate"].to_dict(),
    }


def recognised(
    names: Iterable[str], recognise: Callable[[str], str], kept: Path | None, of: Mapping[str, Any]
) -> dict[str, str]:
    """What is recognised in each; with ``kept``, a line is written for each at once and read by a later run.

    Args:
        names: of the inputs, each once.
        recognise: gives the text.
        kept: a file; None: nothing is kept.
        of: what the texts depend on (model, data); a file of other ones is refused.

    Raises:
        UserError: ``kept`` belongs to another run.
    """
    head = json.dumps(dict(of), sort_keys=True)
    found: dict[str, str] = {}
    lines = kept.read_text(encoding="utf-8").splitlines() if kept is not None and kept.exists() else []
    if lines and lines[0] != head:
        raise UserError(f"{kept} belongs to {short(lines[0])}, this run is {short(head)}; name another file")
    for line in lines[1:]:
        try:
            name, text = json.loads(line)
        except ValueError:  # the last one, which was cut off
            continue
        found[name] = text
    if kept is not None:
        kept.write_text("".join(f"{line}\n" for line in (head, *map(json.dumps, found.items()))))
    for name in names:
        if name not in found:
            found[name] = recognise(name)
            if kept is not None:
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([name, found[name]]) + "\n")
    return found
