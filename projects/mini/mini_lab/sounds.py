"""Recordings of animals as files, and the pictures that go with them: classes of ImageNet.

    python -m mini_lab.sounds --data DATA --out runs/mini/sounds

No recording has a picture. So each kind of animal is brought to the prototypes
(:mod:`mini_lab.prototypes`) of ImageNet's classes of that animal, and away from those of all other classes.
``sounds.csv`` has the columns ``file``, ``label``, ``split``; rare animals stand in it several times.
"""

import argparse
import csv
import io
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.folders import atomic_directory
from imagebind_llm.training.build import exit_code
from mini_lab.flickr import rows_of
from mini_lab.store import Dialog

SETS = ("animals", "animals_extra")
PICTURED: Mapping[str, tuple[tuple[int, int, str, str], ...]] = {
    "cat": ((281, 285, "tabby", "Egyptian cat"),),
    "dog": ((151, 268, "Chihuahua", "Mexican hairless"),),
    "bird": (
        (9, 24, "ostrich", "great grey owl"),
        (80, 100, "black grouse", "black swan"),
        (127, 146, "white stork", "albatross"),
    ),
    "frog": ((30, 32, "bullfrog", "tailed frog"),),
    "cow": ((345, 345, "ox", "ox"),),
    "lion": ((291, 291, "lion", "lion"),),
    "sheep": ((348, 349, "ram", "bighorn"),),
    "chicken": ((7, 8, "cock", "hen"),),
    "monkey": ((370, 382, "guenon", "squirrel monkey"),),
}
"""Animal → ImageNet's classes of it: first and last number, and their names, which are compared.

The birds are all but cock and hen, which are the chickens. ImageNet's apes and lemurs are no monkeys; its
cattle is the ox; its sheep are ram and bighorn. It has no donkey (sorrel is a horse), so the recordings of
donkeys are left out."""
LEAST = 60
"""Rows of an animal in training: those with fewer recordings are repeated."""


def animals(classes: Sequence[Mapping[str, Any]], seed: int) -> Iterator[Dialog]:
    """For each class the animal whose sound goes with it, else its own name; nothing is asked.

    Raises:
        UserError: a class has another name than the table says.
    """
    names = [str(one["names"][0]) for one in classes]
    for animal, ranges in PICTURED.items():
        for first, last, start, stop in ranges:
            if names[first : last + 1][:1] != [start] or names[last : last + 1] != [stop]:
                raise UserError(
                    f"classes {first} and {last} are expected to be {start!r} and {stop!r} ({animal}); "
                    "the words are of other classes than ImageNet's 1,000"
                )
            names[first : last + 1] = [animal] * (last + 1 - first)
    for number, name in enumerate(names):
        yield number, "", name


def write(data: Path, out: Path, most: int | None = None) -> dict[str, int]:
    """Write files and table; returns how many rows each split has.

    Args:
        data: folder of the shared data.
        out: written as a whole.
        most: recordings of each split of each set; None: all.
    """
    rows: list[tuple[str, str, str]] = []
    with atomic_directory(out) as folder:
        (folder / "files").mkdir()
        for name in SETS:
            for split in ("train", "test"):
                found = islice(rows_of(data / name / f"{split}.parquet"), most)
                for number, row in enumerate(found):
                    if row["label"] not in PICTURED:
                        continue
                    suffix = Path(row["audio"]["path"]).suffix
                    file = f"files/{name}-{split}-{number:04d}{suffix}"
                    (folder / file).write_bytes(row["audio"]["bytes"])
                    rows.append((file, row["label"], split))
        table = io.StringIO()
        csv.writer(table).writerows([("file", "label", "split"), *repeated(rows)])
        (folder / "sounds.csv").write_text(table.getvalue(), encoding="utf-8", newline="")
    return dict(Counter(split for _, _, split in repeated(rows)))


def repeated(rows: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """``rows`` (file, label, split), with those of rare animals in training several times."""
    counts = Counter(label for _, label, split in rows if split == "train")
    return [
        row for row in rows for _ in range(max(1, round(LEAST / counts[row[1]])) if row[2] == "train" else 1)
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m mini_lab.sounds", description="Animal sounds as files.")
    parser.add_argument("--data", type=Path, required=True, metavar="DATA", help="folder of the shared data")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="written, as a whole")
    parser.add_argument("--items", type=int, metavar="N", help="most recordings of each split and set")
    given = parser.parse_args()
    sys.exit(exit_code(lambda: sys.stdout.write(f"{write(given.data, given.out, given.items)}\n")))


if __name__ == "__main__":
    main()
