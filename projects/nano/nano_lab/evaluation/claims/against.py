"""Whether the standard numbers of a report are those of a model card."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nano_lab
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.text_files import read_text
from imagebind_llm.evaluation.claims.agreement import disagreements, row_count
from nano_lab.evaluation.card import model_card

_WEIGHTS = re.compile(r"\| weights \| sha256 `([0-9a-f]{64})` \|")
_START, _END = "\n## Results\n", "\n## Cautions\n"


@dataclass(frozen=True)
class Comparison:
    """What a card and a report make of the same rows.

    Attributes:
        card: the card's file; None: there is none to compare with.
        rows: how many the card has; 0 if nothing could be compared.
        differ: each row that differs, as a line.
        instead: why nothing was compared; empty if something was.
    """

    card: str | None
    rows: int
    differ: tuple[str, ...]
    instead: str = ""

    @property
    def says(self) -> str:
        """The report's first line."""
        if self.instead:
            return f"**Not compared with the model card**: {self.instead}."
        if self.differ:
            return f"**Differs from the model card** in {len(self.differ)} of {self.rows} rows:"
        return f"**Agrees with the model card**: all {self.rows} rows of its tables, digit by digit."


def committed_card() -> Path | None:
    """The model card of the clone that this package was installed from; None if there is no such clone."""
    file = Path(nano_lab.__file__).parents[3] / "MODEL_CARD.md"
    return file if file.is_file() else None


def compare(results: Mapping[str, Any], card: Path | None, limited: bool) -> Comparison:
    """Compare the tables below "Results" of a card with those that its maker writes of ``results`` now.

    Args:
        results: of the standard evaluation.
        card: written by ``eval card``; None: there is none.
        limited: only some items were asked, so that no number need agree.

    Raises:
        UserError: it cannot be read, or is no such card.
    """
    if card is None:
        return Comparison(None, 0, (), "there is none beside this installation; name one with --check")
    try:
        text = read_text(card)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {str(card)!r} ({reason}); give a model card of nano") from None
    weights, tables = _WEIGHTS.search(text), _tables(text)
    if weights is None or tables is None:
        raise UserError(f"{str(card)!r} is no model card of nano; make one with: imagebind-llm eval card")
    if weights[1] != results["model"]["weights_sha256"]:
        return Comparison(card.name, 0, (), f"{card.name} is about other weights ({weights[1][:12]}…)")
    if limited:
        return Comparison(card.name, 0, (), "only some of its items were asked (--items)")
    now = _tables(model_card(results))
    assert now is not None, "the maker of cards writes these headings"
    return Comparison(card.name, row_count(tables), tuple(map(str, disagreements(tables, now))))


def _tables(text: str) -> str | None:
    _, start, rest = text.partition(_START)
    inside, end, _ = rest.partition(_END)
    return start + inside if start and end else None
