"""Boxes that the model would call by another name than what is looked for.

A single prompt has no rivals but nothing: in a picture of a dog and a ship, "a dog" scores well on the ship,
too. What the model knows besides are the captions of its visual cache, where these are few. A box stays where
the name nearest to the prompt is also (nearly) the nearest to the box.
"""

from collections.abc import Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
from torch import Tensor

from imagebind_llm.common.modality import Modality
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.skills.detection.detector import Detector, Looked
from imagebind_llm.skills.detection.prompts import Prompt
from imagebind_llm.skills.detection.results import Detection, Detections
from imagebind_llm.skills.detection.settings import DetectionSettings

MOST = 100
"""Names; a cache with more captions describes pictures and does not name kinds of things."""
_NEARLY = 0.05
"""Cosine by which another name may be nearer to a box: crops are never exact, and two names may mean one
thing."""
_known: "WeakKeyDictionary[Assistant, Tensor | None]" = WeakKeyDictionary()


def find(
    detector: Detector,
    picture: object,
    prompts: Sequence[Prompt],
    settings: DetectionSettings | None = None,
    cache: bool = False,
) -> Detections:
    """As :meth:`.Detector.detect`, without boxes that the model would call by another name.

    Raises:
        UserError: no prompt, or a picture or medium that cannot be read.
    """
    opened = detector.open(picture)
    directions = detector.embed(prompts, cache)
    looked = detector.look(opened, settings)
    found = detector.choose(looked, prompts, directions, settings)
    rows = names_of(detector.bot)
    return found if rows is None else alike(found, looked, directions, rows)


def names_of(bot: Assistant) -> Tensor | None:
    """Unit rows ``[names, D]`` of what the model knows; None where it does not tell."""
    if bot not in _known:
        _known[bot] = _names(bot)
    return _known[bot]


def _names(bot: Assistant) -> Tensor | None:
    cache = bot.cache
    if cache is None or Modality.TEXT.value not in bot.modalities:
        return None
    captions: set[str] = set()
    for row in range(cache.size):
        caption = cache.entry(row).caption
        if caption is None or len(captions) > MOST:
            return None
        captions.add(caption)
    return bot.embed(text=sorted(captions)) if 2 <= len(captions) <= MOST else None


def alike(found: Detections, looked: Looked, directions: Tensor, names: Tensor) -> Detections:
    """The boxes whose name is their prompt's.

    Args:
        found: the boxes.
        looked: what they were chosen from.
        directions: ``[prompts, D]``.
        names: ``[names, D]``.
    """
    if looked.views is None:
        return found
    own = (directions.float() @ names.T).argmax(dim=1)
    near = (looked.views.float() @ names.T).amax(dim=1)
    kept: list[Detection] = []
    for one in found:
        place = int(np.abs(looked.proposals.boxes - np.array(one.box)).sum(axis=1).argmin())
        if near[place, own[one.prompt]] >= near[place].max() - _NEARLY:
            kept.append(replace(one, number=len(kept) + 1))
    return replace(found, found=tuple(kept))
