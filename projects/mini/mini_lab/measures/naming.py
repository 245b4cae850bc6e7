"""What an answer in words names, read against a vocabulary of names.

An answer is right when the thing that it names *first* is the right one: "It is a tench, a kind of cyprinid."
names a tench. What counts:

- whole words, in any case; plurals of a name's last word; the longest name that fits ("sports car" is no
car);
- of names that stand side by side the last one, which is the noun ("an orange cat" names a cat), also with a
  word of colour or size between them;
- the first sentence that names anything. If a word of denial comes before the name ("It is not a dog", "I am
  not sure. Perhaps a dog."), nothing is named.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_DENIALS = frozenset(("not", "no", "never", "nothing", "neither", "without", "cannot", "unsure", "unclear"))
_BETWEEN = frozenset(
    (
        *("black", "white", "brown", "red", "blue", "green", "yellow", "grey", "gray", "golden", "dark"),
        *("light", "small", "large", "big", "little", "young"),
    )
)
"""Words that may stand between a name and the noun that it goes with."""
_IRREGULAR = {
    "mouse": "mice", "goose": "geese", "ox": "oxen", "man": "men", "woman": "women", "child": "children",
    "foot": "feet", "tooth": "teeth", "calf": "calves", "wolf": "wolves", "leaf": "leaves", "knife": "knives",
    "loaf": "loaves", "shelf": "shelves", "scarf": "scarves", "fungus": "fungi", "cactus": "cacti",
}  # fmt: skip
_HISSES = ("s", "x", "z", "ch", "sh")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case; a hyphen parts them."""
    return _WORD.findall(text.lower().replace("’", "'"))


def plurals(word: str) -> tuple[str, ...]:
    """How a noun may end when there are several; a plural's singular too."""
    found = [f"{word}s"]
    if word in _IRREGULAR:
        found.append(_IRREGULAR[word])
    if word.endswith(_HISSES):
        found.append(f"{word}es")
    if word.endswith("o"):
        found.append(f"{word}es")
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        found.append(f"{word[:-1]}ies")
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        found.append(word[:-1])
    return tuple(found)


class Reader:
    """Finds what an answer names.

    Args:
        names: meaning → its names. One name may have several meanings ("crane").
    """

    def __init__(self, names: Mapping[str, Iterable[str]]) -> None:
        self._known: dict[tuple[str, ...], set[str]] = {}
        for meaning, own in names.items():
            for name in own:
                words = tuple(words_of(name))
                if not words:
                    continue
                for last in (words[-1], *plurals(words[-1])):
                    self._known.setdefault((*words[:-1], last), set()).add(meaning)
        self._longest = max(map(len, self._known), default=0)

    def named(self, answer: str) -> frozenset[str]:
        """The meanings of the name that decides; none if nothing is named."""
        for sentence in _SENTENCE.split(answer):
            words = words_of(sentence)
            found = list(self._matches(words))
            start, end, meanings = found[0] if found else (len(words), 0, set())
            if any(word in _DENIALS or word.endswith("n't") for word in words[:start]):
                return frozenset()
            if not found:
                continue
            for begin, until, others in found[1:]:
                if not all(word in _BETWEEN for word in words[end:begin]):
                    break
                end, meanings = until, others
            return frozenset(meanings)
        return frozenset()

    def _matches(self, words: Sequence[str]) -> Iterator[tuple[int, int, set[str]]]:
        """Names from left to right, the longest at each place: where each starts and ends, what it means."""
        at = 0
        while at < len(words):
            for length in range(min(self._longest, len(words) - at), 0, -1):
                meanings = self._known.get(tuple(words[at : at + length]))
                if meanings is not None:
                    yield at, at + length, meanings
                    at += length
                    break
            else:
                at += 1


TOO_GENERAL: Mapping[str, str] = {
    "n00002684": "object",
    "n00003553": "whole",
    "n00004258": "living thing",
    "n00004475": "organism",
    "n00015388": "animal",
    "n00017222": "plant",
    "n00019128": "natural object",
    "n00021939": "artifact",
    "n01471682": "vertebrate",
    "n01905661": "invertebrate",
    "n01861778": "mammal",
    "n01886756": "placental",
    "n01317541": "domestic animal",
    "n02075296": "carnivore",
    "n01767661": "arthropod",
    "n01661818": "diapsid",
    "n01873982": "metatherian",
    "n01871543": "prototherian",
    "n02370806": "ungulate",
    "n02394477": "even-toed ungulate",
    "n02373336": "odd-toed ungulate",
    "n03575240": "instrumentality",
    "n03183080": "device",
    "n04341686": "structure",
    "n03094503": "container",
    "n03563967": "implement",
    "n03294048": "equipment",
    "n03122748": "covering",
    "n04014297": "protective covering",
    "n03699975": "machine",
    "n03700963": "machine",
    "n03738472": "mechanism",
    "n03736970": "mechanical device",
    "n03574816": "instrument",
    "n04451818": "tool",
    "n02727825": "apparatus",
    "n04377057": "system",
    "n04524313": "vehicle",
    "n04576211": "wheeled vehicle",
    "n04170037": "self-propelled vehicle",
    "n03100490": "conveyance",
    "n03125870": "craft",
    "n04531098": "vessel",
    "n04530566": "vessel",
    "n03051540": "clothing",
    "n03419014": "garment",
    "n02756098": "attire",
    "n02728440": "apparel",
    "n03405265": "furnishing",
    "n04081844": "restraint",
    "n03839993": "obstruction",
    "n02796623": "barrier",
    "n03795580": "movable barrier",
    "n04359589": "support",
    "n04360501": "support",
    "n04361095": "supporting structure",
    "n03391770": "framework",
    "n02755352": "attachment",
    "n03664943": "ligament",
    "n02735688": "area",
    "n03932203": "piece",
    "n02729837": "appliance",
    "n03278248": "electronic equipment",
    "n03277771": "electronic device",
    "n04550840": "ware",
    "n07705711": "produce",
    "n00021265": "food",
    "n07566340": "foodstuff",
    "n07570720": "nutriment",
    "n07560652": "fare",
    "n07882497": "concoction",
    "n00033020": "communication",
    "n06793231": "sign",
    "n06873571": "visual signal",
    "n04217718": "signaling device",
    "n03178782": "design",
    "n03282591": "emblem",
    "n04060904": "receptacle",
    "n09287968": "geological formation",
    "n09366317": "natural elevation",
    "n09366017": "natural depression",
    "n08578706": "geographic point",
    "n11675842": "reproductive structure",
    "n15074962": "tissue",
    "n10401829": "participant",
    "n03733644": "measure",
    "n03171356": "defensive structure",
    "n09214581": "barrier",
}
"""Synsets of WordNet 3.0, with their first name, that are above so many things that naming one says
nothing."""


@dataclass(frozen=True)
class ImageNetClass:
    """One class.

    Attributes:
        index: 0 … 999.
        wnid: of its synset.
        names: the most usual first.
        above: wnid → names of the synsets one or two steps above that are not too general.
    """

    index: int
    wnid: str
    names: tuple[str, ...]
    above: Mapping[str, tuple[str, ...]]


def read_classes(folder: Path) -> list[ImageNetClass]:
    """The classes of ``imagebind-llm data fetch imagenet-words``, by index.

    Raises:
        UserError: they are not there, or the file is another one.
    """
    file = folder / "classes.jsonl"
    if not file.is_file():
        raise UserError(
            f"there is no {str(file)!r}; fetch it: imagebind-llm data fetch imagenet-words --out {folder}"
        )
    try:
        found = [_class(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{str(file)!r} is no list of classes ({error!r}); fetch it again") from None
    if [one.index for one in found] != list(range(len(found))) or not found:
        raise UserError(f"{str(file)!r} holds other classes than 0 to {len(found) - 1}; fetch it again")
    return found


def _class(values: Mapping[str, Any]) -> ImageNetClass:
    above = {
        str(one["wnid"]): tuple(map(str, one["names"]))
        for one in values["more_general"]
        if one["wnid"] not in TOO_GENERAL
    }
    return ImageNetClass(int(values["index"]), str(values["wnid"]), tuple(map(str, values["names"])), above)


def names_of(classes: Sequence[ImageNetClass]) -> dict[str, set[str]]:
    """wnid → names, of all classes and of what is above them: the vocabulary of :class:`Reader`."""
    found: dict[str, set[str]] = {}
    for one in classes:
        found.setdefault(one.wnid, set()).update(one.names)
        for wnid, names in one.above.items():
            found.setdefault(wnid, set()).update(names)
    return found
