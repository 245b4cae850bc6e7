"""Average precision on composed scenes, for words, pictures and sounds as prompts.

Every scene is searched for all that prompts of the modality can name, so that what is not there counts, too.
Prompts are of the same split as the scenes. For sounds these are the digits and the animals that are heard;
the other things in a scene are then things to leave alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from imagebind_llm.evaluation.box_scores import DRAWS, box_scores
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.skills.detection import DetectionSettings, Detector, Prompt
from imagebind_llm.skills.detection.boxes import overlaps
from nano_lab.detection.scenes import GROUNDS, Scene, compose
from nano_lab.world.concepts import CONCEPTS, DIGITS, UNCLEAR
from nano_lab.world.images import ImageSet, load_images
from nano_lab.world.sounds import RATE, AudioSet, load_audio
from nano_lab.world.tables import Split

SETTINGS = DetectionSettings(threshold=0.01, most=100)
"""Average precision looks at weak boxes, too."""


@dataclass(frozen=True)
class Searches:
    """How scenes are searched with prompts of one modality.

    Attributes:
        labels: concept ids that prompts can name.
        prompts: of one scene, one for each label. Words are always the same.
    """

    labels: Sequence[int]
    prompts: Callable[[Scene, np.random.Generator], list[Prompt]]
    fixed: bool = False


def evaluate_detection(
    bot: Assistant,
    data: Path,
    count: int,
    seed: int = 0,
    split: Split = "test",
    detector: Detector | None = None,
    advance: Callable[[], object] = lambda: None,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """Compose scenes and search them.

    Args:
        bot: the model.
        data: folder of nano's data sets.
        count: scenes, spread over all kinds of ground.
        seed: of scenes, prompts and the bootstrap.
        split: where pictures and sounds come from.
        detector: another than nano's own.
        advance: called after each scene.
        draws: of the bootstrap.

    Returns:
        ``recall``: share of the things that any proposal overlaps by half; and for ``text``, ``image`` and
        ``audio`` what :func:`box_scores` returns, and ``by_ground`` (AP50).
    """
    rng = np.random.default_rng(seed)
    images, sounds = load_images(data, split), load_audio(data, split)
    grounds = tuple(GROUNDS)
    scenes = [compose(images, rng, grounds[number % len(grounds)]) for number in range(count)]
    detector = detector or Detector(bot)
    searches = {
        "text": Searches(_NAMED, lambda scene, rng: _words(), fixed=True),
        "image": Searches(_NAMED, lambda scene, rng: _pictures(images, scene, rng)),
        "audio": Searches(
            sorted({int(label) for label in sounds.labels}), lambda scene, rng: _sounds(sounds, rng)
        ),
    }
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in searches}
    fixed: dict[str, tuple[list[Prompt], Tensor]] = {}
    hits = 0
    for number, scene in enumerate(scenes, 1):
        proposals = detector.look(scene.picture, SETTINGS)
        for name, search in searches.items():
            if name not in fixed:
                prompts = search.prompts(scene, rng)
                known = prompts, detector.embed(prompts)
                if search.fixed:
                    fixed[name] = known
            else:
                known = fixed[name]
            boxes = detector.choose(proposals, *known, SETTINGS)
            found[name] += [
                {
                    "image_id": number,
                    "category_id": search.labels[one.prompt] + 1,
                    "bbox": _bbox(one.box),
                    "score": one.score,
                }
                for one in boxes
            ]
        near = overlaps(scene.boxes, proposals.proposals.boxes)
        hits += int((near.max(axis=1, initial=0.0) >= 0.5).sum())
        advance()
    things = sum(len(scene.labels) for scene in scenes)
    results: dict[str, Any] = {"scenes": count, "seed": seed, "split": split, "recall": hits / things}
    for name, search in searches.items():
        scored = _scored(scenes, found[name], search.labels, draws, seed)
        scored["by_ground"] = {
            ground: _of_ground(scenes, found[name], search.labels, ground) for ground in grounds
        }
        results[name] = scored
    return results


_NAMED = tuple(concept.id for concept in CONCEPTS if concept.id != UNCLEAR)


def _words() -> list[Prompt]:
    """What people type: "the digit seven", "a dog"."""
    said = []
    for label in _NAMED:
        name = CONCEPTS[label].name
        article = "an" if name[0] in "aeiou" else "a"
        said.append(f"the digit {name}" if label < len(DIGITS) else f"{article} {name}")
    return [Prompt.of(text=words) for words in said]


def _pictures(images: ImageSet, scene: Scene, rng: np.random.Generator) -> list[Prompt]:
    """A picture of each thing, none of which is in the scene."""
    chosen = []
    for label in _NAMED:
        rows = np.setdiff1d(np.flatnonzero(images.labels == label), scene.rows)
        chosen.append(Prompt.of(CONCEPTS[label].name, image=images.pixels[int(rng.choice(rows))]))
    return chosen


def _sounds(sounds: AudioSet, rng: np.random.Generator) -> list[Prompt]:
    """A recording of each thing that is heard."""
    chosen = []
    for label in sorted({int(label) for label in sounds.labels}):
        wave = sounds.waves[int(rng.choice(np.flatnonzero(sounds.labels == label)))]
        chosen.append(Prompt.of(CONCEPTS[label].name, audio={"array": wave, "sampling_rate": RATE}))
    return chosen


def _bbox(box: Sequence[float]) -> list[float]:
    """COCO's x, y, width, height."""
    x0, y0, x1, y1 = (float(value) for value in box)
    return [x0, y0, x1 - x0, y1 - y0]


def truth_of(scenes: Sequence[Scene], labels: Sequence[int]) -> dict[str, Any]:
    """COCO's document of the things in scenes, as far as ``labels`` name them."""
    things: list[dict[str, Any]] = [
        {"image_id": number, "category_id": int(label) + 1, "bbox": _bbox(box), "iscrowd": 0}
        for number, scene in enumerate(scenes, 1)
        for box, label in zip(scene.boxes, scene.labels, strict=True)
        if int(label) in labels
    ]
    return {
        "images": [
            {"id": number, "width": scene.picture.width, "height": scene.picture.height}
            for number, scene in enumerate(scenes, 1)
        ],
        "annotations": [
            {**one, "id": number, "area": one["bbox"][2] * one["bbox"][3]}
            for number, one in enumerate(things, 1)
        ],
        "categories": [{"id": label + 1, "name": CONCEPTS[label].name} for label in labels],
    }


def _scored(
    scenes: Sequence[Scene],
    found: Sequence[Mapping[str, Any]],
    labels: Sequence[int],
    draws: int,
    seed: int,
) -> dict[str, Any]:
    scores = box_scores(truth_of(scenes, labels), found, draws, seed)
    return {**scores, "AP50": scores["AP50"].to_dict(), "AP": scores["AP"].to_dict()}


def _of_ground(
    scenes: Sequence[Scene], found: Sequence[Mapping[str, Any]], labels: Sequence[int], ground: str
) -> float | None:
    chosen = [number for number, scene in enumerate(scenes, 1) if scene.ground == ground]
    if not chosen:
        return None
    places = {number: place for place, number in enumerate(chosen, 1)}
    own = [{**one, "image_id": places[one["image_id"]]} for one in found if one["image_id"] in places]
    value: float | None = box_scores(
        truth_of([scenes[number - 1] for number in chosen], labels), own, draws=0
    )["AP50"].to_dict()["value"]
    return value
