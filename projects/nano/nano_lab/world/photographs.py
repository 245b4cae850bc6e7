"""Photographs of things nano does not know, from Flickr8k, for training to say so.

Flickr8k may be used for research and education and is not to be redistributed. None of it is shipped; weights
that were trained with it are for research only, and their card says so.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from imagebind_llm.common.errors import UserError
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


def shows_known(captions: Sequence[str]) -> bool:
    """Whether any caption speaks of a thing that nano knows, or of one that looks like it."""
    return any(_KNOWN.search(caption) for caption in captions)


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


def crops(rng: np.random.Generator, photographs: np.ndarray, count: int) -> np.ndarray:
    """``count`` random square crops, scaled to uint8 ``[count, 32, 32, 3]``."""
    out = np.empty((count, CANVAS, CANVAS, 3), np.uint8)
    for row in range(count):
        picture = photographs[int(rng.integers(len(photographs)))]
        side = int(rng.integers(SIDE // 2, SIDE + 1))
        top, left = rng.integers(0, SIDE - side + 1, 2)
        cut = torch.from_numpy(np.ascontiguousarray(picture[top : top + side, left : left + side]))
        small = F.interpolate(
            cut.permute(2, 0, 1)[None].float(), size=(CANVAS, CANVAS), mode="bilinear", antialias=True
        )
        out[row] = small[0].permute(1, 2, 0).round().clamp(0, 255).numpy().astype(np.uint8)
    return out
