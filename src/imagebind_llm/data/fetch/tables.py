"""Writing what was fetched in formats that suites and training sources read."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from imagebind_llm.common.modality import Modality

CAPTIONS = "captions.jsonl"
"""A folder with it is a source of ``kind: folder``."""
COCO = "dataset.json"
"""The same captions in the format of COCO's ``captions_*.json``."""
LANGUAGES = "multilingual.jsonl"
DIALOGS = "dialogs.json"
"""A source of ``kind: llava``."""
CLOTHO = "clotho_captions.csv"
"""Sounds and captions in the format of Clotho's ``clotho_captions_*.csv``, with one caption each."""


def write_captions(out: Path, captions: Iterable[tuple[str, str]], description: str) -> int:
    """Write pictures and captions, for training and in COCO's format.

    Args:
        out: the data set's folder.
        captions: path of a picture below it, caption; pictures with several captions come one after another.
        description: of the data set.

    Returns:
        How many captions there are.
    """
    from PIL import Image

    rows = list(captions)
    write_lines(out / CAPTIONS, ({"image": image, "caption": caption} for image, caption in rows))
    numbers = {image: number for number, image in enumerate(dict.fromkeys(image for image, _ in rows), 1)}
    images = []
    for image, number in numbers.items():
        with Image.open(out / image) as picture:
            width, height = picture.size
        images.append({"id": number, "file_name": image, "width": width, "height": height})
    annotations = [
        {"id": place, "image_id": numbers[image], "caption": caption}
        for place, (image, caption) in enumerate(rows, 1)
    ]
    head = {"info": {"description": description}, "type": "captions", "licenses": []}
    write_plain(out / COCO, {**head, "images": images, "annotations": annotations})
    return len(rows)


def write_dialogs(out: Path, modality: Modality, question: str, rows: Iterable[tuple[str, str]]) -> None:
    """Write media and what is said of them as LLaVA's conversations of one turn.

    Args:
        out: the data set's folder.
        modality: of the media.
        question: asked of each.
        rows: path below ``out``, answer.
    """
    kind = modality.value
    dialogs = [
        {
            "id": str(number),
            kind: path,
            "conversations": [
                {"from": "human", "value": f"<{kind}>\n{question}"},
                {"from": "gpt", "value": answer},
            ],
        }
        for number, (path, answer) in enumerate(rows)
    ]
    write_plain(out / DIALOGS, dialogs)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as RFC 4180 has it, in UTF-8 with plain line feeds."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON objects, one a line."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_plain(path: Path, values: Any) -> None:
    """Write one JSON value on one line."""
    path.write_text(json.dumps(values, ensure_ascii=False) + "\n", encoding="utf-8")
