"""Models of furniture that no training has seen, by category: the encoder alone, and the spoken answer.

``python -m mini_lab.furniture`` leaves ``furniture/pairs.csv`` in the build's folder: ``image`` and ``point``
(files, relative to it), ``label`` (the model's name), ``category`` (``Bedroom``, ``Kitchen`` …), ``split``.

An answer names a category when what it names first is called like a model of that category, or like the last
word of such a name ("Double bed": a bed). One word may stand for several categories; a lamp is right in each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.benchmarks.finding import cell_source
from imagebind_llm.evaluation.benchmarks.reading import table_rows
from imagebind_llm.evaluation.suite import Answer, Floats, Item, Sample, ratio
from mini_lab.measures.context import Context, Listed
from mini_lab.measures.embedded import NearestMean, Rows, unit_means
from mini_lab.measures.naming import ImageNetClass, Reader, names_of, read_classes, words_of
from mini_lab.measures.retrieval import METRICS, Ranked
from mini_lab.measures.tables import Part, row_of_results, table

TABLE = Path("furniture") / "pairs.csv"
QUESTION = "What is this?"
LONGEST = 40
SPOKEN = {"right category": "share", "its own name": "share", "names something": "share"}


@dataclass(frozen=True)
class Model:
    """A 3D model.

    Attributes:
        key: tells it from the others.
        name: what it is called.
        category: where it belongs.
        split: ``train`` or ``test``.
        point: its file.
        image: a picture of it.
    """

    key: str
    name: str
    category: str
    split: str
    point: str
    image: str


def read_models(table: Path) -> list[Model]:
    """The models of a table.

    Raises:
        UserError: a column or a file is missing.
    """
    found = []
    for number, row in enumerate(table_rows(table)):
        values = row.values
        wrong = next((key for key in ("label", "category", "split") if not values.get(key)), None)
        if wrong is not None:
            raise UserError(
                f"{row.where} has no {wrong}; write the table again: python -m mini_lab.furniture"
            )
        point, image = (cell_source(values.get(key), table.parent, row.where) for key in ("point", "image"))
        found.append(
            Model(
                f"model {number}",
                str(values["label"]),
                str(values["category"]),
                str(values["split"]),
                point,
                image,
            )
        )
    return found


class Furniture(Listed):
    """Models that are to be named.

    Args:
        name: of the suite.
        items: expected is ``[category, name]``.
        models: all, for the vocabulary.
        classes: ImageNet's, so that an answer may name other things.
    """

    main = "right category"

    def __init__(
        self, name: str, items: Sequence[Item], models: Sequence[Model], classes: Sequence[ImageNetClass]
    ) -> None:
        super().__init__(name, items)
        self._reader = Reader(vocabulary(models, classes))

    def judge(self, items: Sequence[Item], answers: Sequence[Answer]) -> Sequence[Sample]:
        """See :class:`imagebind_llm.evaluation.suite.Suite`."""
        samples = []
        for item, answer in zip(items, answers, strict=True):
            category, name = item.expected
            named = self._reader.named(answer) if isinstance(answer, str) else frozenset()
            right, own = _category(category) in named, _name(name) in named
            sums = {"n": 1.0, "right": float(right), "own": float(own), "any": float(bool(named))}
            samples.append(Sample(sums, sorted(named), float(right)))
        return samples

    def metrics(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """See :class:`imagebind_llm.evaluation.suite.Suite`."""
        found = {"right category": "right", "its own name": "own", "names something": "any"}
        return {name: ratio(sums.get(key, 0.0), sums["n"]) for name, key in found.items()}


def vocabulary(models: Sequence[Model], classes: Sequence[ImageNetClass]) -> dict[str, set[str]]:
    """Meaning → names. The meanings of a model's name, or of its last word, are its category and itself.

    ImageNet's names are there too. One that ends in the last word of a model ("table lamp") means that as
    well.
    """
    found: dict[str, set[str]] = {}
    heads: dict[str, set[str]] = {}
    for model in models:
        words = words_of(model.name)
        letters = [word for word in words if not word.isdigit()]
        for meaning in (_category(model.category), _name(model.name)):
            found.setdefault(meaning, set()).add(model.name)
            if letters:
                found[meaning].add(letters[-1])
                heads.setdefault(letters[-1], set()).add(meaning)
    for wnid, names in names_of(classes).items():
        found.setdefault(wnid, set()).update(names)
        for name in names:
            for meaning in heads.get((words_of(name) or [""])[-1], ()):
                found[meaning].add(name)
    return found


def _category(name: str) -> str:
    return f"category {name}"


def _name(name: str) -> str:
    return f"name {name.lower()}"


def measure(context: Context) -> Part:
    """Embed, rank, ask with the cache off and on; says so where there is nothing to measure.

    Raises:
        UserError: the table is damaged, or has no test models.
    """
    part: Part = {"title": "Furniture", "tables": [], "goals": [], "calibration": {}}
    place = context.work / TABLE
    if not context.has("point", "image"):
        return {**part, "notes": ["Not measured: this model's encoder takes no points."]}
    if not place.is_file():
        return {**part, "notes": [f"Not measured: the build's folder has no {TABLE.as_posix()}."]}
    models = read_models(place)
    tested = list(context.some(iter([one for one in models if one.split == "test"])))
    trained = list(context.some(iter([one for one in models if one.split == "train"])))
    if not tested:
        raise UserError(f"{str(place)!r} has no models of the split test; write the table again")
    bare = [Item(one.key, {"point": one.point}, one.category, one.category) for one in tested]
    encoder = []
    for name, modality in (("points", "point"), ("pictures", "image")):
        means = _means(context, trained, modality)
        if means:
            folder = f"furniture-encoder-{name}"
            results = context.ask(folder, NearestMean(folder, bare, means))
            encoder.append(row_of_results(f"nearest mean of training {name}", results, "models"))
    pairs = Ranked("furniture-pictures", _pairs(tested))
    found = context.ask(pairs.name, pairs)
    ranked = row_of_results(f"points → pictures, {len(tested)} to choose from", found)
    classes = read_classes(context.words)
    spoken, calibrations = [], {}
    asked = [
        Item(one.key, {"question": QUESTION, "point": one.point}, [one.category, one.name], one.category)
        for one in tested
    ]
    for way, options in context.cache_ways():
        folder = f"furniture-{way.replace(' ', '-')}"
        suite = Furniture(folder, asked, models, classes)
        results = context.ask(folder, suite, None, {**options, "max_new_tokens": LONGEST})
        spoken.append(row_of_results(f"mini, {way}", results, "models"))
        if "calibration" in results:
            calibrations[f"furniture, {way}"] = results["calibration"]
    counts = [sum(one.category == name for one in tested) for name in {one.category for one in tested}]
    return {
        **part,
        "notes": [
            f"{len(tested)} held-out 3D models of sweethome3d-furniture in {len(counts)} categories, "
            "which are "
            "rooms and uses rather than kinds of things; always saying the commonest would be right in "
            f"{100 * max(counts) / len(tested):.1f} %. Spoken: “{QUESTION}”. A model's own picture, or "
            "one of "
            "the same name, is right.",
        ],
        "tables": [
            table("The encoder itself, category", {"right": "share"}, encoder, "models"),
            table("The encoder itself, pictures", METRICS, [ranked], "models"),
            table("The spoken answer", SPOKEN, spoken, "models"),
        ],
        "calibration": calibrations,
    }


def _pairs(models: Sequence[Model]) -> list[Item]:
    """Points that look for pictures of models of their own name."""
    by_name: dict[str, list[str]] = {}
    for one in models:
        by_name.setdefault(one.name, []).append(f"picture of {one.key}")
    queries = [
        Item(one.key, {"point": one.point}, {"relevant": by_name[one.name]}, unit=one.name) for one in models
    ]
    targets = [
        Item(f"picture of {one.key}", {"image": one.image}, {"relevant": None}, always=True) for one in models
    ]
    return queries + targets


def _means(context: Context, models: Sequence[Model], modality: str) -> Mapping[str, Floats]:
    items: list[Item] = [
        Item(one.key, {modality: one.point if modality == "point" else one.image}, one.category)
        for one in models
    ]
    if not items:
        return {}
    suite = Rows(f"furniture-training-{modality}", items)
    context.ask(suite.name, suite)
    kept: list[tuple[Any, str]] = [
        (row, item.expected) for row, item in zip(suite.rows, items, strict=True) if row is not None
    ]
    return unit_means(np.stack([row for row, _ in kept]), [label for _, label in kept])
