"""Every part of the report, one after another; a run that was stopped goes on with what it had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from imagebind_llm.common.modality import Modality
from imagebind_llm.common.work_folder import WorkFolder, work_folder
from imagebind_llm.evaluation.claims.base import base_of
from imagebind_llm.evaluation.claims.cost import ROUNDS, condition_cost
from imagebind_llm.evaluation.provenance import environment, model_facts
from imagebind_llm.evaluation.suite import Floats
from imagebind_llm.inference.assistant import Assistant
from nano_lab.evaluation.claims.arms import mixture_curves, without_injection
from nano_lab.evaluation.claims.gaps import gap_maps, sense_gaps
from nano_lab.evaluation.claims.keeping import KeptModel, kept_material
from nano_lab.evaluation.claims.words import text_ability
from nano_lab.evaluation.model import AssistantUnderTest
from nano_lab.evaluation.run import Caps, Clock, ask_everything, gather, whole_results
from nano_lab.evaluation.sets import other_sets, picture_sets, settings_of
from nano_lab.world.senses import World

SCHEMA = 1
PARTS = "parts"
"""Folder inside the report's, for what is kept."""
_QUESTION = "What is this?"


@dataclass(frozen=True)
class Settings:
    """How a report is made.

    Attributes:
        model_name: how the model was called, for the record.
        folder: where its weights lie.
        base: folder of the language model before any training with media, if at hand.
        seed: of questions, derivations and pairings.
        items: most items of each sense; None: those of the standard evaluation.
        batch_size: questions answered at once.
        progress: show progress on a terminal.
    """

    model_name: str
    folder: Path
    base: Path | None = None
    seed: int = 0
    items: int | None = None
    batch_size: int = 64
    progress: bool = True


@dataclass(frozen=True)
class Measured:
    """Everything the report says.

    Attributes:
        values: plain values for JSON; the same whenever the same is measured again.
        cost: of a condition, with milliseconds; differs from run to run.
        maps: embeddings in a plane, for :func:`imagebind_llm.evaluation.claims.plots.draw_maps`.
    """

    values: dict[str, Any]
    cost: dict[str, Any]
    maps: dict[str, list[tuple[str, Floats]]]


def measure(bot: Assistant, data: Path, out: Path, settings: Settings) -> Measured:
    """Measure everything; what is finished is kept in ``out/parts``.

    Raises:
        UserError: the data or the model cannot be used, or ``out`` belongs to another report.
    """
    base = base_of(bot.model, settings.folder, settings.base)  # before minutes of work, not after them
    caps = Caps.of(settings.items)
    facts, versions = model_facts(bot, settings.model_name, settings.folder), environment()["versions"]
    identity = {
        "schema": SCHEMA,
        "report": "nano",
        "weights": facts["weights_sha256"],
        "cache": f"{facts['cache_pictures']} pictures, {facts['cache']}",
        "base": base.says,
        "data": str(data),
        "seed": settings.seed,
        "items": settings.items,
        "batch_size": settings.batch_size,
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    busy = f"{str(out)!r} is in use by another report; wait, or use another folder"
    with work_folder(out / PARTS, identity, busy=busy, begun="measured") as work:
        clock = Clock()
        plain = AssistantUnderTest(bot, settings.batch_size)
        material = kept_material(
            work, lambda: gather(plain, bot, data, caps, settings.seed, clock, settings.progress)
        )
        model, known, seed = KeptModel(plain, work), material.known, settings.seed
        standard = ask_everything(model, material, caps, seed, clock, settings.progress)
        steps: dict[str, Callable[[], Any]] = {
            "without_injection": lambda: without_injection(model, known, caps, seed),
            "mixtures": lambda: mixture_curves(model, known, caps, seed),
            "gaps": lambda: sense_gaps(known, seed),
            "text": lambda: text_ability(bot, base, known["handwriting"], data, seed, settings.items),
            "cost": lambda: _cost(bot, data, seed, ROUNDS if settings.items is None else 3),
        }
        done = {name: facts["value"] for name, (_, facts) in work.steps().items() if "value" in facts}
        with tqdm(steps.items(), desc="report", disable=None if settings.progress else True) as bar:
            for name, step in bar:
                bar.set_postfix_str(name)
                if name not in done:
                    done[name] = _keep(work, name, step())
    cost = done.pop("cost")
    results = whole_results(
        bot, standard, caps, settings.model_name, settings.folder, seed, settings.batch_size
    )
    values = {"schema": SCHEMA, "task": "report", "standard": results, **done, "tokens": cost["tokens"]}
    return Measured(values, cost, gap_maps(known))


def _keep(work: WorkFolder, name: str, value: Any) -> Any:
    work.finish(name, (), {"value": value})
    return work.steps()[name][1]["value"]  # as a run that goes on will read it


def _cost(bot: Assistant, data: Path, seed: int, rounds: int) -> dict[str, Any]:
    """Of one test item of each modality."""
    world = World(data, "test", settings_of(bot.processor.media))
    media: dict[Modality, Tensor] = {}
    for source in (picture_sets(world, 1), other_sets(world, seed, 1, 1, 2)):
        for raw in source:
            if raw.tensors:
                media.setdefault(raw.modality, raw.tensors[0])
    order = [modality for modality in Modality if modality in media]
    return condition_cost(bot, _QUESTION, {modality: media[modality] for modality in order}, rounds)
