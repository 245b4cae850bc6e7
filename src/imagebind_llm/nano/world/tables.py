"""Reading the Parquet folders nano is trained on.

Layout: ``<root>/<dataset>/{train,test}.parquet``; image and audio columns are structs whose ``bytes`` field
is a whole encoded file, ``label`` is a concept's name. Nothing here ships with the package.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from imagebind_llm.errors import UserError
from imagebind_llm.nano.world.concepts import concept_named

Split = Literal["train", "test"]


def read_columns(
    root: str | Path, dataset: str, split: Split, columns: Sequence[str]
) -> dict[str, list[Any]]:
    """Read ``columns`` of one split of one dataset as Python lists (a struct column gives its ``bytes``).

    Raises:
        UserError: the file or one of its columns is missing.
    """
    import pyarrow.parquet as parquet

    path = Path(root) / dataset / f"{split}.parquet"
    if not path.is_file():
        raise UserError(f"no nano training data at {path}; give the root folder of {dataset}/{split}.parquet")
    known = set(parquet.read_schema(path).names)
    missing = [column for column in columns if column not in known]
    if missing:
        raise UserError(f"{path} has no column {missing[0]!r}; its columns are: {', '.join(sorted(known))}")
    table = parquet.read_table(path, columns=list(columns))
    read: dict[str, list[Any]] = {}
    for column in columns:
        chunks = table.column(column).combine_chunks()
        values = chunks.to_pylist()
        read[column] = [v["bytes"] if isinstance(v, dict) else v for v in values]
    return read


def label_ids(names: Sequence[str]) -> np.ndarray:
    """Label ids (int64 ``[N]``) of concept names."""
    ids = {name: concept_named(name).id for name in set(names)}
    return np.array([ids[name] for name in names], dtype=np.int64)


def decode_pictures(files: Sequence[bytes], mode: Literal["L", "RGB"]) -> np.ndarray:
    """Decode encoded pictures of one common size to uint8 ``[N, H, W]`` (``L``) or ``[N, H, W, 3]``."""
    if not files:
        return np.zeros((0, 0, 0) if mode == "L" else (0, 0, 0, 3), np.uint8)
    with Image.open(io.BytesIO(files[0])) as first:
        width, height = first.size
    shape = (len(files), height, width) if mode == "L" else (len(files), height, width, 3)
    pictures = np.empty(shape, np.uint8)
    for row, file in enumerate(files):
        with Image.open(io.BytesIO(file)) as picture:
            pictures[row] = np.asarray(picture.convert(mode))
    return pictures
