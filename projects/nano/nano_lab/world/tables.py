"""Reading the Parquet folders nano is trained on.

Layout: ``<root>/<dataset>/{train,test}.parquet``; image and audio columns are structs whose ``bytes`` field
is a whole encoded file, ``label`` is a concept's name. Nothing here ships with the package.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from imagebind_llm.common.errors import UserError
from nano_lab.world.concepts import concept_named

Split = Literal["train", "test"]

COLUMNS: dict[str, tuple[str, ...]] = {
    "mnist": ("image", "label", "index"),
    "cifar10": ("image", "label", "index"),
    "fsdd": ("audio", "label", "speaker"),
    "animals": ("audio", "label", "group"),
    "animals_extra": ("audio", "group"),
    "shapes": ("points", "label", "group"),
}
"""The data sets, and what is read of each."""


FLICKR8K = "flickr8k"
OTHERS: dict[str, tuple[str, ...]] = {FLICKR8K: ("image", "captions")}
"""Data sets of photographs of other things, of which only training reads, and only if a recipe says so."""


def check_tables(root: str | Path, others: Sequence[str] = ()) -> None:
    """Look at every file of every data set (its end, where Parquet keeps what it holds), and at no row.

    Args:
        root: folder of the data sets.
        others: which of :data:`OTHERS` are needed too.

    Raises:
        UserError: one is missing, damaged or lacks a column.
    """
    for dataset, columns in COLUMNS.items():
        for split in ("train", "test"):
            _known_columns(Path(root) / dataset / f"{split}.parquet", columns)
    for dataset in others:
        _known_columns(Path(root) / dataset / "train.parquet", OTHERS[dataset])


def read_columns(
    root: str | Path, dataset: str, split: Split, columns: Sequence[str]
) -> dict[str, list[Any]]:
    """Read ``columns`` of one split of one dataset as Python lists (a struct column gives its ``bytes``).

    Raises:
        UserError: the file or one of its columns is missing, or the file is damaged.
    """
    import pyarrow.parquet as parquet

    path = Path(root) / dataset / f"{split}.parquet"
    _known_columns(path, columns)
    with _damage_in_one_line(path):
        table = parquet.read_table(path, columns=list(columns))
    read: dict[str, list[Any]] = {}
    for column in columns:
        chunks = table.column(column).combine_chunks()
        values = chunks.to_pylist()
        read[column] = [v["bytes"] if isinstance(v, dict) else v for v in values]
    return read


def _known_columns(path: Path, columns: Sequence[str]) -> None:
    import pyarrow.parquet as parquet

    if not path.is_file():
        raise UserError(
            f"there is no {str(path)!r}; nano's data is a folder with {', '.join(COLUMNS)}, each of which "
            "holds train.parquet and test.parquet"
        )
    with _damage_in_one_line(path):
        known = set(parquet.read_schema(path).names)
    missing = [column for column in columns if column not in known]
    if missing:
        raise UserError(f"{path} has no column {missing[0]!r}; its columns are: {', '.join(sorted(known))}")


@contextmanager
def _damage_in_one_line(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{str(path)!r} is no whole Parquet file ({' '.join(str(error).split())}); copy it again"
        ) from error


def label_ids(names: Sequence[str]) -> np.ndarray:
    """Label ids (int64 ``[N]``) of concept names."""
    ids = {name: concept_named(name).id for name in set(names)}
    return np.array([ids[name] for name in names], dtype=np.int64)


def decode_pictures(files: Sequence[bytes], mode: Literal["L", "RGB"]) -> np.ndarray:
    """Decode encoded pictures of one common size to uint8 ``[N, H, W]`` (``L``) or ``[N, H, W, 3]``.

    Raises:
        UserError: one of them is damaged, or of another size than the first.
    """
    if not files:
        return np.zeros((0, 0, 0) if mode == "L" else (0, 0, 0, 3), np.uint8)
    width, height = _decoded(files[0], 0, mode).size
    shape = (len(files), height, width) if mode == "L" else (len(files), height, width, 3)
    pictures = np.empty(shape, np.uint8)
    for row, file in enumerate(files):
        picture = _decoded(file, row, mode)
        if picture.size != (width, height):
            found = f"{picture.width} × {picture.height}"
            raise UserError(f"picture {row} of nano's data is {found} pixels; expected {width} × {height}")
        pictures[row] = np.asarray(picture)
    return pictures


def _decoded(file: bytes, row: int, mode: Literal["L", "RGB"]) -> Image.Image:
    try:
        with Image.open(io.BytesIO(file)) as picture:
            return picture.convert(mode)
    except (OSError, SyntaxError, ValueError, TypeError) as error:  # TypeError: no bytes at all
        raise UserError(f"picture {row} of nano's data is damaged ({error}); copy the file again") from None
