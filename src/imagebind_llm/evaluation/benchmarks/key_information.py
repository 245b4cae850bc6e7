"""Key information of documents, scored by F1 of words: SROIE (receipts), FUNSD (forms), POIE (food labels).

Asked and judged as LVLM-eHub does. Words are what stands between white space, as written; a word of the
answer counts if the expected text has it, each word of that once. Precision is matched words by words of the
answers, recall matched words by expected ones, over the whole set; ``f1`` is their harmonic mean.
``contained`` is the share of answers that hold the expected text, regardless of case and white space.

The questions are LVLM-eHub's. Of POIE, an entity may have other readings in brackets (``10 (ten)``); the one
that matches the answer best counts, where LVLM-eHub's own script of F1 takes one text only.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.common.walk import is_visible
from imagebind_llm.evaluation.benchmarks.finding import (
    PICTURES,
    Media,
    find_table,
    require_data,
    with_suffixes,
)
from imagebind_llm.evaluation.benchmarks.reading import Row, json_object, json_rows
from imagebind_llm.evaluation.suite import Answer, Facts, Floats, Item, Sample, Suite, SuiteKind, ratio

Entry = tuple[str, str, str, list[str]]
"""Of one question: its key, the picture, the question, and the texts that are right."""


class KeyInformation(Suite):
    """Questions about texts in pictures of documents.

    Args:
        name: of the benchmark.
        read: the questions of the file or folder that the user gave.
        layout: what ``read`` needs, for messages.
    """

    main = "f1"

    def __init__(self, name: str, read: Callable[[Path], Iterator[Entry]], layout: str) -> None:
        self.name, self._read, self._layout = name, read, layout

    def items(self, data: Path | None) -> Iterator[Item]:
        for key, image, question, texts in self._read(require_data(data, self.name, self._layout)):
            yield Item(key, {"question": question, "image": image}, texts, unit=image)

    def judge(self, items: Sequence[Item], answers: Sequence[Answer]) -> Sequence[Sample]:
        return [_judged(item.expected, answer) for item, answer in zip(items, answers, strict=True)]

    def metrics(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        matched, written, wanted = (sums[name] for name in ("matched", "written", "wanted"))
        return {
            "f1": ratio(2 * matched, written + wanted),
            "precision": ratio(matched, written),
            "recall": ratio(matched, wanted),
            "contained": ratio(sums["contained"], sums["n"]),
        }


def matched_words(expected: str, answer: str) -> int:
    """Words of ``answer`` that ``expected`` has, each of its words once."""
    return (Counter(expected.split()) & Counter(answer.split())).total()


def _judged(texts: Sequence[str], answer: Answer) -> Sample:
    said = answer if isinstance(answer, str) else ""
    written = len(said.split())

    def f1(text: str) -> float:
        return 2 * matched_words(text, said) / (written + len(text.split()))

    best = max(texts, key=f1)
    flat = " ".join(said.lower().split())
    sums = {
        "n": 1,
        "matched": matched_words(best, said),
        "written": written,
        "wanted": len(best.split()),
        "contained": any(" ".join(text.lower().split()) in flat for text in texts),
    }
    return Sample(sums, said.strip() if isinstance(answer, str) else None, f1(best))


_SROIE_QUESTIONS = {
    "company": "what is the name of the company that issued this invoice?",
    "date": "when was this invoice issued?",
    "address": "where was this invoice issued?",
    "total": "what is the total amount of this invoice?",
}
_SROIE = (
    "a folder of key files (gt_answers/, entities/, key/ or box/: one NAME.txt or NAME.json of "
    '{"company": …, "date": …, "address": …, "total": …} each), and images/ (or img/) with NAME.jpg'
)


def _read_sroie(data: Path) -> Iterator[Entry]:
    places = ("gt_answers", "entities", "key", "keys")
    tables = _documents(data, places, (".txt", ".json"), "sroie", _SROIE)
    media = Media(tables[0], "images", "img", "image")
    for table in tables:
        image, row = _picture(media, table), json_object(table)
        if not row.values.keys() & _SROIE_QUESTIONS.keys():
            raise UserError(
                f"{row.where} holds {short(row.values)}; expected an object with 'company', 'date', …"
            )
        for key, question in _SROIE_QUESTIONS.items():
            text = row.text(key, empty=True) if key in row.values else ""
            if text.strip():
                yield f"{table.stem}/{key}", image, question, [text]


_FUNSD = "testing_data/ with annotations/ (NAME.json) and images/ (NAME.png)"


def _read_funsd(data: Path) -> Iterator[Entry]:
    places = ("testing_data/annotations", "annotations")
    for table in _documents(data, places, (".json",), "funsd", _FUNSD):
        image = _picture(Media(table, "images"), table)
        fields = {row.id("id"): row for row in json_object(table).rows("form", empty=True)}
        for key, row in fields.items():
            if row.values.get("label") != "question":
                continue
            texts = [answer.text("text", empty=True) for answer in _answers_to(row, fields)]
            text = " ".join(part for part in texts if part)
            if text.strip():
                name = row.text("text", empty=True)
                yield f"{table.stem}/{key}", image, f'what is "{name}" information in the image?', [text]


def _answers_to(question: Row, fields: Mapping[str, Row]) -> Iterator[Row]:
    """Fields labelled as answers that ``question`` links to, in the order of its links."""
    for link in question.list("linking", empty=True):
        if not isinstance(link, list) or len(link) != 2:
            raise UserError(f"{question.where} has {short(link)} as a link; expected two ids")
        other = fields.get(str(link[1]))
        if other is not None and other.values.get("label") == "answer":
            yield other


_AMOUNTS = {
    "CE": "Calories/Energy",
    "TF": "Total fat",
    "CAR": "Total carbohydrate",
    "PRO": "Protein",
    "SO": "Sodium",
}
_PER = {"PS": "per serving", "D": "daily value", "P1": "per 100g/ml", "PP": "per 100g/ml percentage"}
_POIE = 'test.txt (or text.txt) of lines {"file_name": …, "entity_dict": {"TF-PS": …}}, and the pictures'


def _read_poie(data: Path) -> Iterator[Entry]:
    table = find_table(data, "test.txt", "text.txt", "*.txt", "*.jsonl")
    media = Media(table, "images", "nf_image_test", "image_files")
    for row in json_rows(table):
        name = row.text("file_name")
        image, entities = media.path(row.where, name), row.row("entity_dict")
        for key in entities.values:
            text = entities.text(key, empty=True)
            texts = [part.strip() for part in [re.sub(r"\(.*?\)", "", text), *re.findall(r"\((.*?)\)", text)]]
            texts = [part for part in texts if part]
            if texts:
                yield f"{name}/{key}", image, f"what is {_entity(key, row.where)} in the image?", texts


def _entity(key: str, where: str) -> str:
    """What POIE's short name of an entity says."""
    if key == "SS":
        return "Serving size"
    what, _, per = key.partition("-")
    if what not in _AMOUNTS or per not in _PER:
        raise UserError(f"{where} has the entity {short(key)}; expected SS, or one like TF-PS")
    return f"{_AMOUNTS[what]} of {_PER[per]}"


def _documents(
    data: Path, places: Sequence[str], suffixes: Sequence[str], suite: str, layout: str
) -> Sequence[Path]:
    """The files, one for each document, in one of the usual folders below ``data``, or in itself."""
    for folder in [*(data / place for place in places), data]:
        there = sorted(folder.iterdir()) if folder.is_dir() else []
        files = [file for file in there if file.suffix in suffixes and is_visible(file.name)]
        if files:
            return files
    raise UserError(f"{str(data)!r} has no files of documents; suite {suite!r} needs {layout}")


def _picture(media: Media, table: Path) -> str:
    return media.path(repr(str(table)), *with_suffixes(PICTURES, table.stem))


def _kind(
    name: str, title: str, read: Callable[[Path], Iterator[Entry]], layout: str, source: str, licence: str
) -> SuiteKind:
    def make() -> Suite:
        return KeyInformation(name, read, layout)

    make.__doc__ = f"Find key information in {title}."
    return SuiteKind(
        summary=f"Key information in {title}.",
        examples=f"imagebind-llm eval {name} --data {name}/ --model nano",
        make=make,
        facts=Facts(
            layout=layout, metric="f1 of words, precision, recall, contained", source=source, licence=licence
        ),
    )


SROIE = _kind(
    "sroie", "receipts (SROIE)", _read_sroie, _SROIE, "rrc.cvc.uab.es (SROIE 2019, task 3)", "CC BY 4.0"
)
FUNSD = _kind(
    "funsd",
    "scanned forms (FUNSD)",
    _read_funsd,
    _FUNSD,
    "guillaumejaume.github.io/FUNSD",
    "non-commercial research and education",
)
POIE = _kind(
    "poie",
    "labels of food (POIE)",
    _read_poie,
    _POIE,
    "github.com/jfkuang/cfam (Kuang and others 2023)",
    "research use; see its authors' page",
)
