"""Arrays of a sensor paired with images, on disk.

Three layouts are read:

* a folder with ``train/`` and perhaps ``test/``, each with ``NAME.npy`` (or ``.npz``) beside ``NAME.png`` (or
  another image); sub-folders are labels, as in ``train/LABEL/NAME.npy``;
* a folder that holds such files itself;
* a manifest ``.csv``, ``.tsv`` or ``.jsonl`` with the columns ``array`` and ``image`` (paths beside the
  manifest) and perhaps ``label`` and ``split`` (``train`` or ``test``).

Without a test split every tenth pair is held out.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.text_files import NotUtf8, read_text
from imagebind_llm.common.walk import visible_files
from imagebind_llm.data.sources.cells import comma_rows, tab_cells

ARRAYS = (".npy", ".npz")
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_HELD_OUT = 10


@dataclass(frozen=True)
class Pair:
    """One array, the image taken of the same thing, and what it shows if that is known."""

    array: Path
    image: Path
    label: str | None = None


@dataclass(frozen=True)
class PairSets:
    """Pairs to learn from and pairs held out; ``labels`` are all names of labels, empty without any."""

    train: list[Pair]
    test: list[Pair]
    labels: tuple[str, ...]

    def ids(self, pairs: Sequence[Pair]) -> np.ndarray:
        """int64 label numbers; without labels each pair is its own (its place in ``pairs``)."""
        if not self.labels:
            return np.arange(len(pairs), dtype=np.int64)
        numbers = {label: number for number, label in enumerate(self.labels)}
        return np.array([numbers[str(pair.label)] for pair in pairs], dtype=np.int64)


def read_pairs(root: Path) -> PairSets:
    """All pairs of a folder or manifest, in the order of their names.

    Raises:
        UserError: nothing there, an array without image, or labels on some pairs only.
    """
    if root.is_file():
        rows = list(_manifest(root))
        train = [pair for pair, split in rows if split == "train"]
        test = [pair for pair, split in rows if split == "test"]
    elif root.is_dir():
        inner = root / "train"
        train = _folder(inner if inner.is_dir() else root)
        test = _folder(root / "test") if inner.is_dir() and (root / "test").is_dir() else []
    else:
        raise UserError(f"there is no {str(root)!r}; give a folder of pairs or a manifest .csv, .tsv, .jsonl")
    if not test:
        test = train[_HELD_OUT - 1 :: _HELD_OUT]
        del train[_HELD_OUT - 1 :: _HELD_OUT]
    if not train or not test:
        raise UserError(
            f"{root} holds {len(train)} pairs to train on and {len(test)} to test with; expected some of both"
        )
    found = {pair.label for pair in [*train, *test]}
    if None in found and len(found) > 1:
        raise UserError(f"{root}: some pairs have a label and some have none; label all or none")
    return PairSets(train, test, tuple(sorted(label for label in found if label is not None)))


def _folder(folder: Path) -> list[Pair]:
    images = {path.with_suffix(""): path for path in visible_files(folder) if path.suffix.lower() in IMAGES}
    pairs, alone = [], []
    for array in sorted(path for path in visible_files(folder) if path.suffix.lower() in ARRAYS):
        image = images.get(array.with_suffix(""))
        if image is None:
            alone.append(array)
            continue
        inside = array.relative_to(folder).parent
        pairs.append(Pair(array, image, inside.as_posix() if inside.parts else None))
    if alone:
        raise UserError(
            f"{len(alone)} arrays in {folder} have no image of the same name (the first is {alone[0].name}); "
            f"put one beside each, for example {alone[0].stem}.png"
        )
    return pairs


def _manifest(path: Path) -> Iterator[tuple[Pair, str]]:
    for number, row in enumerate(table_rows(path), start=1):
        where = f"{path.name}, row {number}"
        array, image = row.get("array"), row.get("image")
        if not array or not image:
            raise UserError(f"{where} has {sorted(row)}; expected the columns array and image")
        split = row.get("split") or "train"
        if split not in ("train", "test"):
            raise UserError(f"{where}: split is {split!r}; expected train or test")
        label = row.get("label")
        known = None if label in (None, "") else str(label)
        yield Pair(path.parent / str(array), path.parent / str(image), known), split


def table_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a ``.csv``, ``.tsv`` or ``.jsonl`` file by the names of its columns.

    Raises:
        UserError: another kind of file, or rows that cannot be read.
    """
    kind = path.suffix.lower()
    if kind not in (".csv", ".tsv", ".jsonl"):
        raise UserError(f"the manifest {path.name!r} ends in {kind!r}; expected .csv, .tsv or .jsonl")
    try:
        if kind != ".jsonl":
            yield from _table(path, kind)
            return
        for number, line in enumerate(read_text(path).split("\n"), start=1):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise UserError(f"{path.name}, line {number} is not an object; expected array and image")
                yield row
    except NotUtf8 as error:
        raise UserError(f"{path.name} {error}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path.name}, line {number} is not JSON: {error}") from None


def _table(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    """The rows by the names in the first line."""
    text = read_text(path)
    names: list[str] = []
    number = 0
    try:
        rows = comma_rows(text) if kind == ".csv" else map(tab_cells, text.split("\n"))
        for number, cells in enumerate(rows, start=1):
            if not any(cell.strip() for cell in cells):
                continue
            if not names:
                names = [cell.strip() for cell in cells]
                continue
            if len(cells) != len(names):
                raise UserError(
                    f"{path.name}, row {number} has {len(cells)} columns; expected {len(names)} as its header"
                )
            yield dict(zip(names, cells, strict=True))
    except ValueError as error:
        raise UserError(f"{path.name}, after row {number}: {error}; mend it") from None
