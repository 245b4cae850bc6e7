"""The parts of nano's evaluation beside the standard one, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebind_llm.evaluation.provenance import environment, model_facts
from imagebind_llm.inference.assistant import Assistant
from nano_lab.evaluation.doubt import doubt_tables, evaluate_doubt
from nano_lab.evaluation.drawn_inputs import evaluate_inputs, input_tables
from nano_lab.evaluation.model import AssistantUnderTest
from nano_lab.evaluation.plots import draw_reliability
from nano_lab.evaluation.texts import evaluate_texts, text_tables
from nano_lab.evaluation.typed import evaluate_typed, typed_tables

SCHEMA = 1


@dataclass(frozen=True)
class Part:
    """What measures it, what lays it out, how many items of a kind it takes by default, and what draws it."""

    measure: Callable[[AssistantUnderTest, Path, int, int], dict[str, Any]]
    tables: Callable[[Mapping[str, Any]], str]
    items: int
    draw: Callable[[Mapping[str, Any], Path], None] | None = None


PARTS: dict[str, Part] = {
    "doubt": Part(evaluate_doubt, doubt_tables, 500, draw_reliability),
    "typed": Part(evaluate_typed, typed_tables, 100),
    "inputs": Part(evaluate_inputs, input_tables, 300),
    "texts": Part(evaluate_texts, text_tables, 500),
}


def evaluate_part(
    name: str,
    bot: Assistant,
    data: Path,
    *,
    model_name: str = "nano",
    folder: Path | None = None,
    seed: int = 0,
    items: int | None = None,
    batch_size: int = 64,
) -> dict[str, Any]:
    """Measure one of :data:`PARTS`; plain values for JSON.

    Raises:
        UserError: the data or the model cannot be used.
    """
    part = PARTS[name]
    count = part.items if items is None else items
    return {
        "schema": SCHEMA,
        "task": f"nano-{name}",
        "model": model_facts(bot, model_name, folder),
        "environment": environment(),
        "settings": {"seed": seed, "items": count},
        "results": part.measure(AssistantUnderTest(bot, batch_size), data, seed, count),
    }
