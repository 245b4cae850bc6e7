"""The same questions typed in other ways, and whether yes and no agree with what nano itself would name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from imagebind_llm.evaluation.metrics import Score
from imagebind_llm.evaluation.report import percent, table
from nano_lab.evaluation.model import AssistantUnderTest, Question, user
from nano_lab.evaluation.sets import embed_set, picture_sets, settings_of
from nano_lab.evaluation.variants import generator
from nano_lab.grammar import Turn, named
from nano_lab.grammar.ask import NEAR
from nano_lab.grammar.facts import KNOWN_IDS
from nano_lab.grammar.words import ZH_NUMBERS, en_noun, zh_noun
from nano_lab.world.senses import World

PLAIN = "What is this?"
TYPED: tuple[str, ...] = (
    "WHAT IS THIS?",
    "what is this",
    "whats this",
    "Whta is this?",
    "What si htis?",
    "What is this pic?",
    "what is in this foto??",
    "wat is tis",
)
"""The eight ways: capitals, no marks, slips of the kinds that training shows and of kinds it does not."""

CHECKS: dict[str, tuple[str, ...]] = {
    "en": (
        "is this {x}",
        "Is it {x}?",
        "it's {x}, right?",
        "can you see {x} here",
        "this isn't {x}, is it?",
        "are you sure it is {x}?",
        "I would say it is {x}. Is that right?",
        "Is {x} what you see?",
    ),
    "zh": ("这是{x}吗？", "这不是{x}吧", "你确定这是{x}吗？", "你觉得图片里的是{x}吗？"),
}
"""Yes/no questions by language; the last two English and the last Chinese are held out of training."""


def evaluate_typed(model: AssistantUnderTest, data: Path, seed: int, items: int) -> dict[str, Any]:
    """Ask about at most ``items`` digits and as many photographs; ``checks`` is empty where none is named."""
    world = World(data, "test", settings_of(model.bot.processor.media))
    sets = [embed_set(model, raw) for raw in picture_sets(world, items)]
    rows = [row for found in sets for row in found.conditions()]
    truth = [int(label) for found in sets for label in found.labels]
    own = [named(text) for text in _ask(model, rows, [PLAIN] * len(rows))]
    wordings = {}
    for wording in TYPED:
        said = [named(text) for text in _ask(model, rows, [wording] * len(rows))]
        wordings[wording] = Score(sum(a != b for a, b in zip(said, own, strict=True)), len(rows)).to_dict()
    believed = [_concept(names) for names in own]
    usable = [number for number, concept in enumerate(believed) if concept is not None]
    checks: dict[str, dict[str, Any]] = {}
    for language, patterns in CHECKS.items() if usable else ():
        for pattern in patterns:
            rng = generator(seed, "typed", pattern)
            asked, wanted = [], []
            for number in usable:
                concept = believed[number]
                assert concept is not None, "they were chosen so"
                agrees = bool(rng.random() < 0.5)
                asked.append(pattern.format(x=_noun(language, concept if agrees else _other(rng, concept))))
                wanted.append(agrees)
            answers = _ask(model, [rows[number] for number in usable], asked)
            verdicts = [_verdict(text) for text in answers]
            hits = [verdict == want for verdict, want in zip(verdicts, wanted, strict=True)]
            same = [named(text) == own[number] for text, number in zip(answers, usable, strict=True)]
            checks[pattern] = {
                "language": language,
                "agrees": Score(sum(hits), len(hits)).to_dict(),
                "no_verdict": Score(sum(verdict is None for verdict in verdicts), len(hits)).to_dict(),
                "names_the_same": Score(sum(same), len(same)).to_dict(),
            }
    right = sum(concept == label for concept, label in zip(believed, truth, strict=True))
    return {"naming": Score(right, len(rows)).to_dict(), "differing": wordings, "checks": checks}


def _ask(model: AssistantUnderTest, rows: list[Tensor], texts: list[str]) -> list[str]:
    return model.answer(
        [
            Question(Turn(text, "", None, "name", ""), (user(text, True),), row[None])
            for text, row in zip(texts, rows, strict=True)
        ]
    )


def _concept(names: frozenset[str]) -> int | None:
    """The concept of an answer that names exactly one."""
    if len(names) != 1:
        return None
    kind, _, value = next(iter(names)).partition(":")
    concept = int(value)
    return concept if concept in KNOWN_IDS and (kind == "num") == (concept < 10) else None


def _other(rng: np.random.Generator, concept: int) -> int:
    """Every second time one that is easily confused with it."""
    if rng.random() < 0.5:
        return int(rng.choice(NEAR[concept]))
    return int(rng.choice([other for other in KNOWN_IDS if other != concept]))


def _noun(language: str, concept: int) -> str:
    if language == "en":
        return en_noun(concept)
    return f"数字{ZH_NUMBERS[concept]}" if concept < 10 else zh_noun(concept)


def _verdict(text: str) -> bool | None:
    start = text.strip().lower()
    if start.startswith(("yes", "是")):
        return True
    return False if start.startswith(("no,", "no.", "no ", "不")) or start == "no" else None


def typed_tables(results: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    differing = [[f"`{wording}`", row["n"], percent(row)] for wording, row in results["differing"].items()]
    checks = [
        [
            f"`{pattern}`",
            row["agrees"]["n"],
            percent(row["agrees"]),
            percent(row["no_verdict"]),
            percent(row["names_the_same"]),
        ]
        for pattern, row in results["checks"].items()
    ]
    return (
        f"## Typed in other ways\n\nNaming, asked plainly: {percent(results['naming'])}.\n\n"
        + table(["wording", "n", f"answers that differ from those to `{PLAIN}`"], differing)
        + "\n## Yes or no, against its own naming\n\n"
        + table(["question", "n", "agrees", "neither yes nor no", "names what it named"], checks)
    )
