"""Photographs from Flickr8k: of things nano does not know, for training to say so, and of those it knows.

CIFAR-10's copies are JPEG files of 32 x 32 pixels, whose blocks show. A tower that meets other things without
such blocks learns to doubt whatever has none, which is every photograph of a user. So other photographs are
stored the same way before they are shown, and things that nano knows are shown without blocks too.

Flickr8k may be used for research and education and is not to be redistributed. None of it is shipped; weights
that were trained with it are for research only, and their card says so.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from imagebind_llm.common.errors import UserError
from nano_lab.grammar.facts import AIRPLANE, AUTOMOBILE, BIRD, CAT, DEER, DOG, FROG, HORSE, SHIP, TRUCK
from nano_lab.world.images import CANVAS
from nano_lab.world.tables import FLICKR8K, OTHERS, Split, read_columns

SIDE = 64
"""Pixels of a side as they are kept; crops of half to the whole of it are shown."""

_KNOWN = re.compile(
    r"\b(?:dog|dogg|doggie|puppy|puppie|pup|terrier|retriever|greyhound|poodle|labrador|lab|shepherd|collie"
    r"|canine|hound|husky|huskie|bulldog|cat|kitten|kitty|bird|duck|goose|geese|gull|seagull|pigeon|chicken|hen"
    r"|rooster|swan|parrot|eagle|heron|crane|horse|pony|ponie|horseback|jockey|rodeo|bronco|cowboy|deer|elk"
    r"|moose|antelope|frog|toad|car|automobile|suv|jeep|taxi|cab|racecar|buggy|vehicle|truck|lorry|van|bus|buse"
    r"|pickup|tractor|ship|boat|sailboat|speedboat|canoe|kayak|raft|ferry|yacht|sail|sailing|airplane|plane"
    r"|aircraft|jet|helicopter|animal|traffic)s?\b",
    re.IGNORECASE,
)

_NAMES = {
    AIRPLANE: r"air ?plane|aircraft|jet",
    AUTOMOBILE: r"car|automobile|suv|jeep|taxi|cab|racecar",
    BIRD: r"bird|duck|goose|geese|gull|seagull|pigeon|swan|parrot|eagle|heron|crane",
    CAT: r"cat|kitten",
    DEER: r"deer|elk|moose",
    DOG: r"dog|doggie|puppy|puppies|pup|terrier|retriever|greyhound|poodle|labrador|collie|husky|bulldog",
    FROG: r"frog|toad",
    HORSE: r"horse|pony|ponies",
    SHIP: r"ship|boat|sailboat|speedboat|ferry|yacht",
    TRUCK: r"truck|lorry",
}
_NAMED = {label: re.compile(rf"\b(?:{words})s?\b", re.IGNORECASE) for label, words in _NAMES.items()}
_AGREE = 4
"""Captions of five that must name the thing: then it is what the photograph is about."""
_MOST = 300
"""Photographs of one thing. Most of those left are dogs, and not every clear picture is one."""


def things_named(text: str) -> list[int]:
    """The labels of the things that nano knows and ``text`` names."""
    return [label for label, words in _NAMED.items() if words.search(text)]


def shown_thing(captions: Sequence[str]) -> int | None:
    """The one thing that nano knows and nearly all captions name, if none names another; a label."""
    named = Counter(label for said in captions for label in things_named(said))
    return next(iter(named)) if len(named) == 1 and max(named.values()) >= _AGREE else None


def shows_known(captions: Sequence[str]) -> bool:
    """Whether any caption speaks of a thing that nano knows, or of one that looks like it."""
    return any(_KNOWN.search(caption) for caption in captions)


@lru_cache(maxsize=2)
def written_sentences(root: str, split: Split) -> list[str]:
    """All captions.

    Raises:
        UserError: the data set is missing or damaged.
    """
    return [
        text for said in read_columns(root, FLICKR8K, split, OTHERS[FLICKR8K])["captions"] for text in said
    ]


@lru_cache(maxsize=2)
def other_photographs(root: str, split: Split) -> np.ndarray:
    """Photographs without any thing nano knows, uint8 ``[N, 64, 64, 3]``.

    Raises:
        UserError: the data set is missing or damaged, or none is left.
    """
    columns = read_columns(root, FLICKR8K, split, OTHERS[FLICKR8K])
    files = [
        file
        for file, said in zip(columns["image"], columns["captions"], strict=True)
        if not shows_known(said)
    ]
    if not files:
        raise UserError(f"{str(Path(root) / FLICKR8K)!r} has no photograph without things that nano knows")
    return _small(files)


@lru_cache(maxsize=2)
def known_photographs(root: str, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Photographs of one thing that nano knows, uint8 ``[N, 64, 64, 3]``, and their labels int64 ``[N]``.

    Raises:
        UserError: the data set is missing or damaged.
    """
    columns = read_columns(root, FLICKR8K, split, OTHERS[FLICKR8K])
    files: list[bytes] = []
    labels: list[int] = []
    for file, said in zip(columns["image"], columns["captions"], strict=True):
        label = shown_thing(said)
        if label is not None and labels.count(label) < _MOST:
            files.append(file)
            labels.append(label)
    return _small(files), np.array(labels, np.int64)


def _small(files: Sequence[bytes]) -> np.ndarray:
    """Pictures as uint8 ``[N, 64, 64, 3]``."""
    out = np.empty((len(files), SIDE, SIDE, 3), np.uint8)
    for row, file in enumerate(files):
        try:
            with Image.open(io.BytesIO(file)) as opened:
                picture = opened.convert("RGB")
        except (OSError, SyntaxError, ValueError, TypeError) as error:
            raise UserError(
                f"picture {row} of {FLICKR8K} is damaged ({error}); copy the file again"
            ) from None
        out[row] = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX))
    return out


def crops(
    rng: np.random.Generator, photographs: np.ndarray, rows: np.ndarray, smallest: int = SIDE // 2
) -> np.ndarray:
    """A random square crop of each of ``rows``, at least ``smallest`` wide, scaled to 32 x 32."""
    out = np.empty((len(rows), CANVAS, CANVAS, 3), np.uint8)
    for row, number in enumerate(rows):
        picture = photographs[int(number)]
        side = int(rng.integers(smallest, SIDE + 1))
        top, left = rng.integers(0, SIDE - side + 1, 2)
        cut = torch.from_numpy(np.ascontiguousarray(picture[top : top + side, left : left + side]))
        small = F.interpolate(
            cut.permute(2, 0, 1)[None].float(), size=(CANVAS, CANVAS), mode="bilinear", antialias=True
        )
        out[row] = small[0].permute(1, 2, 0).round().clamp(0, 255).numpy().astype(np.uint8)
    return out
