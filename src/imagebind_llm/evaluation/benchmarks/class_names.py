"""What classes are called, and the sentences around their names.

The published classifiers by text average many sentences a class: OpenAI's list for ImageNet has 80
(``notebooks/Prompt_Engineering_for_ImageNet.ipynb`` of ``openai/CLIP``). The lists here are short ones of our
own; a file of templates brings any other.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.evaluation.benchmarks.reading import text_lines

Names = Mapping[str, Sequence[str]]
"""Label, as the data have it → what the class is called. Of several names, the one that fits best counts."""

NAME_FILES = ("classes.txt", "LOC_synset_mapping.txt")

TEMPLATES: Mapping[str, Sequence[str]] = {
    "image": (
        "a photo of a {}.",
        "a photo of the {}.",
        "a close-up photo of a {}.",
        "a cropped photo of a {}.",
        "a bright photo of a {}.",
        "a blurry photo of a {}.",
        "a drawing of a {}.",
        "there is a {} in the picture.",
    ),
    "video": ("a video of a {}.", "a video of {}.", "a person is {}."),
    "audio": ("the sound of a {}.", "the sound of {}.", "a recording of a {}."),
    "point": ("a point cloud of a {}.", "a 3D model of a {}.", "a photo of a {}."),
    "depth": ("a depth photo of a {}.", "a depth map of a {}.", "a photo of a {}."),
    "thermal": ("a thermal photo of a {}.", "an infrared photo of a {}.", "a photo of a {}."),
    "imu": ("a person is {}.", "a video of {}."),
}
"""Modality → templates, each with one ``{}`` where the name goes."""

_PLAIN = ("a {}.", "{}")
"""For the sensors that an encoder brings."""
_WORDNET = re.compile(r"n\d{8}")
_TWICE = {"n02012849": "crane bird", "n03126707": "construction crane"}
"""Classes of ImageNet that WordNet gives one and the same name."""


def templates_of(modality: str, file: Path | None = None) -> Sequence[str]:
    """The templates in ``file``, one a line, or else those for ``modality``.

    Raises:
        UserError: the file cannot be read, or a line has not exactly one ``{}``.
    """
    if file is None:
        return TEMPLATES.get(modality, _PLAIN)
    templates = []
    for where, line in text_lines(file):
        if line.count("{}") != 1:
            raise UserError(f"{where} is {short(line)}; expected one {{}} where the class name goes")
        templates.append(line.strip())
    if not templates:
        raise UserError(f"{str(file)!r} is empty; write one template a line, such as: a photo of a {{}}.")
    return templates


def is_wordnet_id(label: str) -> bool:
    """Whether ``label`` is an id as ImageNet's folders have (``n01440764``), which no text encoder knows."""
    return bool(_WORDNET.fullmatch(label))


def spoken(label: str) -> str:
    """A label as words: ``night_stand`` → ``night stand``."""
    return " ".join(label.replace("_", " ").split())


def find_names(places: Sequence[Path]) -> Path | None:
    """The first file of names in these folders."""
    files = (place / name for place in places for name in NAME_FILES)
    return next((file for file in files if file.is_file()), None)


def read_names(file: Path) -> dict[str, tuple[str, ...]]:
    """The classes in a file: a label, a tab, and its name; several names are set apart by ``|``.

    Lines as ``n01440764 tench, Tinca tinca`` (``LOC_synset_mapping.txt``) are read too. Of such synonyms the
    first is taken; where two classes would then be called alike, one that no other class has.

    Raises:
        UserError: the file cannot be read, a line has no name, or a label stands twice.
    """
    found: dict[str, tuple[str, ...]] = {}
    synonyms: dict[str, list[str]] = {}
    for where, line in text_lines(file):
        tabs = "\t" in line
        label, _, rest = (part.strip() for part in line.strip().partition("\t" if tabs else " "))
        separator = "," if is_wordnet_id(label) and "|" not in rest else "|"
        names = [name.strip() for name in rest.split(separator) if name.strip()]
        if not names or not (tabs or is_wordnet_id(label)):
            raise UserError(f"{where} is {short(line)}; expected a label, a tab and the name of the class")
        if label in found:
            raise UserError(f"{where} has the label {label!r} again; give each class one line")
        found[label] = tuple(names)
        if separator == ",":
            synonyms[label] = names
    if not found:
        raise UserError(f"{str(file)!r} is empty; write one class a line: its label, a tab and its name")
    return {**found, **_apart(synonyms)}


def _apart(synonyms: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """One synonym a class, so that as few as possible are called alike (letters' case does not count)."""
    users: dict[str, int] = {}
    for names in synonyms.values():
        for name in {name.casefold() for name in names}:
            users[name] = users.get(name, 0) + 1
    firsts = [names[0].casefold() for names in synonyms.values()]
    chosen: dict[str, tuple[str, ...]] = {}
    for label, names in synonyms.items():
        name = names[0]
        if firsts.count(name.casefold()) > 1:
            own = (other for other in names if users[other.casefold()] == 1)
            name = next(own, _TWICE.get(label, name))
        chosen[label] = (name,)
    return chosen


def named(labels: Sequence[str], file: Path | None, where: str) -> dict[str, tuple[str, ...]]:
    """What the classes with these labels are called: as ``file`` says, or else by their labels.

    With a file the classes are all of the file, also those that have no example: leave out of it what is not
    to be chosen from.

    Raises:
        UserError: the file lacks a label, or the labels are WordNet ids and there is no file; fewer than two
            classes.
    """
    if file is not None:
        names = read_names(file)
        lacking = next((label for label in labels if label not in names), None)
        if lacking is not None:
            raise UserError(f"{str(file)!r} has no class {lacking!r}, which {where} has; add a line for it")
    else:
        unknown = next((label for label in labels if is_wordnet_id(label)), None)
        if unknown is not None:
            raise UserError(
                f"{where} has the class {unknown!r}, a WordNet id without a name; put LOC_synset_mapping.txt "
                "(of the ImageNet download) beside it, or give --classes FILE with a label, a tab and a name "
                "a line"
            )
        names = {label: (spoken(label),) for label in labels}
    if len(names) < 2:
        raise UserError(f"{where} has {len(names)} class; classification needs two or more")
    return names
