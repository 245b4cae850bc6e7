"""The whole measurement: media are embedded, things drawn, and drawings judged; what is done is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from imagebind_llm.common.files import atomic_write, sha256
from imagebind_llm.common.work_folder import WorkFolder, work_folder
from imagebind_llm.evaluation.provenance import environment, model_facts
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.skills.generation.bank import load_bank
from imagebind_llm.skills.generation.contract import Generator
from imagebind_llm.skills.generation.contract import Settings as Drawing
from imagebind_llm.skills.generation.decoder.folder import WEIGHTS_FILE
from nano_lab.imagined.judge import judged
from nano_lab.imagined.judge_folder import TrainedJudge
from nano_lab.imagined.measure import Asked, draw, score
from nano_lab.imagined.sheet import Row
from nano_lab.imagined.solids import front_view, solid_of
from nano_lab.imagined.sounds import looked_up
from nano_lab.imagined.tasks import TASKS, gather
from nano_lab.world.concepts import UNCLEAR

SCHEMA = 1
PARTS = "parts"
"""Folder inside that of the results, for what is kept."""
_ASKED = "asked"
SOLIDS = ("digits from text, known wordings", "digits from speech", "digits from 3D shapes")
"""Tasks whose drawings are also made solid."""
_MOST_SOLIDS = 100
"""Of a task."""


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
        model_name: how the model was called, for the record.
        folder: where its weights lie.
        decoder: folder of the generator.
        items: about how many things of each task.
        seed: of what is chosen and derived, and of the noise.
        steps: of the drawing; None: the generator's own.
        guidance: of the drawing; None: the generator's own.
        progress: show bars, on terminals.
    """

    model_name: str
    folder: Path
    decoder: Path
    items: int = 200
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    progress: bool = True

    def facts(self) -> dict[str, Any]:
        """Those that change results."""
        return {"items": self.items, "seed": self.seed, "steps": self.steps, "guidance": self.guidance}


@dataclass(frozen=True)
class Measured:
    """``results`` as plain values for JSON, and the drawings as ``rows`` of a sheet."""

    results: dict[str, Any]
    rows: list[Row]


def measure_imagined(
    bot: Assistant,
    generator: Generator,
    judge: TrainedJudge,
    data: Path,
    out: Path,
    settings: Settings,
) -> Measured:
    """Measure everything; embeddings and drawings are kept in ``out/parts``.

    Raises:
        UserError: the data cannot be read, or ``out`` belongs to another measurement.
    """
    facts = model_facts(bot, settings.model_name, settings.folder)
    weights = sha256(settings.decoder / WEIGHTS_FILE)
    identity = {
        "schema": SCHEMA,
        "task": "imagine",
        "weights": facts["weights_sha256"],
        "cache": f"{facts['cache_pictures']} pictures, {facts['cache']}",
        "generator": weights,
        "data": str(data.resolve()),
        **settings.facts(),
    }
    busy = f"{str(out)!r} is in use by another measurement; wait, or use another folder"
    with work_folder(out / PARTS, identity, busy=busy, begun="measured") as work:
        asked = _kept_asked(work, bot, generator, data, settings)
        drawings = _kept_drawings(work, asked, generator, settings)
    seen = {name: judged(judge.judge, pixels) for name, pixels in drawings.items()}
    rows = [Row(name, drawings[name], asked[name].labels, seen[name]) for name in drawings]
    tasks = [
        {
            "name": task.name,
            "kind": task.kind,
            **(found := score(asked[task.name].labels, seen[task.name], settings.seed)),
            "target": task.target,
            "met": None if task.target is None else found["right"]["accuracy"] >= task.target,
        }
        for task in TASKS
        if task.name in asked
    ]
    bank = load_bank(settings.decoder, bot.model.config.embedding_dim)
    solids, views = _solids(judge, asked, drawings, settings.seed)
    results = {
        "schema": SCHEMA,
        "task": "imagine",
        "model": facts,
        "generator": {**generator.about, "weights_sha256": weights},
        "judge": judge.accuracy,
        "settings": settings.facts(),
        "tasks": tasks,
        "solids": solids,
        "sounds": None if bank is None else looked_up(bank, asked, settings.seed),
        "environment": environment(),
    }
    return Measured(results, rows + views)


def _kept_asked(
    work: WorkFolder, bot: Assistant, generator: Generator, data: Path, settings: Settings
) -> dict[str, Asked]:
    """What is asked for, of an earlier run or made now."""
    name = f"{_ASKED}.safetensors"
    found = work.steps().get(_ASKED)
    if found is not None:
        tensors = load_file(work.path / name)
        return {
            task: Asked(tensors[f"{task}.rows"], tensors[f"{task}.labels"].numpy())
            for task in found[1]["tasks"]
        }
    with tqdm(unit="set", desc="embed", disable=None if settings.progress else True) as bar:
        asked = gather(bot, generator, data, settings.items, settings.seed, lambda: bar.update(1))
    tensors = {}
    for task, one in asked.items():
        tensors |= {
            f"{task}.rows": one.embeddings.contiguous(),
            f"{task}.labels": torch.from_numpy(one.labels),
        }
    _save(work, name, tensors)
    work.finish(_ASKED, (name,), {"tasks": list(asked)})
    return asked


def _kept_drawings(
    work: WorkFolder, asked: Mapping[str, Asked], generator: Generator, settings: Settings
) -> dict[str, np.ndarray]:
    """The drawings of each task, of an earlier run or made now."""
    done = work.steps()
    drawing = Drawing(1, settings.seed, settings.steps, settings.guidance)
    drawings = {}
    total = sum(len(one) for one in asked.values())
    with tqdm(total=total, unit="drawing", desc="draw", disable=None if settings.progress else True) as bar:
        for number, (task, one) in enumerate(asked.items()):
            step = f"drawings-{number:02d}"
            name = f"{step}.safetensors"
            if step in done:
                drawings[task] = load_file(work.path / name)["pixels"].numpy()
                bar.update(len(one))
                continue
            bar.set_postfix_str(task)
            drawings[task] = draw(one, generator, drawing, bar.update)
            _save(work, name, {"pixels": torch.from_numpy(drawings[task])})
            work.finish(step, (name,), {"task": task})
    return drawings


def _save(work: WorkFolder, name: str, tensors: dict[str, Tensor]) -> None:
    with atomic_write(work.path / name) as temporary:
        save_file(tensors, temporary)


def _solids(
    judge: TrainedJudge, asked: Mapping[str, Asked], drawings: Mapping[str, np.ndarray], seed: int
) -> tuple[list[dict[str, Any]], list[Row]]:
    """Drawn digits made solid, and their front views judged; a refused one counts as wrong."""
    found, rows = [], []
    for name in SOLIDS:
        if name not in drawings:
            continue
        pixels, labels = drawings[name], asked[name].labels
        chosen = np.sort(np.random.default_rng(seed).permutation(len(pixels))[:_MOST_SOLIDS])
        meshes = [solid_of(picture) for picture in pixels[chosen]]
        side = pixels.shape[1]
        views = np.stack(
            [
                np.zeros((side, side, 3), np.uint8) if mesh is None else front_view(mesh, side)
                for mesh in meshes
            ]
        )
        seen = judged(judge.judge, views)
        refused = np.array([mesh is None for mesh in meshes])
        seen[refused] = _NOTHING
        title = f"solids: {name}"
        found.append({"name": title, "refused": int(refused.sum()), **score(labels[chosen], seen, seed)})
        rows.append(Row(title, views, labels[chosen], seen))
    return found, rows


_NOTHING = UNCLEAR
"""What is seen in a solid that was refused: the concept "unclear", which is never asked for."""
