"""The modality gap of every sense to pictures of the same things, before and after the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagebind_llm.common.modality import Modality
from imagebind_llm.evaluation.gap import modality_gap, plane
from imagebind_llm.evaluation.suite import Floats
from nano_lab.evaluation.sets import EmbeddedSet
from nano_lab.evaluation.variants import generator

_DRAWS = 1000
_SHOWN = 150
"""Points of each sense in a map."""
_MAPPED = ("spoken digits", "3D digits", "depth digits", "thermal digits", "IMU digits", "video digits")


def sense_gaps(known: Mapping[str, EmbeddedSet], seed: int) -> list[dict[str, Any]]:
    """Each item beside a test picture of the same label, drawn at random (never itself).

    Returns:
        For each sense with two items or more whose thing a picture shows: ``name``, ``modality`` and ``off``
        (and ``on``: after the cache), each as :class:`~imagebind_llm.evaluation.gap.Gap` with ``low`` and
        ``high``, the 95 % bootstrap interval of ``gap``. Senses of pictures show how large a gap comes of
        chance alone.
    """
    pictures = _Pictures.of(known)
    rows = []
    for name, data in known.items():
        items, partners = pictures.partners(data, seed)
        if len(items) < 2:
            continue
        row: dict[str, Any] = {"name": name, "modality": data.modality.value}
        for mode in data.modes:
            own = _unit(data.conditions(mode).double().numpy()[items])
            low, high = _interval(own, pictures.rows[partners], seed)
            values = modality_gap(own, pictures.rows[partners], paired=True, seed=seed).to_dict()
            values |= {"low": low, "high": high}
            row[mode] = {
                key: round(value, 5) if isinstance(value, float) else value for key, value in values.items()
            }
        rows.append(row)
    return rows


def gap_maps(known: Mapping[str, EmbeddedSet]) -> dict[str, list[tuple[str, Floats]]]:
    """Handwriting and the senses of digits in one plane, for :func:`.plots.draw_maps`: cache off and on."""
    names = [name for name in _MAPPED if name in known and known[name].cached is not None]
    if "handwriting" not in known or not names:
        return {}
    sets: list[tuple[str, str, Floats]] = [
        ("", "handwriting", known["handwriting"].plain[:_SHOWN].double().numpy())
    ]
    for title in ("off", "on"):
        sets += [(title, name, known[name].conditions(title)[:_SHOWN].double().numpy()) for name in names]
    places = plane(*(rows for _, _, rows in sets))
    found: dict[str, list[tuple[str, Floats]]] = {}
    for title, words in (("off", "cache off"), ("on", "cache on")):
        found[words] = [
            (name, rows) for (own, name, _), rows in zip(sets, places, strict=True) if own in ("", title)
        ]
    return found


@dataclass(frozen=True)
class _Pictures:
    """All test pictures: unit rows, their labels, and where each sense of pictures begins among them."""

    rows: Floats
    labels: np.ndarray
    begins: Mapping[str, int]

    @classmethod
    def of(cls, known: Mapping[str, EmbeddedSet]) -> _Pictures:
        sets = [data for data in known.values() if data.modality is Modality.IMAGE]
        ends = np.cumsum([len(data) for data in sets])
        return cls(
            _unit(np.concatenate([data.plain.double().numpy() for data in sets])),
            np.concatenate([data.labels for data in sets]),
            {data.name: int(end) - len(data) for data, end in zip(sets, ends, strict=True)},
        )

    def partners(self, data: EmbeddedSet, seed: int) -> tuple[list[int], list[int]]:
        """Items of a set, and for each the row of a picture that shows the same and is not the item."""
        rng = generator(seed, "gap", data.name)
        begin = self.begins.get(data.name)
        items, partners = [], []
        for number, label in enumerate(data.labels):
            same = np.flatnonzero(self.labels == label)
            others = same if begin is None else same[same != begin + number]
            if len(others):
                items.append(number)
                partners.append(int(rng.choice(others)))
        return items, partners


def _unit(rows: Floats) -> Floats:
    found: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def _interval(first: Floats, second: Floats, seed: int) -> tuple[float, float]:
    """95 % interval of the length of the difference of two means of pairs, by the basic bootstrap: chance
    makes a length larger, never smaller, and this takes it back."""
    difference = first - second
    count = len(difference)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(count, np.full(count, 1 / count), _DRAWS) / count
    lengths = np.linalg.norm(draws @ difference, axis=1)
    found = float(np.linalg.norm(difference.mean(axis=0)))
    low, high = np.quantile(lengths, [0.025, 0.975])
    return max(0.0, 2 * found - float(high)), max(0.0, 2 * found - float(low))
