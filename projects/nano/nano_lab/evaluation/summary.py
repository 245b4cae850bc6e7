"""From answers to results: plain dictionaries of scores.

The results have these parts, each a dictionary or list of rows with ``n``, ``correct``, ``accuracy`` and the
95 % interval ``low`` … ``high``:

* ``senses``: for each sense the encoder alone, cache off, cache on and their difference, the share of doubt,
  the shuffled control and its chance, and a confusion table;
* ``strange``: far-off input; right is doubt. ``invented`` is the share of answers that name something;
* ``strange_total``: all of it together, at the default settings;
* ``mixtures``: both things named, cache off and on; the encoder alone (its two nearest classes);
* ``wordings``: paired differences of unseen and seen phrasings, and of Chinese and English;
* ``kinds``, ``dialogs``, ``text``, ``no_media``: the other variants;
* ``targets``: the project's own, with what was measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from imagebind_llm.evaluation.metrics import Difference, Score, wilson
from nano_lab.evaluation.reference import ClassMeans
from nano_lab.evaluation.sets import SENSES, EmbeddedSet
from nano_lab.evaluation.variants import HEADLINE, KIND_GROUPS, Mixtures, Variant, chance
from nano_lab.grammar import LANGUAGES, SPLITS, is_doubt, is_nothing_given, named
from nano_lab.world.concepts import CONCEPTS

ELSE = "something else"
"""Column of a confusion table: answers that name none or several of the known things."""
DOUBT = "doubt"

_LARGEST_GAP = 0.05
"""Most that unseen phrasings, or Chinese, may lose against seen ones, or English."""
_MIXTURE_TARGET = 0.60
_MAIN_MIXTURE = "picture and speech, different digits"


@dataclass(frozen=True)
class Asked:
    """Variants by name, and their answers."""

    variants: Mapping[str, Variant]
    answers: Mapping[str, list[str]]

    @cached_property
    def outcomes(self) -> dict[str, list[bool]]:
        """Whether each answer of each variant is right."""
        return {name: variant.outcomes(self.answers[name]) for name, variant in self.variants.items()}

    def score(self, name: str) -> dict[str, Any]:
        """The score of a variant."""
        return Score.of(self.outcomes[name]).to_dict()

    def score_all(self, names: Sequence[str]) -> dict[str, Any]:
        """The score of several variants together."""
        return Score.of(outcome for name in names for outcome in self.outcomes[name]).to_dict()


def summarise(
    asked: Asked,
    known: Mapping[str, EmbeddedSet],
    unknown: Mapping[str, EmbeddedSet],
    mixed: Sequence[Mixtures],
    means: ClassMeans,
    dialogs: Mapping[str, list[bool]],
) -> dict[str, Any]:
    """All parts of the results that come from answers."""
    parts: dict[str, Any] = {
        "class_means": means.source,
        "senses": [_sense(asked, data, means) for data in known.values()],
        "strange": [_strange(asked, data, means) for data in unknown.values()],
        "strange_total": asked.score_all([f"strange/{d.name}/{d.default}" for d in unknown.values()]),
        "mixtures": [_mixture(asked, pairs, means) for pairs in mixed],
        "wordings": _wordings(asked, known),
        "kinds": _kinds(asked),
        "dialogs": {place: Score.of(outcomes).to_dict() for place, outcomes in dialogs.items()},
        "text": {
            name.removeprefix("text/"): asked.score(name)
            for name in asked.variants
            if name.startswith("text/")
        },
        "no_media": _no_media(asked),
    }
    return {**parts, "targets": _targets(parts)}


def _modes(asked: Asked, prefix: str, data: EmbeddedSet) -> dict[str, Any]:
    row: dict[str, Any] = {f"cache_{mode}": asked.score(f"{prefix}/{mode}") for mode in data.modes}
    row["default"] = data.default
    if "on" in data.modes:
        off, on = asked.outcomes[f"{prefix}/off"], asked.outcomes[f"{prefix}/on"]
        row["difference"] = Difference.of(off, on).to_dict()
    return row


def _sense(asked: Asked, data: EmbeddedSet, means: ClassMeans) -> dict[str, Any]:
    prefix = f"sense/{data.name}"
    answers, outcomes = asked.answers[f"{prefix}/{data.default}"], asked.outcomes[f"{prefix}/{data.default}"]
    sense = next((sense for sense in SENSES if sense.name == data.name), None)
    seen = means.nearest(data.plain) == data.labels
    kept = [outcome for outcome, right in zip(outcomes, seen, strict=True) if right]
    return {
        "name": data.name,
        "modality": data.modality.value,
        "origin": sense.origin if sense else "real",
        "target": sense.target if sense else None,
        "classes": len(np.unique(data.labels)),
        **_modes(asked, prefix, data),
        "encoder": Score.of(seen.tolist()).to_dict(),
        "where_encoder_is_right": Score.of(kept).to_dict() if kept else None,
        "doubt": Score.of(is_doubt(answer) for answer in answers).to_dict(),
        "shuffled": asked.score(f"shuffled/{data.name}"),
        "chance": round(chance(data), 5),
        "confusion": confusion(data.labels, answers),
    }


def confusion(labels: np.ndarray, answers: Sequence[str]) -> dict[str, Any]:
    """Counts of what was named (columns) for each true label (rows), both by concept name."""
    by_name = {f"num:{c.id}" if c.kind == "digit" else f"obj:{c.id}": c.name for c in CONCEPTS}
    counts: Counter[tuple[str, str]] = Counter()
    for label, answer in zip(labels, answers, strict=True):
        things = named(answer)
        thing = by_name.get(next(iter(things))) if len(things) == 1 else None
        counts[CONCEPTS[int(label)].name, thing or (DOUBT if is_doubt(answer) else ELSE)] += 1
    order = [*(concept.name for concept in CONCEPTS), DOUBT, ELSE]
    rows = [name for name in order if any(true == name for true, _ in counts)]
    columns = [name for name in order if name in rows or any(said == name for _, said in counts)]
    return {
        "rows": rows,
        "columns": columns,
        "counts": [[counts[true, said] for said in columns] for true in rows],
    }


def _strange(asked: Asked, data: EmbeddedSet, means: ClassMeans) -> dict[str, Any]:
    prefix = f"strange/{data.name}"
    answers = asked.answers[f"{prefix}/{data.default}"]
    return {
        "name": data.name,
        "modality": data.modality.value,
        **_modes(asked, prefix, data),
        "invented": Score.of(bool(named(answer)) for answer in answers).to_dict(),
        "encoder": Score.of((means.nearest(data.plain) == data.labels).tolist()).to_dict(),
    }


def _mixture(asked: Asked, pairs: Mixtures, means: ClassMeans) -> dict[str, Any]:
    data = pairs.data
    row = {"name": data.name, **_modes(asked, f"mixture/{data.name}", data)}
    if (pairs.concepts[:, 0] != pairs.concepts[:, 1]).all():
        nearest = means.nearest_two(data.plain)
        row["encoder"] = Score.of((nearest == np.sort(pairs.concepts, axis=1)).all(1).tolist()).to_dict()
    return row


def _wordings(asked: Asked, known: Mapping[str, EmbeddedSet]) -> dict[str, Any]:
    """The same items in every language and phrasing, by sense and together; the paired differences."""
    cells: dict[tuple[str, str], list[bool]] = {(lang, split): [] for lang in LANGUAGES for split in SPLITS}
    by_sense: list[dict[str, Any]] = []
    for name, data in known.items():
        count = len(asked.variants[f"wording/{name}/zh/train"].questions)
        row: dict[str, Any] = {"name": name}
        for cell in cells:
            key = f"sense/{name}/{data.default}" if cell == HEADLINE else f"wording/{name}/{'/'.join(cell)}"
            outcomes = asked.outcomes[key][:count]
            cells[cell] += outcomes
            row["/".join(cell)] = Score.of(outcomes).to_dict()
        by_sense.append(row)
    seen = [outcome for lang in LANGUAGES for outcome in cells[lang, "train"]]
    unseen = [outcome for lang in LANGUAGES for outcome in cells[lang, "heldout"]]
    english = [outcome for split in SPLITS for outcome in cells["en", split]]
    chinese = [outcome for split in SPLITS for outcome in cells["zh", split]]
    return {
        "all": {"/".join(cell): Score.of(outcomes).to_dict() for cell, outcomes in cells.items()},
        "unseen_minus_seen": Difference.of(seen, unseen).to_dict(),
        "chinese_minus_english": Difference.of(english, chinese).to_dict(),
        "by_sense": by_sense,
    }


def _kinds(asked: Asked) -> dict[str, Any]:
    groups: dict[str, Any] = {}
    for group, kinds in KIND_GROUPS.items():
        present = [f"kind/{kind}" for kind in kinds if f"kind/{kind}" in asked.variants]
        if present:
            single = {name.removeprefix("kind/"): asked.score(name) for name in present}
            groups[group] = {**asked.score_all(present), "kinds": single}
    return groups


def _no_media(asked: Asked) -> dict[str, Any]:
    names = [name for name in asked.variants if name.startswith("no media/")]
    answers = [answer for name in names for answer in asked.answers[name]]
    return {
        "named_right": asked.score_all(names),
        "said_nothing_given": Score.of(is_nothing_given(answer) for answer in answers).to_dict(),
    }


def _targets(parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The project's targets at the model's default settings."""
    rows: list[dict[str, Any]] = []

    def share(name: str, target: float, score: Mapping[str, Any]) -> None:
        rows.append(
            {
                "name": name,
                "target": target,
                "value": score["accuracy"],
                "low": score["low"],
                "high": score["high"],
                "met": score["accuracy"] >= target,
            }
        )

    for sense in parts["senses"]:
        if sense["target"] is not None:
            share(sense["name"], sense["target"], sense[f"cache_{sense['default']}"])
    for row in parts["mixtures"]:
        if row["name"] == _MAIN_MIXTURE:
            share(row["name"], _MIXTURE_TARGET, row[f"cache_{row['default']}"])
    for key, name in (
        ("unseen_minus_seen", "unseen phrasings against seen ones"),
        ("chinese_minus_english", "Chinese against English"),
    ):
        gap = parts["wordings"][key]
        rows.append(
            {
                "name": name,
                "target": -_LARGEST_GAP,
                "value": gap["difference"],
                "low": gap["low"],
                "high": gap["high"],
                "met": gap["difference"] >= -_LARGEST_GAP,
            }
        )
    fallen = sum(_at_chance(sense["shuffled"], sense["chance"]) for sense in parts["senses"])
    rows.append(
        {
            "name": "senses at chance when embeddings are shuffled",
            "target": len(parts["senses"]),
            "value": fallen,
            "low": None,
            "high": None,
            "met": fallen == len(parts["senses"]),
        }
    )
    return rows


def _at_chance(score: Mapping[str, Any], expected: float) -> bool:
    # Three deviations: with one look at each of a dozen senses, two would cry wolf every fourth time.
    return wilson(score["correct"], score["n"], z=3.0)[0] <= expected
