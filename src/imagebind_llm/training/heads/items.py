"""What is looked at once: pairs of media, or single media of known class, each read by its number."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from imagebind_llm.common.errors import BadSample, UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.walk import visible_files
from imagebind_llm.data.embed.store import MANIFEST
from imagebind_llm.data.pairs import table_rows
from imagebind_llm.data.records import CaptionReader
from imagebind_llm.data.sources.base import Source, SourceSettings, digest, read_sample
from imagebind_llm.data.sources.embedded import EmbeddedSource
from imagebind_llm.media.base import Limits, MediaReader
from imagebind_llm.media.reading import load_medium
from imagebind_llm.model.messages import read_messages
from imagebind_llm.training.heads.recipe import PairSettings

_HELD_OUT = 10


@dataclass(frozen=True)
class Items:
    """Items that can be read by number.

    Attributes:
        modalities: of the media that each item has.
        count: how many items.
        read: of an item its media and its label; raises :class:`BadSample`.
        identity: changes when the items do.
    """

    modalities: tuple[Modality, ...]
    count: int
    read: Callable[[int], tuple[tuple[Tensor, ...], str]]
    identity: str
    embedded: tuple[Modality, ...] = ()
    """Modalities whose media were embedded before by the encoder: unit rows ``[D]``."""


def captioned(source: Source, media: MediaReader, dim: int) -> Items:
    """The pairs of a source of pictures with captions; the caption is the label."""
    reader, limits = CaptionReader(media, dim), Limits()
    before = isinstance(source, EmbeddedSource)

    def read(number: int) -> tuple[tuple[Tensor, ...], str]:
        record = read_sample(source, number).load(limits)
        try:
            pair = reader.read(record)
        except UserError as error:
            raise BadSample(record.key, str(error)) from error
        # equal tokens are equal captions for the text tower
        return (pair.picture, pair.caption), hashlib.sha256(pair.caption.numpy().tobytes()).hexdigest()

    embedded = (Modality.IMAGE,) if before else ()
    return Items((Modality.IMAGE, Modality.TEXT), len(source), read, source.fingerprint, embedded)


def table_items(settings: PairSettings, media: MediaReader) -> tuple[Items, Items]:
    """The pairs of a table: those to learn from, and those held out (every tenth without a column ``split``).

    Raises:
        UserError: there is no such table, a column is missing, or nothing is left to learn from.
    """
    path = Path(str(settings.table)).expanduser()
    if not path.is_file():
        raise UserError(f"there is no table {str(path)!r}; give a .csv, .tsv or .jsonl file")
    first, second = settings.modalities
    split: dict[str, list[tuple[str, str, str]]] = {"train": [], "test": []}
    for number, row in enumerate(table_rows(path), start=1):
        where = f"{path.name}, row {number}"
        if not row.get(first) or not row.get(second):
            raise UserError(f"{where} has {sorted(map(str, row))}; expected the columns {first} and {second}")
        texts = [str(row[name]) for name in settings.modalities if name == "text"]
        label = str(row.get("label") or (texts[0] if texts else f"row {number}"))
        split[_split_of(row.get("split"), where)].append((str(row[first]), str(row[second]), label))
    _hold_out(split)
    _require_both(split, path)
    found = [_table_part(rows, settings, path.parent, media) for rows in split.values()]
    return found[0], found[1]


def _table_part(
    rows: Sequence[tuple[str, str, str]], settings: PairSettings, folder: Path, media: MediaReader
) -> Items:
    modalities = tuple(Modality.parse(name) for name in settings.modalities)

    def read(number: int) -> tuple[tuple[Tensor, ...], str]:
        *sides, label = rows[number]
        return tuple(
            _opened(media, kind, side, folder) for kind, side in zip(modalities, sides, strict=True)
        ), label

    files = [
        folder / side
        for row in rows
        for kind, side in zip(modalities, row[:2], strict=True)
        if kind is not Modality.TEXT
    ]
    return Items(modalities, len(rows), read, digest(settings.modalities, rows, _facts(files)))


def class_items(
    settings: PairSettings, media: MediaReader
) -> tuple[tuple[Items, Items], tuple[Items, Items]]:
    """The media of each side that have a class of both sides: to learn from, and held out.

    Embeddings are all of them both, whatever their class: the others are brought to where they are.

    Raises:
        UserError: there is no such folder, it holds nothing, or the sides have no class in common.
    """
    assert settings.folders is not None, "the recipe has checked it"
    if is_embedded(settings.folders[0]):
        raise UserError(
            f"{settings.label}: {settings.folders[0]!r} holds embeddings; name it second, after the media "
            "that learn"
        )
    if is_embedded(settings.folders[1]):
        targets = _embedded_items(settings)
        known = {targets.read(number)[1] for number in range(targets.count)}
        side = _labelled(Path(settings.folders[0]).expanduser())
        _require_common(settings, {label for _, label in side["train"]}, known)
        kind = Modality.parse(settings.modalities[0])
        train, test = (
            _class_part([one for one in side[split] if one[1] in known], kind, media)
            for split in ("train", "test")
        )
        return (train, test), (targets, targets)
    sides = [_labelled(Path(place).expanduser()) for place in settings.folders]
    labels = [{label for _, label in side["train"]} for side in sides]
    common = _require_common(settings, labels[0], labels[1])
    made = []
    for name, side in zip(settings.modalities, sides, strict=True):
        kind = Modality.parse(name)
        parts = [
            _class_part([one for one in side[split] if one[1] in common], kind, media)
            for split in ("train", "test")
        ]
        made.append((parts[0], parts[1]))
    return made[0], made[1]


def _require_common(settings: PairSettings, first: set[str], second: set[str]) -> set[str]:
    if not first & second:
        shown = [", ".join(sorted(labels)[:3]) for labels in (first, second)]
        raise UserError(
            f"{settings.label}: no label is in both folders ({shown[0]}, …; {shown[1]}, …); name the "
            "sub-folders alike"
        )
    return first & second


def is_embedded(place: str) -> bool:
    """Whether ``data embed`` wrote the folder."""
    return (Path(place).expanduser() / MANIFEST).is_file()


def _embedded_items(settings: PairSettings) -> Items:
    """Embeddings with what is said of them for labels."""
    assert settings.folders is not None, "the recipe has checked it"
    kind = Modality.parse(settings.modalities[1])
    source = EmbeddedSource(SourceSettings("embedded", settings.folders[1]), None)

    def read(number: int) -> tuple[tuple[Tensor, ...], str]:
        record = source.read(number)
        turns = read_messages(record.messages)
        found = [item for turn in turns for item in turn.media]
        label = next((turn.text.strip() for turn in turns if turn.role == "assistant"), "")
        if len(found) != 1 or found[0].modality is not kind or not label:
            raise UserError(f"{settings.folders}: {record.key} has not exactly one {kind.value} and a label")
        return (torch.from_numpy(found[0].source.vector).float(),), label

    return Items((kind,), len(source), read, source.fingerprint, (kind,))


def _class_part(files: Sequence[tuple[Path, str]], kind: Modality, media: MediaReader) -> Items:
    def read(number: int) -> tuple[tuple[Tensor, ...], str]:
        file, label = files[number]
        return (_opened(media, kind, str(file), Path()),), label

    facts = _facts([file for file, _ in files])
    return Items((kind,), len(files), read, digest(kind.value, [label for _, label in files], facts))


def _labelled(place: Path) -> dict[str, list[tuple[Path, str]]]:
    """Files with their labels, by split."""
    split: dict[str, list[tuple[Path, str]]] = {"train": [], "test": []}
    if place.is_file():
        for number, row in enumerate(table_rows(place), start=1):
            where = f"{place.name}, row {number}"
            if not row.get("file") or not row.get("label"):
                raise UserError(f"{where} has {sorted(map(str, row))}; expected the columns file and label")
            part = _split_of(row.get("split"), where)
            split[part].append((place.parent / str(row["file"]), str(row["label"])))
    elif place.is_dir():
        inner = place / "train"
        for part, folder in (("train", inner if inner.is_dir() else place), ("test", place / "test")):
            if part == "test" and not (inner.is_dir() and folder.is_dir()):
                continue
            for file in visible_files(folder):
                inside = file.relative_to(folder).parent
                if inside.parts:
                    split[part].append((file, inside.as_posix()))
    else:
        raise UserError(
            f"there is no {str(place)!r}; give a folder with a sub-folder for each label, or a table"
        )
    split["train"].sort(key=lambda one: one[1])  # so that every tenth takes some of each label
    _hold_out(split)
    _require_both(split, place)
    return split


def _hold_out(split: dict[str, list]) -> None:
    """Without a test split every tenth is held out."""
    if not split["test"]:
        split["test"] = split["train"][_HELD_OUT - 1 :: _HELD_OUT]
        del split["train"][_HELD_OUT - 1 :: _HELD_OUT]


def _require_both(split: dict[str, list], place: Path) -> None:
    if not split["train"] or not split["test"]:
        raise UserError(
            f"{place} holds {len(split['train'])} items to train on and {len(split['test'])} to test with; "
            "expected some of both (at least ten, or a split)"
        )


def _split_of(value: object, where: str) -> str:
    split = str(value or "train")
    if split not in ("train", "test"):
        raise UserError(f"{where}: split is {split!r}; expected train or test")
    return split


def _opened(media: MediaReader, kind: Modality, side: str, folder: Path) -> Tensor:
    source = side if kind is Modality.TEXT else str(folder / side)
    try:
        return load_medium(media, kind, source)
    except UserError as error:
        raise BadSample(side, str(error)) from error


def _facts(files: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Name, size and time of files."""
    found = []
    for file in files:
        stat = file.stat() if file.is_file() else None
        found.append((file.name, stat.st_size if stat else 0, stat.st_mtime_ns if stat else 0))
    return found
