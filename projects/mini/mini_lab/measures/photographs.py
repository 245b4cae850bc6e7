"""Photographs of ImageNet's classes, named by the encoder itself and by the spoken answer.

The encoder: the nearest of the classes' prototypes (:mod:`mini_lab.prototypes`), which are the rows of its
own classifier. The answer: the class, or one of WordNet's more general words within two steps, read as
:mod:`.naming` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.suite import Answer, Floats, Item, Sample, ratio
from mini_lab.measures.captions import shuffled
from mini_lab.measures.context import Context, Listed
from mini_lab.measures.naming import ImageNetClass, Reader, names_of, read_classes
from mini_lab.measures.tables import Part, row_of_results, table
from mini_lab.prototypes import prototypes

QUESTION = "What is this?"
LONGEST = 40
SPOKEN = {"names the class": "share", "the class or above": "share", "names something": "share"}
ENCODER = {"top-1": "share", "top-5": "share"}


class Named(Listed):
    """Photographs that are to be named.

    Args:
        name: of the suite.
        items: expected is the class's index.
        classes: all of them.
    """

    main = "the class or above"

    def __init__(self, name: str, items: Sequence[Item], classes: Sequence[ImageNetClass]) -> None:
        super().__init__(name, items)
        self._classes, self._reader = classes, Reader(names_of(classes))

    def judge(self, items: Sequence[Item], answers: Sequence[Answer]) -> Sequence[Sample]:
        """See :class:`imagebind_llm.evaluation.suite.Suite`."""
        samples = []
        for item, answer in zip(items, answers, strict=True):
            one = self._classes[item.expected]
            named = self._reader.named(answer) if isinstance(answer, str) else frozenset()
            own = one.wnid in named
            above = own or bool(named & set(one.above))
            sums = {"n": 1.0, "class": float(own), "above": float(above), "any": float(bool(named))}
            samples.append(Sample(sums, sorted(named), float(above)))
        return samples

    def metrics(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """See :class:`imagebind_llm.evaluation.suite.Suite`."""
        found = {"names the class": "class", "the class or above": "above", "names something": "any"}
        return {name: ratio(sums.get(key, 0.0), sums["n"]) for name, key in found.items()}


class Nearest(Listed):
    """Photographs whose embedding is compared with prototypes.

    Args:
        name: of the suite.
        items: expected is the class's index.
        prototypes: ``[classes, D]`` unit rows.
    """

    asks = "embeddings"
    main = "top-1"

    def __init__(self, name: str, items: Sequence[Item], prototypes: Floats) -> None:
        super().__init__(name, items)
        self._prototypes = prototypes

    def judge(self, items: Sequence[Item], answers: Sequence[Answer]) -> Sequence[Sample]:
        """See :class:`imagebind_llm.evaluation.suite.Suite`."""
        samples = []
        for item, answer in zip(items, answers, strict=True):
            best: list[int] = []
            if answer is not None and not isinstance(answer, str):
                best = [int(place) for place in np.argsort(-(self._prototypes @ answer))[:5]]
            first, five = item.expected in best[:1], item.expected in best
            samples.append(Sample({"n": 1, "first": first, "five": five}, best[:1], float(first)))
        return samples

    def metrics(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """See :class:`imagebind_llm.evaluation.suite.Suite`."""
        return {
            "top-1": ratio(sums.get("first", 0.0), sums["n"]),
            "top-5": ratio(sums.get("five", 0.0), sums["n"]),
        }


def photographs(context: Context, classes: Sequence[ImageNetClass]) -> list[tuple[int, bytes]]:
    """Class index and file of each photograph.

    Raises:
        UserError: a photograph is of a class that the list does not have.
    """
    found = []
    for row in context.rows("imagenet_sample"):
        index = int(row["class_index"])
        if not 0 <= index < len(classes) or classes[index].wnid != row["wnid"]:
            raise UserError(
                f"imagenet_sample has a photograph of class {index} ({row['wnid']}), which the list of "
                "classes "
                "calls otherwise; fetch imagenet-words again"
            )
        found.append((index, row["image"]["bytes"]))
    return found


def measure(context: Context) -> Part:
    """Embed, ask with the cache off and on, and ask about somebody else's photograph.

    Raises:
        UserError: the photographs or the classes are not there, or the encoder has no classifier.
    """
    classes = read_classes(context.words)
    rows = prototypes(_encoder(context))
    if len(rows) != len(classes):
        raise UserError(
            f"the encoder's classifier has {len(rows)} classes, {str(context.words)!r} has "
            f"{len(classes)}; give "
            "the words of the classifier's classes"
        )
    media = photographs(context, classes)
    keys = [f"{classes[index].wnid}-{number}" for number, (index, _) in enumerate(media)]
    bare = [Item(key, {"image": file}, index) for key, (index, file) in zip(keys, media, strict=True)]
    nearest = context.ask("photographs-encoder", Nearest("encoder", bare, rows.double().numpy()))
    asked = [
        Item(item.key, {"question": QUESTION, **item.request}, item.expected, unit=item.unit) for item in bare
    ]
    spoken, calibrations = [], {}
    for way, options in context.cache_ways():
        name = f"photographs-{way.replace(' ', '-')}"
        results = context.ask(name, Named(name, asked, classes), None, {**options, "max_new_tokens": LONGEST})
        spoken.append(row_of_results(f"mini, {way}", results, "photographs"))
        if "calibration" in results:
            calibrations[f"photographs, {way}"] = results["calibration"]
    if len(asked) > 1:
        name = "photographs-shuffled"
        other = Named(name, shuffled(asked, seed=0), classes)
        results = context.ask(name, other, None, {"cache": False, "max_new_tokens": LONGEST})
        spoken.append(row_of_results("mini, shown another photograph", results))
    return {
        "title": "Photographs of ImageNet's classes",
        "notes": [
            "One photograph of each class at hand. The image tower was trained on ImageNet by its makers and "
            "may have seen these very photographs; mini's own training has not.",
            f"Spoken: “{QUESTION}”. *The class or above* counts one of WordNet's more general words "
            "within two "
            "steps too, but none that says next to nothing (animal, artifact, container, vehicle …). What is "
            "named first decides.",
        ],
        "tables": [
            table(
                "The encoder itself: nearest of 1,000 prototypes" if len(classes) == 1000 else "The encoder",
                ENCODER,
                [row_of_results("EfficientNet-Lite2's features, no language model", nearest)],
                "photographs",
            ),
            table("The spoken answer", SPOKEN, spoken, "photographs"),
        ],
        "goals": [],
        "calibration": calibrations,
    }


def _encoder(context: Context) -> Any:
    encoder: Any = context.bot.model.encoder
    if encoder is None or not hasattr(encoder, "towers"):
        raise UserError(
            "this model's encoder is no encoder of towers; give mini, or one that is built as it is"
        )
    return encoder
