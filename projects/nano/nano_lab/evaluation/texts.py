"""Texts as media: wordings that the text tower did not learn, and sentences that people wrote.

The sentences are captions of Flickr8k's test photographs: those that name one thing nano knows are to be that
thing, those that name none, and no number, are to be met with doubt.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imagebind_llm.common.modality import Modality
from imagebind_llm.evaluation.metrics import Score
from imagebind_llm.evaluation.report import percent, table
from imagebind_llm.media import load_media
from nano_lab.evaluation.model import AssistantUnderTest, Question, user
from nano_lab.evaluation.sets import RawSet, embed_set, settings_of
from nano_lab.evaluation.typed import PLAIN
from nano_lab.evaluation.variants import generator
from nano_lab.grammar import Turn, is_doubt, named
from nano_lab.imagined.wordings import WORDINGS
from nano_lab.world.concepts import DIGITS, UNCLEAR
from nano_lab.world.photographs import things_named, written_sentences
from nano_lab.world.sentences import is_chinese, names_nothing
from nano_lab.world.tables import FLICKR8K


def text_sets(data: Path, seed: int, items: int) -> dict[str, list[tuple[str, int]]]:
    """At most ``items`` texts of each kind with their labels; sentences only where there are any."""
    sets: dict[str, list[tuple[str, int]]] = {}
    for name, wordings in WORDINGS.items():
        for kind, labels in (("digits", range(len(DIGITS))), ("things", range(len(DIGITS), UNCLEAR))):
            for text, label in ((text, one) for one in labels for text in wordings(one)):
                language = "Chinese" if is_chinese(text) else "English"
                sets.setdefault(f"{kind}, {name}, {language}", []).append((text, label))
    if (data / FLICKR8K / "test.parquet").is_file():
        for text in written_sentences(str(data), "test"):
            if len(things := things_named(text)) == 1:
                sets.setdefault("sentences about one thing", []).append((text, things[0]))
            elif names_nothing(text):
                sets.setdefault("sentences about nothing known", []).append((text, UNCLEAR))
    chosen = {}
    for name, found in sets.items():
        order = generator(seed, "texts", name).permutation(len(found))[:items]
        chosen[name] = [found[place] for place in order]
    return chosen


def evaluate_texts(model: AssistantUnderTest, data: Path, seed: int, items: int) -> dict[str, Any]:
    """Ask what at most ``items`` texts of each kind are: ``right``, ``doubted``, and a ``wrong`` answer."""
    settings = settings_of(model.bot.processor.media)
    results: dict[str, Any] = {}
    for name, found in text_sets(data, seed, items).items():
        tensors = [load_media(Modality.TEXT, text, settings) for text, _ in found]
        labels = np.array([label for _, label in found])
        rows = embed_set(model, RawSet(name, Modality.TEXT, labels, tensors)).conditions()
        asked = [Question(Turn(PLAIN, "", None, "name", ""), (user(PLAIN, True),), row[None]) for row in rows]
        answers = model.answer(asked)
        right = [_is_right(answer, int(label)) for answer, label in zip(answers, labels, strict=True)]
        wrong = [
            (text, answer) for (text, _), answer, good in zip(found, answers, right, strict=True) if not good
        ]
        results[name] = {
            "right": Score(sum(right), len(right)).to_dict(),
            "doubted": Score(sum(map(is_doubt, answers)), len(answers)).to_dict(),
            "wrong": dict(wrong[:1]),
        }
    return results


def _is_right(answer: str, label: int) -> bool:
    if label == UNCLEAR:
        return is_doubt(answer)
    return named(answer) == {f"{'num' if label < len(DIGITS) else 'obj'}:{label}"}


def text_tables(results: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    rows = [
        [name, row["right"]["n"], percent(row["right"]), percent(row["doubted"]), _example(row["wrong"])]
        for name, row in results.items()
    ]
    return "## Texts\n\n" + table(["texts", "n", "right", "doubted", "a wrong answer"], rows)


def _example(wrong: Mapping[str, str]) -> str:
    return "; ".join(f"“{text}” → {answer}" for text, answer in wrong.items())
