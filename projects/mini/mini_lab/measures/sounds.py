"""Animal sounds, named by the spoken answer though the language model has never heard anything.

Beside it what the encoder alone can tell: the nearest mean of training recordings, and the nearest mean of
the prototypes of ImageNet's classes that show the animal, which no sound was used for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imagebind_llm.evaluation.suite import Answer, Floats, Item, Sample, ratio
from mini_lab.measures.animals import ANIMALS, Clip, clips, meanings, vocabulary
from mini_lab.measures.context import Context, Listed
from mini_lab.measures.embedded import NearestMean, Rows, unit_means
from mini_lab.measures.naming import Reader, read_classes
from mini_lab.measures.tables import Part, Row, goal, row_of_results, table
from mini_lab.prototypes import prototypes

QUESTIONS = {"What animal makes this sound?": "asked for an animal", "What is this?": "asked what it is"}
"""Question → how the row is called; the first is the one of the goal."""
LONGEST = 40
SHARE = {"right": "share", "names something": "share"}
GOAL = 0.60


class Heard(Listed):
    """Recordings whose animal is to be named.

    Args:
        name: of the suite.
        items: expected is the label.
        reader: of answers.
        allowed: label → what an answer may mean.
    """

    main = "right"

    def __init__(
        self, name: str, items: Sequence[Item], reader: Reader, allowed: Mapping[str, set[str]]
    ) -> None:
        super().__init__(name, items)
        self._reader, self._allowed = reader, allowed

    def judge(self, items: Sequence[Item], answers: Sequence[Answer]) -> Sequence[Sample]:
        """See :class:`imagebind_llm.evaluation.suite.Suite`."""
        samples = []
        for item, answer in zip(items, answers, strict=True):
            named = self._reader.named(answer) if isinstance(answer, str) else frozenset()
            right = bool(named & self._allowed[item.expected])
            sums = {"n": 1.0, "right": float(right), "any": float(bool(named))}
            samples.append(Sample(sums, sorted(named), float(right)))
        return samples

    def metrics(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """See :class:`imagebind_llm.evaluation.suite.Suite`."""
        return {
            "right": ratio(sums.get("right", 0.0), sums["n"]),
            "names something": ratio(sums.get("any", 0.0), sums["n"]),
        }


def measure(context: Context) -> Part:
    """Embed, ask with the cache off and on.

    Raises:
        UserError: recordings or classes are missing, or the encoder takes no sounds.
    """
    classes = read_classes(context.words)
    reader, allowed = Reader(vocabulary(classes)), meanings(classes)
    heard = clips(context)
    bare = [Item(clip.key, {"audio": clip.file}, clip.label, clip.label, clip.group) for clip in heard]
    encoder = [
        row_of_results(name, context.ask(folder, NearestMean(folder, bare, means)), "recordings")
        for name, folder, means in (
            ("nearest mean of training recordings", "sounds-encoder", _training_means(context)),
            ("nearest mean of pictures' prototypes", "sounds-prototypes", _picture_means(context)),
        )
        if means
    ]
    spoken, each, calibrations = [], [], {}
    for question, called in QUESTIONS.items():
        asked = [
            Item(item.key, {"question": question, **item.request}, item.expected, item.group, item.unit)
            for item in bare
        ]
        for way, options in context.cache_ways():
            name = f"sounds-{called.replace(' ', '-')}-{way.replace(' ', '-')}"
            options = {**options, "max_new_tokens": LONGEST}
            results = context.ask(name, Heard(name, asked, reader, allowed), None, options)
            spoken.append(row_of_results(f"{called}, {way}", results, "recordings"))
            if "calibration" in results:
                calibrations[f"sounds, {called}, {way}"] = results["calibration"]
            if question == next(iter(QUESTIONS)):
                each += _by_animal(way, results)
    default = (
        "cache on" if context.bot.cache is not None and context.bot.uses_cache(["audio"]) else "cache off"
    )
    chosen = next(row for row in spoken if row["name"] == f"{next(iter(QUESTIONS.values()))}, {default}")
    return {
        "title": "Animal sounds",
        "notes": [
            "Test recordings of ten animals, never heard in training; recordings of one session are drawn "
            "together. The language model was trained on pictures and text only. Some animals have two or "
            f"three recordings: read the intervals. The default of this model is {default}.",
            "*Pictures' prototypes*: ImageNet's classes that show the animal, as the encoder's "
            "classifier has "
            "them. ImageNet has no donkey, so donkeys count as wrong there.",
            "Bandwidth gives the class away in part: most recordings of cats and dogs were sampled at 8 "
            "to 22 "
            "kHz, those of birds at 32 to 48 kHz.",
        ],
        "tables": [
            table("The encoder itself", {"right": "share"}, encoder, "recordings"),
            table(f"The spoken answer (“{'”, “'.join(QUESTIONS)}”)", SHARE, spoken, "recordings"),
            table("By animal, asked for an animal", {"right": "share"}, each, "recordings"),
        ],
        "goals": [goal(f"animal sounds named ({default}, the default)", GOAL, chosen, "right")],
        "calibration": calibrations,
    }


def _by_animal(way: str, results: Mapping[str, Any]) -> list[Row]:
    return [
        {"name": f"{label}, {way}", "n": group["n"], "units": group["n"], "metrics": group["metrics"]}
        for label, group in sorted(results["groups"].items())
    ]


def _training_means(context: Context) -> dict[str, Floats]:
    """The means of training recordings; nothing if there are none at hand."""
    if not all((context.data / name / "train.parquet").is_file() for name in ("animals", "animals_extra")):
        return {}
    heard: list[Clip] = clips(context, "train")
    items = [Item(clip.key, {"audio": clip.file}, clip.label) for clip in heard]
    suite = Rows("sounds-training", items)
    context.ask(suite.name, suite)
    kept = [(row, clip.label) for row, clip in zip(suite.rows, heard, strict=True) if row is not None]
    return unit_means(np.stack([row for row, _ in kept]), [label for _, label in kept])


def _picture_means(context: Context) -> dict[str, Floats]:
    """The means of the prototypes of the classes that show each animal."""
    encoder: Any = context.bot.model.encoder
    rows = prototypes(encoder).double().numpy()
    return {
        label: mean / np.linalg.norm(mean)
        for label, animal in ANIMALS.items()
        if (own := [index for index in animal.classes if index < len(rows)])
        for mean in [rows[own].mean(axis=0)]
    }
