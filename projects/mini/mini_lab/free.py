"""Captions that are free to use, in the layout of :mod:`mini_lab.flickr`.

    python -m mini_lab.free DRAWINGS EMOJI STAMPS --out runs/mini-free/captioned

The folders are ``openclipart``, ``fluent-emoji`` and ``tux-paint`` of ``imagebind-llm data fetch``: titles of
drawings, names of emoji, and what the stamps of Tux Paint show. Every twentieth picture is held out:
``validation`` and ``test`` in turn.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.folders import atomic_directory
from imagebind_llm.data.fetch.tables import CAPTIONS
from imagebind_llm.training.build import exit_code
from mini_lab.flickr import HEAD, PICTURES, SPLITS, sentence

HELD_OUT = 20
_LONGEST = 120
"""Characters; a longer title is no caption."""


def captions(folder: Path) -> Iterator[tuple[Path, str]]:
    """Pictures of a fetched data set with their captions.

    Raises:
        UserError: it is none.
    """
    file = folder / CAPTIONS
    if not file.is_file():
        raise UserError(f"there is no {str(file)!r}; fetch it with imagebind-llm data fetch")
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text = " ".join(str(row["caption"]).replace("_", " ").split())
        if text.strip(" .") and len(text) <= _LONGEST:
            yield folder / row["image"], sentence(text)


def write(folders: Sequence[Path], out: Path, most: int | None = None) -> dict[str, int]:
    """Write the tables; the pictures stay where they are. Returns how many captions each split has.

    Args:
        folders: of fetched data sets.
        out: written as a whole.
        most: captions of each folder; None: all.
    """
    lines: dict[str, list[str]] = {split: [] for split in SPLITS}
    for folder in folders:
        for number, (picture, caption) in enumerate(islice(captions(folder), most)):
            place = os.path.relpath(picture.resolve(), out.resolve())
            turn = number // HELD_OUT % 2
            split = SPLITS[1 + turn] if number % HELD_OUT == HELD_OUT - 1 else SPLITS[0]
            lines[split].append(f"{place}\t{caption}\n")
    with atomic_directory(out) as folder:
        for split, rows in lines.items():
            (folder / f"{split}.tsv").write_text(HEAD + "".join(rows), encoding="utf-8")
        seen: dict[str, str] = {}
        for row in lines["train"]:
            seen.setdefault(row.partition("\t")[0], row)
        (folder / PICTURES).write_text(HEAD + "".join(seen.values()), encoding="utf-8")
    return {split: len(rows) for split, rows in lines.items()}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m mini_lab.free", description="Free captions as tables.")
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="fetched data sets")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="written, as a whole")
    parser.add_argument("--items", type=int, metavar="N", help="most captions of each")
    given = parser.parse_args()
    sys.exit(exit_code(lambda: sys.stdout.write(f"{write(given.folders, given.out, given.items)}\n")))


if __name__ == "__main__":
    main()
