"""Flickr8k of the shared data as files that the training sources read.

    python -m mini_lab.flickr --data DATA --out runs/mini/captioned

``SPLIT.tsv`` (``train``, ``validation``, ``test``) has a line for each caption: picture, tab, caption.
``pictures.tsv`` has each picture of ``train`` once, with its first caption. The pictures lie in
``pictures/``.
"""

import argparse
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.folders import atomic_directory
from imagebind_llm.training.build import exit_code

SPLITS = ("train", "validation", "test")


def rows_of(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, a few at a time.

    Raises:
        UserError: there is no such file.
    """
    import pyarrow.parquet as pq

    if not file.is_file():
        raise UserError(f"there is no {str(file)!r}; give the folder of the shared data as --data")
    with pq.ParquetFile(file) as table:
        for batch in table.iter_batches(256):
            yield from batch.to_pylist()


def sentence(caption: str) -> str:
    """A caption as people write: no space before its full stop, a capital first, an end."""
    words = " ".join(caption.split()).replace(" ,", ",").replace(" '", "'").rstrip(" .")
    return f"{words[:1].upper()}{words[1:]}."


HEAD = "url\tcaption\n"
PICTURES = "pictures.tsv"


def write(data: Path, out: Path, most: int | None = None) -> dict[str, int]:
    """Write pictures and tables; returns how many captions each split has.

    Args:
        data: folder of the shared data.
        out: written as a whole.
        most: pictures of each split; None: all.
    """
    counts = {}
    with atomic_directory(out) as folder:
        (folder / "pictures").mkdir()
        for split in SPLITS:
            lines: list[str] = []
            first: list[str] = []
            for row in islice(rows_of(data / "flickr8k" / f"{split}.parquet"), most):
                name = f"pictures/{Path(row['file']).name}"
                (folder / name).write_bytes(row["image"]["bytes"])
                said = [f"{name}\t{sentence(text)}\n" for text in row["captions"] if text.strip(" .")]
                lines += said
                first += said[:1]
            (folder / f"{split}.tsv").write_text(HEAD + "".join(lines), encoding="utf-8")
            if split == "train":
                (folder / PICTURES).write_text(HEAD + "".join(first), encoding="utf-8")
            counts[split] = len(lines)
    return counts


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m mini_lab.flickr", description="Unpack Flickr8k.")
    parser.add_argument("--data", type=Path, required=True, metavar="DATA", help="folder of the shared data")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="written, as a whole")
    parser.add_argument("--items", type=int, metavar="N", help="most pictures of each split")
    given = parser.parse_args()
    sys.exit(exit_code(lambda: sys.stdout.write(f"{write(given.data, given.out, given.items)}\n")))


if __name__ == "__main__":
    main()
