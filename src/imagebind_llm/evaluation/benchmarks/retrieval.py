"""Retrieval between two modalities by embedding: is what belongs to a query among the nearest?

A table of pairs says what belongs together. Each query is compared with every target by cosine. Its rank is
that of the best target that belongs to it. As the field does it, each of a picture's five captions is a query
of its own, and a picture has found its caption if any of the five ranks high.

A target that scores as high as the right one ranks before it, so that equal embeddings gain nothing. What
cannot be embedded is never found. Queries about one picture are drawn together by the bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from imagebind_llm.common.errors import UserError, one_line, short
from imagebind_llm.common.files import printable_name
from imagebind_llm.evaluation.benchmarks.captioning import coco_caption
from imagebind_llm.evaluation.benchmarks.finding import cell_source, require_data
from imagebind_llm.evaluation.benchmarks.reading import (
    Row,
    by_id,
    json_object,
    table_rows,
)
from imagebind_llm.evaluation.suite import Answer, Facts, Floats, Item, Sample, Suite, SuiteKind, ratio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


DEPTHS = (1, 5, 10)
_AT_ONCE = 1 << 24
"""Similarities in memory at once."""
_TIE = 1e-9
"""Cosines that differ by less are equal: what float64 leaves of one and the same embedding."""
_EXACT = 100
"""Ranks up to here are kept as they are for the median, higher ones within 5 %."""
_TEXT_COLUMNS = ("text", "texts", "caption", "captions")


@dataclass(frozen=True)
class Pair:
    """What belongs together.

    Attributes:
        where: its place in the table, for errors and keys.
        query, target: texts, or one medium each (a path or bytes).
    """

    where: str
    query: Sequence[Any]
    target: Sequence[Any]


class Retrieval(Suite):
    """Queries of one modality and targets of another.

    Args:
        query, target: the modalities.
        query_column, target_column: columns of the table; empty: called as the modalities.
        media: folder of the media; None: that of the table.
        split: of tables that have one; empty: all.
        captions: texts of a medium, the first ones; 0: all.
    """

    asks = "embeddings"
    main = "r@1"
    units: Mapping[str, str] = {"median_rank": "points"}

    def __init__(
        self,
        query: str = "text",
        target: str = "image",
        query_column: str = "",
        target_column: str = "",
        media: Path | None = None,
        split: str = "test",
        captions: int = 5,
    ) -> None:
        if query == target:
            raise UserError(f"query and target are both {query!r}; give two modalities")
        if captions < 0:
            raise UserError(f"{captions} captions; expected 1 or more, or 0 for all")
        self.name = "retrieval"
        self._query, self._target = query, target
        self._columns = (query_column, target_column)
        self._media, self._split, self._captions = media, split, captions

    def items(self, data: Path | None) -> Iterator[Item]:
        """All queries, then all targets (these are always asked).

        Raises:
            UserError: the table is of no known layout, damaged, empty, or names files that are not there.
        """
        sides: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        units: dict[str, str] = {}
        relevant: dict[str, list[str]] = {}
        for pair in self._pairs(require_data(data, self.name, "a table of pairs")):
            keys = [
                _keys(
                    modality, sources[: self._captions or None] if modality == "text" else sources, pair.where
                )
                for modality, sources in ((self._query, pair.query), (self._target, pair.target))
            ]
            unit = next(iter(keys[1] if self._query == "text" else keys[0]), "")
            for side, found in zip(sides, keys, strict=True):
                side.update(found)
            for key in keys[0]:
                units.setdefault(key, unit)
                known = relevant.setdefault(key, [])
                known += [other for other in keys[1] if other not in known]
        if not relevant:
            raise UserError(f"{str(data)!r} has no pairs{f' of split {self._split!r}' * bool(self._split)}")
        for key, source in sides[0].items():
            yield Item(key, {self._query: source}, {"relevant": relevant[key]}, unit=units[key])
        for key, source in sides[1].items():
            yield Item(key, {self._target: source}, {"relevant": None}, always=True)

    def judge(self, items: Sequence[Item], answers: Sequence[Answer]) -> Sequence[Sample]:
        """Rank the targets for every query.

        Raises:
            UserError: a query's targets are not among the items asked, or nothing could be embedded.
        """
        queries = [number for number, item in enumerate(items) if item.expected["relevant"] is not None]
        targets = [number for number, item in enumerate(items) if item.expected["relevant"] is None]
        column = {items[number].key: place for place, number in enumerate(targets)}
        right = []
        for number in queries:
            keys = items[number].expected["relevant"]
            right.append([column[key] for key in keys if key in column])
            if len(right[-1]) < len(keys):
                raise UserError(
                    f"suite {self.name!r}: what belongs to {items[number].key!r} is not among the items "
                    "asked; ask all targets"
                )
        rows = _matrix([answers[number] for number in targets])
        asked = _matrix([answers[number] for number in queries])
        if not rows.shape[1] or not asked.shape[1]:
            what = self._query if rows.shape[1] else self._target
            raise UserError(
                f"suite {self.name!r}: no {what} could be embedded; the encoder must take both modalities"
            )
        samples = [Sample({})] * len(items)
        step = max(1, _AT_ONCE // len(targets))
        for at in range(0, len(queries), step):
            some = slice(at, at + step)
            found = _ranks(asked[some] @ rows.T, right[some])
            for number, relevant, (rank, best) in zip(queries[some], right[some], found, strict=True):
                key = None if best is None else items[targets[best]].key
                samples[number] = _sample(rank, key, len(relevant), len(targets))
        return samples

    def metrics(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """``r@1``, ``r@5``, ``r@10`` (0 … 1), the same of guessing, and ``median_rank`` (from 1).

        Above 100 the median rank is rounded up by at most 5 %.
        """
        count = sums.get("n", 0.0)
        found = {f"r@{depth}": ratio(sums.get(f"r@{depth}", 0.0), count) for depth in DEPTHS}
        found["median_rank"] = _median(sums)
        for depth in DEPTHS:
            found[f"chance_r@{depth}"] = ratio(sums.get(f"chance@{depth}", 0.0), count)
        return found

    def _pairs(self, data: Path) -> Iterator[Pair]:
        if data.is_dir():
            raise UserError(f"{str(data)!r} is a folder; give the table of pairs in it")
        for row in _json(data) if data.suffix.lower() == ".json" else table_rows(data):
            if self._split and row.values.get("split", self._split) not in (self._split, None):
                continue
            query, target = (
                _cells(row, modality, column, self._media or data.parent)
                for modality, column in zip((self._query, self._target), self._columns, strict=True)
            )
            yield Pair(row.where.removeprefix(f"{str(data)!r}: "), query, target)


def _json(data: Path) -> Iterator[Row]:
    """COCO's captions, or Karpathy's splits of COCO, Flickr30k and Flickr8k."""
    content = json_object(data)
    if "images" not in content.values:
        raise UserError(
            f"{str(data)!r} has no list 'images'; expected COCO captions or Karpathy's splits (other "
            "pairs as .jsonl)"
        )
    if "annotations" in content.values:
        texts: dict[str, list[str]] = {}
        for key, text in map(coco_caption, content.rows("annotations")):
            texts.setdefault(key, []).append(text)
        for key, image in by_id(content.rows("images"), "id").items():
            if key in texts:
                yield Row({"image": image.text("file_name"), "text": texts[key]}, image.where)
        return
    for image in content.rows("images"):
        place = image.text("filepath", empty=True) if "filepath" in image.values else ""
        values = {
            "image": str(Path(place, image.text("filename"))),
            "text": [sentence.text("raw", empty=True) for sentence in image.rows("sentences", empty=True)],
            "split": image.values.get("split"),
        }
        yield Row(values, image.where)


def _cells(row: Row, modality: str, column: str, root: Path) -> list[Any]:
    """The texts, or the one medium, of a side of a row."""
    values, where = row.values, row.where
    if modality != "text":
        name = column or modality
        if name not in values:
            raise UserError(
                f"{where} has no {name!r}, only {one_line(', '.join(values), 80)}; name the column"
            )
        return [cell_source(values[name], root, where)]
    names = [column] if column else [name for name in _TEXT_COLUMNS if name in values][:1]
    # as Clotho has its captions: caption_1 … caption_5
    names = names or [name for name in values if name.startswith("caption_") and name[8:].isdigit()]
    if not names or names[0] not in values:
        raise UserError(
            f"{where} has no {column or 'text'!r}, only {one_line(', '.join(values), 80)}; name the column"
        )
    texts: list[Any] = []
    for name in names:
        texts += values[name] if isinstance(values[name], list) else [values[name]]
    wrong = [text for text in texts if not isinstance(text, str) or not text.strip()]
    if wrong or not texts:
        raise UserError(f"{where} has {short(wrong[0] if wrong else texts)} for a text; expected words")
    return texts


def _keys(modality: str, sources: Sequence[Any], where: str) -> dict[str, Any]:
    """Key → source. A file has one key wherever it stands; equal texts of two rows stay two."""
    if modality == "text":
        return {f"text {where}, {number}": text for number, text in enumerate(sources, 1)}
    return {
        f"{modality} {printable_name(source) if isinstance(source, str) else where}": source
        for source in sources
    }


def _matrix(answers: Sequence[Answer]) -> NDArray[np.float64]:
    """Rows ``[n, D]``, NaN where there is none; ``[n, 0]`` if there is none at all."""
    import numpy as np

    size = next((len(answer) for answer in answers if answer is not None), 0)
    rows = np.full((len(answers), size), np.nan)
    for number, answer in enumerate(answers):
        if answer is not None and not isinstance(answer, str):
            rows[number] = answer
    return rows


def _ranks(scores: NDArray[np.float64], right: Sequence[Sequence[int]]) -> list[tuple[int, int | None]]:
    """For each row of scores ``[n, targets]`` the rank of the best right target, and the best of all targets.

    A score of NaN belongs to something that could not be embedded: it is last.
    """
    import numpy as np

    scores = np.where(np.isnan(scores), -np.inf, scores)
    owned = [scores[row, columns].max() for row, columns in enumerate(right)]
    ahead = (scores >= np.array(owned)[:, None] - _TIE).sum(axis=1)
    found: list[tuple[int, int | None]] = []
    for row, columns in enumerate(right):
        if owned[row] == -np.inf:
            best = None if scores[row].max() == -np.inf else int(scores[row].argmax())
            found.append((scores.shape[1], best))
            continue
        own = int((scores[row, columns] >= owned[row] - _TIE).sum())
        found.append((int(ahead[row]) - own + 1, int(scores[row].argmax())))
    return found


def _sample(rank: int, best: str | None, relevant: int, targets: int) -> Sample:
    sums: dict[str, float] = {"n": 1, f"rank:{_bin(rank)}": 1}
    for depth in DEPTHS:
        sums[f"r@{depth}"] = rank <= depth
        sums[f"chance@{depth}"] = chance(depth, relevant, targets)
    return Sample(sums, {"rank": rank, "nearest": best}, 1 / rank)


def chance(depth: int, relevant: int, targets: int) -> float:
    """How often one or more of ``relevant`` targets are among ``depth`` of all, drawn without replacement."""
    missed = 1.0
    for drawn in range(min(depth, targets)):
        missed *= max(0, targets - relevant - drawn) / (targets - drawn)
    return 1 - missed


def _bin(rank: int) -> int:
    """``rank`` up to 100; above, the end of the step of 5 % that it lies in."""
    if rank <= _EXACT:
        return rank
    step = math.ceil(math.log(rank / _EXACT, 1.05) - 1e-9)
    return max(rank, math.floor(_EXACT * 1.05**step + 1e-9))


def _median(sums: Mapping[str, Floats]) -> Floats:
    """The median of the ranks that were counted; between two middle ones, their mean."""
    import numpy as np

    ranks = sorted(int(name[5:]) for name in sums if name.startswith("rank:"))
    if not ranks:
        return ratio(0.0, np.asarray(sums.get("n", 0.0)) * 0)
    counts = np.stack([np.asarray(sums[f"rank:{rank}"], np.float64) for rank in ranks])
    up_to = counts.cumsum(axis=0)
    half = up_to[-1] / 2
    values = np.array(ranks, np.float64)
    lower, upper = values[(up_to >= half).argmax(axis=0)], values[(up_to > half).argmax(axis=0)]
    return np.where(up_to[-1] > 0, (lower + upper) / 2, np.nan)


def _make(
    query: Annotated[str, "Modality of the queries: text, image, audio, …"] = "text",
    target: Annotated[str, "Modality that is searched."] = "image",
    query_column: Annotated[str, "Column of the queries. Default: called as the modality."] = "",
    target_column: Annotated[str, "Column of the targets. Default: called as the modality."] = "",
    media: Annotated[Path | None, "Folder of the media. Default: that of the table."] = None,
    split: Annotated[str, "Rows of this split, where the table says. Empty: all."] = "test",
    captions: Annotated[int, "Texts of a medium, the first ones. 0: all."] = 5,
) -> Suite:
    """Find what belongs to a query among media of another modality, by embedding."""
    return Retrieval(query, target, query_column, target_column, media, split, captions)


RETRIEVAL = SuiteKind(
    summary="Retrieval between any two modalities: recall at 1, 5, 10 and the median rank.",
    examples="imagebind-llm eval retrieval --query text --target image --data dataset_flickr30k.json "
    "--media flickr30k-images\nimagebind-llm eval retrieval --query audio --target text --data clotho.csv "
    "--query-column file_name",
    make=_make,
    facts=Facts(
        "a table of pairs: .jsonl, .csv, .tsv or .parquet with a column for each modality; Clotho's CSV; "
        "COCO captions (captions_val2014.json); Karpathy's dataset_coco.json or dataset_flickr30k.json; and "
        "the media",
        "R@1; R@5, R@10, median rank, R@k of chance",
        "https://cocodataset.org, https://shannon.cs.illinois.edu/DenotationGraph, "
        "https://zenodo.org/records/4783391 (Clotho), https://audiocaps.github.io, or your own pairs",
        "each data set's own",
        "ImageBind-huge (the encoder, no language model): AudioCaps text to audio R@10 42.3; 41.6 when MTEB "
        "ran it again (embeddings-benchmark/mteb#5015)",
    ),
)
