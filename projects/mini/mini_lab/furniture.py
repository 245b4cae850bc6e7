"""Models of furniture with the pictures of them, as pairs.

    python -m mini_lab.furniture runs/mini/sweet-home --out runs/mini/furniture

The folder is ``sweet-home`` of ``imagebind-llm data fetch``. ``pairs.csv`` has the columns ``image``,
``point``, ``label`` (the name), ``split`` and ``category``. Every fifth model of a category is held out.
Models of one name are right for each other.
"""

import argparse
import csv
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.folders import atomic_directory
from imagebind_llm.training.build import exit_code

HELD_OUT = 5
PAIRS = "pairs.csv"


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """The models.

    Raises:
        UserError: it is no such folder.
    """
    file = folder / "points.jsonl"
    if not file.is_file():
        raise UserError(f"there is no {str(file)!r}; fetch it: imagebind-llm data fetch sweet-home")
    for text in file.read_text(encoding="utf-8").splitlines():
        yield json.loads(text)


def split(models: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Each model with ``train`` or ``test``."""
    seen: Counter[str] = Counter()
    for model in models:
        seen[model["category"]] += 1
        yield model, "test" if seen[model["category"]] % HELD_OUT == 0 else "train"


def write(folder: Path, out: Path, most: int | None = None) -> dict[str, int]:
    """Write the table; models and pictures stay where they are. Returns how many each split has.

    Args:
        folder: what was fetched.
        out: written as a whole.
        most: models; None: all.
    """
    rows = []
    for model, part in split(islice(read(folder), most)):
        places = [
            os.path.relpath((folder / model[key]).resolve(), out.resolve()) for key in ("image", "point")
        ]
        rows.append((*places, model["captions"][0], part, model["category"]))
    table = io.StringIO()
    csv.writer(table).writerows([("image", "point", "label", "split", "category"), *rows])
    with atomic_directory(out) as stage:
        (stage / PAIRS).write_text(table.getvalue(), encoding="utf-8", newline="")
    return dict(Counter(row[3] for row in rows))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m mini_lab.furniture", description="Furniture as pairs.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="sweet-home, fetched")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="written, as a whole")
    parser.add_argument("--items", type=int, metavar="N", help="most models")
    given = parser.parse_args()
    sys.exit(exit_code(lambda: sys.stdout.write(f"{write(given.folder, given.out, given.items)}\n")))


if __name__ == "__main__":
    main()
