"""Nano's dialogs as the training stages draw them: its grammar's samples, with image rows in place of
concepts."""

from collections.abc import Callable
from typing import Any

import numpy as np

from imagebind_llm.common.errors import ConfigError
from nano_lab.grammar import (
    Sample,
    Split,
    caption_sample,
    check_sample,
    claim_sample,
    media_sample,
    messages,
    statement_sample,
    text_sample,
)
from nano_lab.world.concepts import CONCEPTS, DIGITS, UNCLEAR

Messages = list[dict[str, Any]]
PickRow = Callable[[int], int]
"""A label to a row of an image pool that shows it."""

_MORE_DOUBT = 0.1
"""Share of dialogs about media that show nothing known, beside those that the grammar draws."""


class NanoDialogs:
    """A :class:`~nano_lab.data.worlds.DialogWorld` over nano's grammar."""

    kinds = ("text", "statement", "claim", "caption", "media", "talk", "check", "pair", "things")
    """``statement`` and ``claim``: the perception is stated in words, and asked about or checked. ``media``:
    mostly one image, sometimes a mixture of two; ``talk``: the same with later turns; ``check``: yes/no and
    comparisons; ``pair``: always a mixture; ``things``: a mixture of two different photographs."""

    def dialog(
        self,
        kind: str,
        rng: np.random.Generator,
        split: Split,
        row_of: PickRow | None = None,
        weight_range: float = 0.0,
    ) -> Messages:
        """See :meth:`nano_lab.data.worlds.DialogWorld.dialog`."""
        if kind == "text":
            return messages(text_sample(rng, split))
        if kind == "statement":
            return messages(statement_sample(rng, split=split))
        if kind == "claim":
            return messages(claim_sample(rng, split))
        if row_of is None:
            raise ConfigError(
                f"dialogs of kind {kind!r} bring images, which a text-only stage has not; drop it"
            )
        if kind == "caption":
            label = int(rng.integers(len(CONCEPTS)))
            return self.caption(rng, split, label, row_of(label))
        if kind == "check":
            found = check_sample(rng, split)
        elif kind == "talk":
            found = media_sample(rng, split=split, follow_ups=int(rng.integers(1, 3)))
        else:
            pairs = {"pair": draw_pair, "things": draw_things}
            shown: tuple[int, ...] | None = pairs[kind](rng) if kind in pairs else None
            if kind == "media" and rng.random() < _MORE_DOUBT:
                shown = (UNCLEAR,)
            found = media_sample(rng, shown, split=split)
        return with_images(messages(found), rng, row_of, weight_range)

    def caption(self, rng: np.random.Generator, split: Split, label: int, row: int) -> Messages:
        """A request for a caption of the image ``row`` and its answer."""
        sample: Sample = caption_sample(rng, label, split=split)
        return with_images(messages(sample), rng, lambda _: row, 0.0)


def draw_pair(rng: np.random.Generator) -> tuple[int, int]:
    """Two labels to mix: two digits, two things (each four times in ten) or any two."""
    kind = rng.random()
    low, high = (0, len(DIGITS)) if kind < 0.4 else (len(DIGITS), UNCLEAR) if kind < 0.8 else (0, UNCLEAR)
    first, second = rng.integers(low, high, size=2).tolist()
    return first, second


def draw_things(rng: np.random.Generator) -> tuple[int, int]:
    """Two different things to mix, as a photograph and a sound are in use."""
    first, second = (len(DIGITS) + rng.choice(UNCLEAR - len(DIGITS), 2, replace=False)).tolist()
    return first, second


def with_images(found: Messages, rng: np.random.Generator, row_of: PickRow, weight_range: float) -> Messages:
    """Put an image row into each media part that names a concept, and weights into mixtures."""
    filled = []
    for message in found:
        parts = message["content"]
        media = [part for part in parts if "concept" in part]
        shift = rng.uniform(-weight_range, weight_range) if len(media) == 2 else 0.0
        weights = iter([0.5 + shift, 0.5 - shift] if len(media) == 2 else [1.0] * len(media))
        content = [
            {"type": part["type"], part["type"]: row_of(part["concept"]), "weight": next(weights)}
            if "concept" in part
            else part
            for part in parts
        ]
        filled.append({**message, "content": content})
    return filled
