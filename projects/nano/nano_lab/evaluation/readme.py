"""The results in a README: the few numbers that a newcomer wants, between two marks, from the same results as
the model card."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import atomic_write
from imagebind_llm.evaluation.report import table

START, END = "<!-- results:start -->", "<!-- results:end -->"
_TEST_DATA = {
    "handwriting": "MNIST",
    "photographs": "CIFAR-10",
    "spoken digits": "FSDD (speakers known from training)",
    "animal sounds": "cat, dog, bird, frog",
}
_MAIN_MIXTURE = "picture and speech, different digits"


def readme_block(results: Mapping[str, Any]) -> str:
    """What stands between the marks, as Markdown."""
    head = ["input", "test data", "right, cache off", "right, cache on", "encoder alone"]
    rows = [
        [
            row["name"],
            " ".join(
                str(part)
                for part in (row["cache_off"]["n"], _TEST_DATA.get(row["name"]), f"({row['origin']})")
                if part is not None
            ),
            _cell(row, "off"),
            _cell(row, "on"),
            f"{100 * row['encoder']['accuracy']:.1f}",
        ]
        for row in results["senses"]
    ]
    lines = [
        "Per cent with 95 % intervals, on held-out data and in English phrasings never used in training; "
        "bold is the default setting.",
        "An answer counts when it names the true thing and no other.",
        "",
        table(head, rows),
    ]
    mixed = next((row for row in results["mixtures"] if row["name"] == _MAIN_MIXTURE), None)
    if mixed is not None:
        mode = mixed["default"]
        lines.append(
            "- Picture and spoken digit mixed half and half, different digits: both named in "
            f"{100 * mixed[f'cache_{mode}']['accuracy']:.1f} % (cache {mode}, the default for mixtures)."
        )
    total = results["strange_total"]
    invented = sum(row["invented"]["correct"] for row in results["strange"])
    lines.append(
        "- Far-off input (noise, blank pages, silence, shapeless clouds …): "
        f"{100 * total['accuracy']:.1f} % of {total['n']} met with doubt, "
        f"{100 * invented / total['n']:.1f} % with an invention."
    )
    lines += ["", "All numbers, controls and cautions: [MODEL_CARD.md](MODEL_CARD.md)."]
    return "\n".join(lines)


def write_readme(results: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Put the results between the marks of a README, all or nothing; the rest of it stays as it is.

    Raises:
        UserError: it cannot be read, or does not have each of the marks once, in order.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {os.fspath(path)!r} ({error}); check the path") from None
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end or START in rest or END in before + after:
        raise UserError(f"{os.fspath(path)!r} needs a line {START} and behind it a line {END}, each once")
    with atomic_write(path) as temporary:
        temporary.write_text(f"{before}{START}\n{readme_block(results)}\n{END}{after}", encoding="utf-8")


def _cell(row: Mapping[str, Any], mode: str) -> str:
    score = row.get(f"cache_{mode}")
    if score is None:
        return "–"
    share = f"{100 * score['accuracy']:.1f}"
    shown = f"**{share}**" if row["default"] == mode else share
    return f"{shown} ({100 * score['low']:.0f}–{100 * score['high']:.0f})"
