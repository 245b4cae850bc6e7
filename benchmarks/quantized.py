"""Accuracy of nano with fewer bits, on real questions.

    python benchmarks/quantized.py --data DATA [--items 400]

Media are embedded once (the encoder is never quantised); then every variant is asked the very same naming
questions about them, in English, in phrasings that training never used, with the model's own cache setting.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import measuring
import numpy as np
import torch

from imagebind_llm import Assistant
from imagebind_llm.common.modality import Modality
from nano_lab.evaluation import variants
from nano_lab.evaluation.model import AssistantUnderTest
from nano_lab.evaluation.sets import RawSet, embed_set, picture_sets
from nano_lab.world.senses import World
from nano_lab.world.testing import modality_test_set

VARIANTS = {
    "float32": {},
    "bfloat16": {"dtype": "bfloat16"},
    "language model bfloat16": {},
    "int8": {"quantization": "int8"},
    "int8-weights": {"quantization": "int8-weights"},
}
SENSES = {Modality.AUDIO: "sound", Modality.POINT: "3D"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of nano's datasets")
    parser.add_argument("--items", type=int, default=400, help="most items of each test set")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="of the ways to load it")
    arguments = parser.parse_args()
    bot = Assistant.from_pretrained(arguments.model, device="cpu", dtype="float32")
    model = AssistantUnderTest(bot)
    world = World(arguments.data, "test", bot.processor.media)
    raw = list(picture_sets(world, arguments.items))
    for modality, name in SENSES.items():
        if modality not in bot.model.encoder.modalities:
            continue
        items = [item for item in modality_test_set(world, modality, 0, arguments.items) if item.label < 20]
        items = items[: arguments.items]
        raw.append(RawSet(name, modality, label_ids_of(items), [item.tensor for item in items]))
    sets = [embed_set(model, found) for found in raw]
    asked = []
    for data in sets:
        turns = variants.naming_turns(0, data.name, data.labels, *variants.HEADLINE)
        asked.append(variants.Variant(data.name, variants.about(turns, data.conditions())))
    total = sum(len(variant.questions) for variant in asked)
    print(measuring.facts(f"{total} questions"))
    print(
        "| variant | "
        + " | ".join(f"{variant.name} ({len(variant.questions)})" for variant in asked)
        + " | all |"
        " difference | same answers | seconds |"
    )
    print("|---|" + "---|" * (len(asked) + 4))
    first: list[str] = []
    base = 0.0
    for name in arguments.variants.split(","):
        variant = Assistant.from_pretrained(
            arguments.model, **{"device": "cpu", "dtype": "float32", **VARIANTS[name]}
        )
        other = AssistantUnderTest(variant)
        start = time.perf_counter()
        answers, right, cells = [], 0, []
        for variant in asked:
            found = other.answer(variant.questions)
            hits = variant.outcomes(found)
            answers += found
            right += sum(hits)
            cells.append(f"{sum(hits) / len(hits):.1%}")
        seconds = time.perf_counter() - start
        first = first or answers
        share = right / total
        base = base or share
        same = sum(a == b for a, b in zip(first, answers, strict=True)) / total
        print(
            f"| {name} | {' | '.join(cells)} | {share:.1%} | {100 * (share - base):+.2f} points | "
            f"{same:.1%} | {seconds:.0f} |",
            flush=True,
        )


def label_ids_of(items: list[Any]) -> np.ndarray:
    """Concept ids of test items, int64 ``[n]``."""

    return np.array([item.label for item in items], dtype=np.int64)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
