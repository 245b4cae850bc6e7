"""ImageNet's 1,000 classes with WordNet's words: names, meaning, and what is one or two steps more general.

A class is called by its place in WordNet 3.0's ``data.noun``: ``n01440764`` lies at byte 1440764. A line
there (wndb(5WN)) has the place, a file number, the part of speech, the number of words in hexadecimal, each
word with a number, the number of pointers, each pointer with symbol, place, part of speech and which words.
The meaning comes after a bar.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebind_llm.common.errors import UserError
from imagebind_llm.data.fetch.tables import write_lines

CLASSES = "classes.jsonl"
STEPS = 2
"""Up to so many steps more general."""
_EXAMPLES = re.compile(r';\s*".*$')


@dataclass(frozen=True)
class Synset:
    """A meaning: its words, the most usual first; the definition; and the places of more general ones."""

    names: tuple[str, ...]
    gloss: str
    above: tuple[int, ...]


def write(unpacked: Path, out: Path) -> dict[str, int]:
    """See :attr:`imagebind_llm.data.fetch.catalogue.DataSet.writer`."""
    synsets = dict(read_synsets(next(iter(unpacked.rglob("data.noun")))))
    names = next(iter(unpacked.rglob("imagenet_synsets.txt"))).read_text(encoding="ascii").split()
    rows = []
    for index, name in enumerate(names):
        synset = synsets.get(int(name[1:])) if re.fullmatch(r"n\d{8}", name) else None
        if synset is None:
            raise UserError(f"WordNet's data.noun has no {name!r}; the packages do not fit together")
        above = [
            {"wnid": f"n{place:08d}", "steps": steps, "names": list(synsets[place].names)}
            for place, steps in more_general(synset, synsets).items()
        ]
        rows.append(
            {
                "index": index,
                "wnid": name,
                "names": list(synset.names),
                "gloss": synset.gloss,
                "more_general": above,
            }
        )
    write_lines(out / CLASSES, rows)
    return {"classes": len(rows)}


def read_synsets(file: Path) -> Iterator[tuple[int, Synset]]:
    """Every noun of ``data.noun`` with its place.

    Raises:
        UserError: a line is none of WordNet's.
    """
    with file.open(encoding="latin-1") as lines:
        for line in lines:
            if line.startswith("  "):  # the licence
                continue
            facts, _, gloss = line.partition("|")
            fields = facts.split()
            try:
                count = int(fields[3], 16)
                words = tuple(word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2])
                pointers = fields[5 + 2 * count :]
                above = tuple(
                    int(pointers[at + 1]) for at in range(0, len(pointers), 4) if pointers[at] in ("@", "@i")
                )
                yield int(fields[0]), Synset(words, _EXAMPLES.sub("", gloss.strip()), above)
            except (ValueError, IndexError):
                raise UserError(
                    f"{file.name!r} holds a line that is none of WordNet's: {line[:40]!r}"
                ) from None


def more_general(synset: Synset, synsets: Mapping[int, Synset]) -> dict[int, int]:
    """Places of more general synsets → steps, nearest first."""
    found: dict[int, int] = {}
    level = synset.above
    for steps in range(1, STEPS + 1):
        new = [place for place in level if place not in found]
        found.update(dict.fromkeys(new, steps))
        level = tuple(above for place in new for above in synsets[place].above)
    return found
