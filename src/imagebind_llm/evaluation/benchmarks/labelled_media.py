"""Single media with the class that each belongs to, read from the layouts in which they are published."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError, one_line, short
from imagebind_llm.common.files import printable_name
from imagebind_llm.common.walk import is_visible, visible_files
from imagebind_llm.evaluation.benchmarks.finding import Media, cell_source
from imagebind_llm.evaluation.benchmarks.reading import csv_rows, read, table_rows, text_lines

_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif")
_ARRAYS = (".npy", ".npz")
SUFFIXES: Mapping[str, Sequence[str]] = {
    "image": _PICTURES,
    "video": (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif", ".mpg", ".mpeg", ".ts", ".flv"),
    "audio": (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff", ".wma"),
    "point": (*_ARRAYS, ".off", ".ply", ".obj", ".stl", ".pcd", ".xyz", ".pts", ".glb", ".txt"),
    "depth": (".png", ".tif", ".tiff", *_ARRAYS),
    "thermal": (*_PICTURES, *_ARRAYS),
    "imu": (".csv", *_ARRAYS),
}
"""Modality → what its files are called. Files of a sensor that an encoder brings may have any suffix."""


_SPLITS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation", "dev"})


@dataclass(frozen=True)
class Example:
    """A medium and its class.

    Attributes:
        key: tells it from the others, from run to run.
        source: a path, the bytes of a file, or an array.
        label: its class, as the data have it.
        group: results are given by group too.
        unit: examples of one unit are not independent (excerpts of one recording); empty: it stands alone.
    """

    key: str
    source: Any
    label: str
    group: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Labelled:
    """Examples, and where class names may lie beside them.

    Attributes:
        examples: in a fixed order.
        places: folders that may hold a file of class names.
        labels: all classes, in order; those of the examples, unless the data list more.
        numbered: the labels are numbers, which only a file of names explains.
    """

    examples: Sequence[Example]
    places: Sequence[Path]
    labels: Sequence[str]
    numbered: bool = False


def read_folders(root: Path, modality: str, units: bool = False) -> Labelled:
    """A folder for each class, with its files somewhere below it.

    Args:
        root: the folder of folders.
        modality: what the files are.
        units: file names are ``RECORDING_START.…``; excerpts of one recording are no independent examples.

    Raises:
        UserError: there is no such folder, there are no class folders, a class has no file, or a file has a
            suffix that this modality does not have.
    """
    examples = []
    labels = class_folders(root)
    for label in labels:
        files = media_files(root / label, modality)
        for file in files:
            key = printable_name(file.relative_to(root).as_posix())
            recording = file.stem.rpartition("_")[0] if units else ""
            examples.append(Example(key, str(file), label, unit=recording))
    return Labelled(examples, (root, root.parent), labels)


def class_folders(root: Path) -> list[str]:
    """The names of the folders in ``root``, sorted.

    Raises:
        UserError: no such folder, or none in it.
    """
    labels = sorted(place.name for place in _entries(root) if place.is_dir())
    if not labels:
        raise UserError(
            f"{str(root)!r} has no folders; expected one for each class, with its files in it "
            "(for example cat/1.jpg, dog/2.jpg)"
        )
    if set(labels) <= _SPLITS:
        raise UserError(
            f"{str(root)!r} holds {', '.join(labels)} and no classes; give one of these folders with --data"
        )
    wrong = next((label for label in labels if printable_name(label) != label), None)
    if wrong is not None:
        raise UserError(
            f"{str(root)!r} has a folder {printable_name(wrong)!r}, not named in UTF-8; rename it"
        )
    return labels


def media_files(folder: Path, modality: str) -> list[Path]:
    """The files of a class.

    Raises:
        UserError: there are none, or one is called as no file of this modality is.
    """
    files = list(visible_files(folder))
    if not files:
        raise UserError(f"{str(folder)!r} has no files; add some, or remove the folder of this class")
    suffixes = SUFFIXES.get(modality)
    if suffixes is not None:
        other = next((file for file in files if file.suffix.lower() not in suffixes), None)
        if other is not None:
            raise UserError(
                f"{str(other)!r} is not called as a file of {modality} is ({', '.join(suffixes)}); give "
                "the right modality, or move it elsewhere"
            )
    return files


def below(root: Path, *names: str) -> Path:
    """The folder of the first of these names in ``root`` that is there, or else ``root`` itself."""
    return next((root / name for name in names if name and (root / name).is_dir()), root)


def read_esc50(root: Path, fold: int) -> Labelled:
    """ESC-50 as published: ``meta/esc50.csv`` and ``audio/``.

    Clips of one Freesound recording (``src_file``) are one unit.

    Args:
        root: the folder ``ESC-50-master``.
        fold: 1 … 5; 0: all.

    Raises:
        UserError: the table or a clip is missing, or the table has other columns.
    """
    table, media = root / "meta" / "esc50.csv", Media(root, "audio")
    examples, labels = [], set()
    for row in csv_rows(table, ("filename", "fold", "category", "src_file")):
        name, label, part = row.text("filename"), row.text("category"), row.text("fold")
        labels.add(label)
        if fold and part != str(fold):
            continue
        path = media.path(row.where, name)
        examples.append(Example(name, path, label, f"fold {part}", row.text("src_file")))
    if not examples:
        raise UserError(f"{str(table)!r} has no clips of fold {fold}; folds are 1 to 5, and 0 means all")
    return Labelled(examples, (root,), sorted(labels))


def read_modelnet(root: Path, split: str) -> Labelled:
    """ModelNet: ``CLASS/test/*.off``, or the resampled clouds ``CLASS/CLASS_0001.txt`` with lists of splits.

    Args:
        root: ``ModelNet40`` or ``modelnet40_normal_resampled``.
        split: ``test`` or ``train``.

    Raises:
        UserError: neither layout, or a listed file is missing.
    """
    lists = sorted(root.glob(f"modelnet*_{split}.txt")) if root.is_dir() else []
    if len(lists) > 1:  # the resampled archive lists its 10-class part beside the 40 classes
        lists = [file for file in lists if file.name == f"modelnet40_{split}.txt"]
    if lists:
        return _modelnet_listed(root, lists[0])
    examples, labels = [], class_folders(root)
    for label in labels:
        place = root / label / split
        if not place.is_dir():
            raise UserError(
                f"{str(root / label)!r} has no folder {split!r}, and {str(root)!r} no list "
                f"modelnet40_{split}.txt; expected CLASS/{split}/*.off as ModelNet40.zip has it"
            )
        for file in media_files(place, "point"):
            examples.append(Example(file.relative_to(root).as_posix(), str(file), label))
    return Labelled(examples, (root,), labels)


def _modelnet_listed(root: Path, table: Path) -> Labelled:
    examples, media = [], Media(root)
    for where, line in text_lines(table):
        name = line.strip()
        label, _, count = name.rpartition("_")
        if not label or not count.isdigit():
            raise UserError(f"{where} is {short(name)}; expected a shape as chair_0001")
        names = (f"{label}/{name}{suffix}" for suffix in (".txt", ".npy", ".off", ".ply"))
        examples.append(Example(name, media.path(where, *names), label))
    return Labelled(examples, (root,), sorted({example.label for example in examples}))


PERSON, BACKGROUND = "person", "background"
_TRIES = 100


def read_llvip(root: Path, split: str) -> Labelled:
    """Crops of persons and of background from LLVIP's infrared pictures.

    A crop for each box in the annotations, and for each of these a box of the same size at a random place
    (the same on every run) where it meets no person; a picture too full for that gives fewer. Crops are kept
    in memory as PNG, about 20 kB each.

    Args:
        root: the folder with ``infrared/`` and ``Annotations/``.
        split: ``test`` or ``train``.

    Raises:
        UserError: a folder, picture or annotation is missing or damaged.
    """
    folder = root / "infrared" / split
    pictures = [file for file in _entries(folder) if file.suffix.lower() in _PICTURES]
    if not pictures:
        raise UserError(f"{str(folder)!r} has no pictures; expected LLVIP's infrared/{split}/*.jpg")
    examples: list[Example] = []
    for picture in pictures:
        boxes = voc_boxes(root / "Annotations" / f"{picture.stem}.xml", PERSON)
        image = _grey(picture)
        persons = [_within(box, image.size, picture) for box in boxes]
        for number, box in enumerate(persons):
            examples.append(_crop(image, picture, box, PERSON, number))
        for number, box in enumerate(empty_boxes(persons, image.size, zlib.crc32(picture.stem.encode()))):
            examples.append(_crop(image, picture, box, BACKGROUND, number))
    return Labelled(examples, (root,), (PERSON, BACKGROUND))


Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are outside."""


def empty_boxes(taken: Sequence[Box], size: tuple[int, int], seed: int) -> Iterator[Box]:
    """For each box one of its size at a random place where it meets none of them, if one is found.

    Args:
        taken: boxes that must not be met.
        size: width and height of the picture.
        seed: of the places.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    for left, top, right, bottom in taken:
        width, height = right - left, bottom - top
        for _ in range(_TRIES):
            x = int(rng.integers(size[0] - width + 1))
            y = int(rng.integers(size[1] - height + 1))
            place = (x, y, x + width, y + height)
            if not any(_meet(place, other) for other in taken):
                yield place
                break


def _meet(one: Box, other: Box) -> bool:
    across = one[0] < other[2] and other[0] < one[2]
    return across and one[1] < other[3] and other[1] < one[3]


def voc_boxes(file: Path, kind: str) -> list[Box]:
    """The boxes in annotations as Pascal VOC writes them.

    Args:
        file: an XML file.
        kind: what every object in it must be called.

    Raises:
        UserError: it is missing, no such XML, or has an object of another name.
    """
    from xml.etree import ElementTree

    text = read(file)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # what lets a small file grow without bound
        raise UserError(
            f"{str(file)!r} declares a document type; expected plain annotations, so get it again"
        )
    try:
        tree = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UserError(f"{str(file)!r} is damaged XML ({one_line(str(error))}); get it again") from None
    boxes = []
    for number, entry in enumerate(tree.iter("object"), 1):
        name = (entry.findtext("name") or "").strip()
        if name != kind:
            raise UserError(f"{str(file)!r}: object {number} is called {short(name)}; expected {kind!r}")
        try:
            corners = [
                round(float(entry.findtext(f"bndbox/{c}") or "")) for c in ("xmin", "ymin", "xmax", "ymax")
            ]
        except (ValueError, OverflowError):
            raise UserError(
                f"{str(file)!r}: object {number} has no box of numbers (bndbox with xmin, ymin, xmax, ymax)"
            ) from None
        boxes.append((corners[0], corners[1], corners[2], corners[3]))
    return boxes


def _within(box: Box, size: tuple[int, int], picture: Path) -> Box:
    left, top, right, bottom = box
    cut = (max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1]))
    if cut[0] >= cut[2] or cut[1] >= cut[3]:
        raise UserError(
            f"{str(picture)!r} has {size[0]}x{size[1]} pixels, but its annotations a box {box}; they do not "
            "belong together"
        )
    return cut


def _grey(picture: Path) -> Any:
    from PIL import Image

    try:
        with Image.open(picture) as image:
            return image.convert("L")
    except Exception as error:  # whatever a damaged picture makes a decoder raise
        raise UserError(
            f"{str(picture)!r} is no readable picture ({one_line(str(error))}); get it again"
        ) from None


def _crop(image: Any, picture: Path, box: Box, label: str, number: int) -> Example:
    stream = io.BytesIO()
    image.crop(box).save(stream, "PNG")
    return Example(f"{picture.stem}:{label}:{number}", stream.getvalue(), label, unit=picture.stem)


_COLUMNS: Mapping[str, Sequence[str]] = {"point": ("point", "points")}
"""Modality → what its column of a Parquet file may be called; else as the modality."""


def read_table(path: Path, modality: str, column: str | None, label: str, split: str) -> Labelled:
    """A table with a medium and a label in each row: Parquet, CSV, TSV or JSON lines.

    Media are paths beside the file; in Parquet also bytes, or ``{bytes, path}`` as Hugging Face writes them.
    Points may also be plain numbers of 16 or 32 bits, three a point, if ``num_points`` says how many there
    are. A column ``group``, if any, says which rows are not independent. All media in a table are held in
    memory.

    Args:
        path: the file, or a folder with ``SPLIT.parquet``.
        modality: what the media are.
        column: where they are; None: the column called as the modality.
        label: column of the class, words or whole numbers.
        split: name of the file in a folder.

    Raises:
        UserError: no such file or column, a row without a medium or label, or a path to nothing.
    """
    file = path / f"{split}.parquet" if path.is_dir() else path
    known = (column,) if column else _COLUMNS.get(modality, (modality,))
    rows = table_rows(file)
    names = list(rows[0].values)
    chosen = next((name for name in known if name in names), None)
    missing = known[0] if chosen is None else label
    if chosen is None or label not in names:
        raise UserError(
            f"{str(file)!r} has no column {missing!r}, only {', '.join(names)}; give --column or --label"
        )
    examples = []
    numbered = True
    for row in rows:
        values, where = row.values, row.where
        said = values.get(label)
        if isinstance(said, bool) or not isinstance(said, str | int) or said == "":
            raise UserError(f"{where} has the label {short(said)}; expected a word or a whole number")
        numbered = numbered and isinstance(said, int)
        source = cell_source(values.get(chosen), file.parent, where)
        if modality == "point" and values.get("num_points") is not None:
            source = _points(source, values["num_points"], where)
        unit = str(values["group"]) if values.get("group") is not None else ""
        examples.append(Example(where.removeprefix(f"{str(file)!r}: "), source, str(said), unit=unit))
    labels = sorted({example.label for example in examples})
    return Labelled(examples, (), labels, numbered)


def _points(data: Any, count: Any, where: str) -> Any:
    """Plain little-endian numbers as an array ``[count, 3]``; a whole file as it is."""
    import numpy as np

    if not isinstance(data, bytes) or not isinstance(count, int) or count < 1:
        return data
    kinds = {6 * count: "<f2", 12 * count: "<f4"}
    if len(data) not in kinds:
        raise UserError(
            f"{where} has {len(data)} bytes for {count} points; expected {' or '.join(map(str, kinds))}"
        )
    return np.frombuffer(data, kinds[len(data)]).reshape(count, 3).astype(np.float32)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(place for place in folder.iterdir() if is_visible(place.name))
    except OSError as error:
        raise UserError(
            f"cannot read the folder {str(folder)!r} ({error.strerror}); check what you gave with --data"
        ) from None
