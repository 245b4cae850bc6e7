"""Retrieval by embedding, without the language model: texts and pictures of Flickr8k; sounds and pictures.

Pictures and their captions belong together one by one. Sounds and pictures are paired by class only: a
picture is right when it shows the animal that is heard, so what chance reaches stands beside every number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imagebind_llm.evaluation.benchmarks.retrieval import Retrieval
from imagebind_llm.evaluation.suite import Item
from mini_lab.measures.animals import clips, photographs_of
from mini_lab.measures.context import Context
from mini_lab.measures.tables import Part, row_of_results, table

METRICS = {
    "r@1": "share", "r@5": "share", "r@10": "share", "median_rank": "points",
    "chance_r@1": "share", "chance_r@5": "share", "chance_r@10": "share",
}  # fmt: skip
CIFAR_PICTURES = 50
"""Of each of CIFAR-10's ten classes."""


class Ranked(Retrieval):
    """Retrieval over ready items: queries know the keys of their targets, targets are always asked."""

    def __init__(self, name: str, items: Sequence[Item]) -> None:
        super().__init__("audio", "image")
        self.name, self._listed = name, items

    def items(self, data: Any) -> Any:
        """See :class:`imagebind_llm.evaluation.suite.Suite`."""
        yield from self._listed


def measure(context: Context) -> Part:
    """Rank in both directions.

    Raises:
        UserError: data are missing, or the encoder lacks a modality.
    """
    tables = []
    if context.has("image", "text"):
        rows = []
        for query, target in (("text", "image"), ("image", "text")):
            name = f"retrieval-{query}-{target}"
            suite = Ranked(name, caption_items(context, query))
            found = row_of_results(f"{query} → {target}", context.ask(name, suite))
            targets = sum(item.always for item in suite.items(None))
            rows.append({**found, "name": f"{found['name']}, {targets} to choose from"})
        tables.append(table("Flickr8k, test: five captions a picture", METRICS, rows, "queries"))
    if context.has("audio", "image"):
        rows = []
        for title, pictures in galleries(context).items():
            name = f"retrieval-audio-{title.partition(',')[0].lower().replace(' ', '-')}"
            items = class_items(context, pictures)
            if items:
                rows.append(row_of_results(title, context.ask(name, Ranked(name, items))))
        tables.append(table("Sound → a picture of the same animal", METRICS, rows, "sounds"))
    return {
        "title": "Retrieval by embedding",
        "notes": [
            "Heads only, no language model and no cache. A picture has found its caption if any of the five "
            "ranks high. Of equal scores the right one comes last.",
            "Sounds were bound to pictures by class, never by instance, and recordings of a group are drawn "
            "together by the bootstrap.",
        ],
        "tables": [one for one in tables if one["rows"]],
        "goals": [],
    }


def caption_items(context: Context, query: str) -> list[Item]:
    """Queries and targets of Flickr8k; ``query`` is ``text`` or ``image``."""
    queries, targets = [], []
    for number, row in enumerate(context.rows("flickr8k")):
        texts = [text for text in row["captions"] if text.strip(" .")]
        picture = (f"picture {number}", {"image": row["image"]["bytes"]})
        words = [(f"text {number}.{place}", {"text": text}) for place, text in enumerate(texts)]
        own, other = (words, [picture]) if query == "text" else ([picture], words)
        keys = [key for key, _ in other]
        queries += [Item(key, request, {"relevant": keys}, unit=str(number)) for key, request in own]
        targets += [Item(key, request, {"relevant": None}, always=True) for key, request in other]
    return queries + targets


def galleries(context: Context) -> dict[str, list[tuple[str, str, bytes]]]:
    """Title → pictures: key, class, file."""
    kept: dict[str, int] = {}
    small = []
    for row in context.rows("cifar10"):
        label = str(row["label"])
        if kept.get(label, 0) < CIFAR_PICTURES:
            kept[label] = kept.get(label, 0) + 1
            small.append((f"cifar10 {row['image']['path']}", label, row["image"]["bytes"]))
    large = photographs_of(context)
    return {
        f"CIFAR-10, test, {len(small)} pictures of its classes": small,
        f"imagenet_sample, {len(large)} photographs": large,
    }


def class_items(context: Context, pictures: Sequence[tuple[str, str, bytes]]) -> list[Item]:
    """Sounds whose animal is shown by some picture, and all pictures."""
    by_class: dict[str, list[str]] = {}
    for key, label, _ in pictures:
        by_class.setdefault(label, []).append(key)
    queries = [
        Item(clip.key, {"audio": clip.file}, {"relevant": by_class[clip.label]}, clip.label, clip.group)
        for clip in clips(context)
        if clip.label in by_class
    ]
    if not queries:
        return []
    targets = [Item(key, {"image": file}, {"relevant": None}, always=True) for key, _, file in pictures]
    return queries + targets
