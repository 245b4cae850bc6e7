"""Measured samples → one verdict each: kept, or dropped for the first rule that fails.

Rules run in the order of the table. A sample that an earlier rule dropped takes no part in later ones, so a
good copy is never dropped in favour of a bad one. In memory: about 120 bytes a sample.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagebind_llm.data.clean.duplicates import (
    Leaders,
    RowFile,
    exact_leaders,
    near_leaders,
    roots,
    similar_leaders,
)
from imagebind_llm.data.clean.measure import LIGHT, Measured
from imagebind_llm.data.clean.rules import (
    NAMES,
    PLACE,
    RULES,
    SIGNATURE_BYTES,
    UNREADABLE,
    Facts,
    Lists,
    normalised,
)
from imagebind_llm.data.clean.settings import Bounds, Rules, Switch

REASONS: tuple[str, ...] = (UNREADABLE, *NAMES)
"""Reasons by number."""
KEPT = -1
_ODD = np.uint64(0x9E3779B97F4A7C15)
"""Mixes two hashes into one."""


@dataclass(frozen=True)
class Verdicts:
    """What was decided, by number of sample.

    Attributes:
        reason: int8 ``[n]``, a place in :data:`REASONS` or :data:`KEPT`.
        scores: float32 ``[n, rules]`` in the order of the table, NaN where a rule does not apply.
        original: int64 ``[n]``, the kept sample that a dropped duplicate is like, else -1.
        bounds: lowest and highest kept score of each rule that is on and has any.
        retold: duplicates whose words differ from those of the sample that is kept.
    """

    reason: np.ndarray
    scores: np.ndarray
    original: np.ndarray
    bounds: dict[str, tuple[float | None, float | None]]
    retold: int

    @property
    def counts(self) -> dict[str, int]:
        """Dropped samples by reason, in the order of the rules; all reasons."""
        found = np.bincount(self.reason[self.reason >= 0], minlength=len(REASONS))
        return {name: int(found[place]) for place, name in enumerate(REASONS)}

    @property
    def kept(self) -> int:
        """Samples that are kept."""
        return int((self.reason == KEPT).sum())


@dataclass
class _Light:
    """What all samples are compared by. Hashes are uint64: among 10 million samples, two different ones share
    a hash with a probability of 3e-6.

    Attributes:
        scores: as in :class:`Verdicts`.
        unreadable: could not be opened.
        pictured: have a picture or an embedding.
        pixels: hash of the picture or embedding.
        near: perceptual hash.
        dialogs: hash of all words.
        captions: hash of the normalised caption.
    """

    scores: np.ndarray
    unreadable: np.ndarray
    pictured: np.ndarray
    pixels: np.ndarray
    near: np.ndarray
    dialogs: np.ndarray
    captions: np.ndarray

    @property
    def visible(self) -> np.ndarray:
        """Have pixels."""
        seen: np.ndarray = ~np.isnan(self.scores[:, PLACE["image_side"]])
        return seen


def judge(
    measured: Measured,
    rules: Rules,
    lists: Lists,
    same_text: bool,
    progress: Callable[[str], None] = lambda _: None,
) -> Verdicts:
    """Apply the rules.

    Args:
        same_text: only samples with the same words are duplicates.
        progress: told what comes next.
    """
    progress("captions")
    light = _read(measured, lists)
    count = len(light.scores)
    reason = np.where(light.unreadable, 0, KEPT).astype(np.int8)
    leader = np.full(count, -1, np.int64)
    bounds: dict[str, tuple[float | None, float | None]] = {}
    _count_captions(light)
    for place, rule in enumerate(RULES):
        settings = getattr(rules, rule.name)
        alive = np.flatnonzero(reason == KEPT)
        if isinstance(settings, Bounds):
            if not settings.enabled:
                continue
            low, high = limits(settings, light.scores[alive, place])
            if low is not None or high is not None:
                bounds[rule.name] = (low, high)
            values = light.scores[alive, place]
            fails = np.zeros(len(alive), bool)
            if low is not None:
                fails |= values < low
            if high is not None:
                fails |= values > high
            reason[alive[fails]] = place + 1
            continue
        if not settings.enabled:
            continue
        progress(rule.name)
        rows, found = _compare(rule.name, alive, light, measured, settings, same_text)
        light.scores[rows, place] = found.score
        hit = found.leader >= 0
        leader[rows[hit]] = rows[found.leader[hit]]
        reason[rows[hit]] = place + 1
        if not isinstance(settings, Switch):
            by_pixels = rule.name == "near_duplicate" or light.visible[rows].all()
            bounds[rule.name] = (None, settings.correlation if by_pixels else settings.cosine)
    original = roots(leader)
    hit = original >= 0
    retold = int((light.captions[hit] != light.captions[original[hit]]).sum())
    return Verdicts(reason, light.scores, original, bounds, retold)


def limits(settings: Bounds, values: np.ndarray) -> tuple[float | None, float | None]:
    """The bounds in force for ``values``, those of the samples that got so far."""
    low, high = settings.minimum, settings.maximum
    percentile = getattr(settings, "percentile", None)
    known = values[~np.isnan(values)]
    dropped = int(len(known) * percentile / 100) if percentile is not None else 0
    if dropped:
        # the score of the worst one that stays; equal scores stay with it
        found = float(np.partition(known, min(dropped, len(known) - 1))[min(dropped, len(known) - 1)])
        low = found if low is None else max(low, found)
    return low, high


def _compare(
    name: str, alive: np.ndarray, light: _Light, measured: Measured, settings: Any, same_text: bool
) -> tuple[np.ndarray, Leaders]:
    """The samples a rule compares, in order, and what it finds."""
    texts = light.dialogs if same_text else None
    if name == "exact_duplicate":
        words = np.where(same_text | ~light.pictured[alive], light.dialogs[alive], np.uint64(0))
        found = exact_leaders(light.pixels[alive] * _ODD + words)
        return alive, Leaders(found, (found >= 0).astype(np.float32))
    wanted = light.visible if name == "near_duplicate" else light.pictured
    rows = alive[wanted[alive]]
    signatures = _column(measured, rows, "signature", SIGNATURE_BYTES, np.uint8)
    chosen = None if texts is None else texts[rows]

    def pixels(places: np.ndarray) -> np.ndarray:
        return np.asarray(signatures[places])

    if name == "near_duplicate":
        return rows, near_leaders(light.near[rows], pixels, chosen, settings)
    dim = _dimension(measured, rows)
    if not dim:
        return rows[:0], Leaders(np.empty(0, np.int64), np.empty(0, np.float32))
    vectors = _column(measured, rows, "embedding", dim, np.float16)
    seen = pixels if light.visible[rows].all() else None
    return rows, similar_leaders(vectors, seen, chosen, settings)


def _read(measured: Measured, lists: Lists) -> _Light:
    count = sum(measured.sizes())
    light = _Light(
        np.full((count, len(RULES)), np.nan, np.float32),
        np.zeros(count, bool),
        np.zeros(count, bool),
        *(np.zeros(count, np.uint64) for _ in range(4)),
    )
    first = 0
    for table in measured.tables([*LIGHT, "agreement"]):
        for row, values in enumerate(table.to_pylist(), start=first):
            if values["error"] is not None:
                light.unreadable[row] = True
                continue
            facts = Facts(
                values["caption"],
                values["width"],
                values["height"],
                _number(values["contrast"]),
                _number(values["agreement"]),
            )
            light.scores[row] = [math.nan if r.score is None else r.score(facts, lists) for r in RULES]
            light.dialogs[row] = _short(values["text_hash"])
            words = normalised(facts.caption).encode("utf-8", "surrogatepass")
            light.captions[row] = _short(hashlib.sha256(words).digest())
            if values["pixel_hash"] is not None:
                light.pictured[row] = True
                light.pixels[row] = _short(values["pixel_hash"])
                light.near[row] = values["near_hash"] or 0
        first += table.num_rows
    return light


def _count_captions(light: _Light) -> None:
    """Copies of one sample count once: that there are many is the business of the rules for duplicates, which
    keep one of them."""
    readable = np.flatnonzero(~light.unreadable)
    if len(readable):
        words = light.captions[readable]
        about = np.where(light.pictured[readable], light.pixels[readable], light.dialogs[readable])
        _, first = np.unique(words * _ODD + about, return_index=True)
        names, counts = np.unique(words[first], return_counts=True)
        light.scores[readable, PLACE["caption_frequency"]] = counts[np.searchsorted(names, words)]


def _column(measured: Measured, rows: np.ndarray, name: str, width: int, dtype: type[np.generic]) -> Any:
    """One binary column of some samples, on disk: ``[len(rows), width]``, rows without a value are zero."""
    locked = RowFile(measured.folder.parent, len(rows), width, dtype).rows
    first = place = 0
    for table in measured.tables([name]):
        column = table[name]
        while place < len(rows) and rows[place] < first + len(column):
            value = column[int(rows[place]) - first].as_py()
            if value is not None:
                locked[place] = np.frombuffer(value, dtype)
            place += 1
        first += len(column)
    return locked


def _dimension(measured: Measured, rows: np.ndarray) -> int:
    if len(rows):
        value = measured.take([int(rows[0])], ["embedding"])[int(rows[0])]["embedding"]
        return len(value) // 2 if value is not None else 0
    return 0


def _short(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big")


def _number(value: float | None) -> float:
    return math.nan if value is None else value
