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
from typing import Any

from imagebind_llm.common.errors import UserError, reason_of, short
from imagebind_llm.common.json_text import parse_json
from imagebind_llm.evaluation.benchmarks import local_files as files
from imagebind_llm.evaluation.suite import Answer, Facts, Floats, Item, Sample, Suite, SuiteKind, ratio

Entry = tuple[str, str, str, list[str]]
"""Of one question: its key, the picture, the question, and the texts that are right."""

_PICTURES = (".jpg", ".png", ".jpeg", ".JPG")


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
        for key, image, question, texts in list(self._read(files.given(data, self.name, self._layout))):
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
    return Sample(sums, best, f1(best))


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
    folder = _folder_of(data, ("gt_answers", "entities", "key", "keys"), (".txt", ".json"), "sroie", _SROIE)
    tables = [file for file in sorted(folder.iterdir()) if file.suffix in (".txt", ".json")]
    for table in tables:
        media = files.MediaFiles(table, "images", "img", "image")
        image = _picture(media, table)
        content = files.json_in(table)
        where = repr(str(table))
        if not isinstance(content, dict) or not content.keys() & _SROIE_QUESTIONS.keys():
            raise UserError(f"{where} holds {short(content)}; expected an object with 'company', 'date', …")
        for key, question in _SROIE_QUESTIONS.items():
            if key in content:
                text = files.field(content, key, str, where)
                if text.strip():
                    yield f"{table.stem}/{key}", image, question, [text]


_FUNSD = "testing_data/ with annotations/ (NAME.json) and images/ (NAME.png)"


def _read_funsd(data: Path) -> Iterator[Entry]:
    places = ("testing_data/annotations", "annotations")
    folder = _folder_of(data, places, (".json",), "funsd", _FUNSD)
    for table in sorted(folder.glob("*.json")):
        image = _picture(files.MediaFiles(table, "images"), table)
        where = repr(str(table))
        form = files.field(files.json_in(table), "form", list, where)
        fields = {files.key_of(one, "id", where): one for one in form}
        for key, one in fields.items():
            if one.get("label") != "question":
                continue
            texts = [files.field(answer, "text", str, where) for answer in _answers_to(one, fields, where)]
            text = " ".join(part for part in texts if part)
            if text.strip():
                name = files.field(one, "text", str, where)
                yield f"{table.stem}/{key}", image, f'what is "{name}" information in the image?', [text]


def _answers_to(question: dict[str, Any], fields: Mapping[str, Any], where: str) -> Iterator[Any]:
    """Fields labelled as answers that ``question`` links to, in the order of its links."""
    for link in files.field(question, "linking", list, where):
        if not isinstance(link, list) or len(link) != 2:
            raise UserError(f"{where} has {short(link)} as a link; expected two ids")
        other = fields.get(str(link[1]))
        if other is not None and other.get("label") == "answer":
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
    table = files.table_in(data, ("test.txt", "text.txt", "*.txt", "*.jsonl"), "poie")
    media = files.MediaFiles(table, "images", "nf_image_test", "image_files")
    for where, line in files.lines_in(table):
        try:
            entry = parse_json(line)
        except ValueError as error:
            raise UserError(f"{where} is not JSON ({reason_of(error)}); get the file again") from None
        name = files.field(entry, "file_name", str, where)
        image, entities = media[name], files.field(entry, "entity_dict", dict, where)
        for key in entities:
            text = files.field(entities, key, str, where)
            texts = [part.strip() for part in [re.sub(r"\(.*?\)", "", text), *re.findall(r"\((.*?)\)", text)]]
            texts = [part for part in texts if part]
            if texts:
                yield f"{name}/{key}", image, f"what is {_entity(key, where)} in the image?", texts


def _entity(key: str, where: str) -> str:
    """What POIE's short name of an entity says."""
    if key == "SS":
        return "Serving size"
    what, _, per = key.partition("-")
    if what not in _AMOUNTS or per not in _PER:
        raise UserError(f"{where} has the entity {short(key)}; expected SS, or one like TF-PS")
    return f"{_AMOUNTS[what]} of {_PER[per]}"


def _folder_of(data: Path, places: Sequence[str], suffixes: Sequence[str], suite: str, layout: str) -> Path:
    """The folder that holds one file for each document: ``data``, or one of the usual ones below it."""
    for folder in [*(data / place for place in places), data]:
        if folder.is_dir() and any(file.suffix in suffixes for file in folder.iterdir()):
            return folder
    raise UserError(f"{str(data)!r} has no files of documents; suite {suite!r} needs {layout}")


def _picture(media: files.MediaFiles, table: Path) -> str:
    found = media.find(*(f"{table.stem}{suffix}" for suffix in _PICTURES))
    if found is None:
        raise UserError(f"{str(table)!r} is of a picture '{table.stem}.jpg' (or .png), which is not there")
    return found


def _kind(
    name: str, title: str, read: Callable[[Path], Iterator[Entry]], layout: str, source: str, licence: str
) -> SuiteKind:
    def make() -> Suite:
        return KeyInformation(name, read, layout)

    make.__doc__ = f"Find key information in {title}."
    return SuiteKind(
        summary=f"Key information in {title}",
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
