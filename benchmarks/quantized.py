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
from imagebind_llm.evaluation import arms
from imagebind_llm.evaluation.sets import RawSet, embed_set, picture_sets
from imagebind_llm.evaluation.subject import AssistantSubject
from imagebind_llm.model.precision import cast_weights
from imagebind_llm.nano.world.senses import World
from imagebind_llm.nano.world.testing import sense_test_set

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
    subject = AssistantSubject(bot)
    world = World(arguments.data, "test", bot.processor.media)
    raw = list(picture_sets(world, arguments.items))
    for modality, name in SENSES.items():
        if modality not in bot.model.encoder.modalities:
            continue
        items = [item for item in sense_test_set(world, modality, 0, arguments.items) if item.label < 20]
        items = items[: arguments.items]
        raw.append(RawSet(name, modality, label_ids_of(items), [item.tensor for item in items]))
    sets = [embed_set(subject, found) for found in raw]
    asked = []
    for data in sets:
        turns = arms.naming_turns(0, data.name, data.labels, *arms.HEADLINE)
        asked.append(arms.Arm(data.name, arms.about(turns, data.conditions())))
    total = sum(len(arm.questions) for arm in asked)
    print(measuring.facts(f"{total} questions"))
    print(
        "| variant | " + " | ".join(f"{arm.name} ({len(arm.questions)})" for arm in asked) + " | all |"
        " difference | same answers | seconds |"
    )
    print("|---|" + "---|" * (len(asked) + 4))
    first: list[str] = []
    base = 0.0
    for name in arguments.variants.split(","):
        variant = Assistant.from_pretrained(
            arguments.model, **{"device": "cpu", "dtype": "float32", **VARIANTS[name]}
        )
        if name == "language model bfloat16":  # what dtype="auto" does to wide ones on CPUs that have it
            cast_weights(variant.model.language_model, torch.bfloat16)
        other = AssistantSubject(variant)
        start = time.perf_counter()
        answers, right, cells = [], 0, []
        for arm in asked:
            found = other.answer(arm.questions)
            hits = arm.outcomes(found)
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
