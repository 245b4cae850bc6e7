"""What a report needs long for, kept in its folder: embedded test sets, and answers as they come."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from imagebind_llm.common.files import atomic_write
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.work_folder import WorkFolder
from nano_lab.evaluation.model import ModelUnderTest, Question
from nano_lab.evaluation.reference import ClassMeans
from nano_lab.evaluation.run import Material
from nano_lab.evaluation.sets import EmbeddedSet

_FILE, _STEP = "material.safetensors", "material"


class KeptModel:
    """A model that writes down what it answers, and need not be asked again after a run that was stopped.

    What is kept is the list of answers to a list of questions, since answers can depend, by rounding, on
    what they are answered together with.

    Args:
        model: who answers.
        folder: where answers are kept.
    """

    def __init__(self, model: ModelUnderTest, folder: WorkFolder) -> None:
        self._model, self._folder = model, folder
        self._kept = {
            step: facts["answers"] for step, (_, facts) in folder.steps().items() if "answers" in facts
        }

    @property
    def has_cache(self) -> bool:
        """See :class:`~nano_lab.evaluation.model.ModelUnderTest`, as for the methods."""
        return self._model.has_cache

    def embed(self, modality: Modality, tensors: Sequence[Tensor]) -> Tensor:
        """Not kept."""
        return self._model.embed(modality, tensors)

    def enhance(self, conditions: Tensor) -> Tensor:
        """Not kept."""
        return self._model.enhance(conditions)

    def uses_cache(self, modalities: Sequence[Modality]) -> bool:
        """As the model."""
        return self._model.uses_cache(modalities)

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """Answers, in order; those of an earlier run to the same questions about the same conditions."""
        step = f"answers-{_digest(questions)}"
        if step not in self._kept:
            self._kept[step] = self._model.answer(questions)
            self._folder.finish(step, (), {"answers": self._kept[step]})
        return list(self._kept[step])


def _digest(questions: Sequence[Question]) -> str:
    digest = hashlib.sha256()
    for question in questions:
        digest.update(json.dumps(question.messages, ensure_ascii=False).encode() + b"\n")
        if question.conditions is not None:
            digest.update(question.conditions.contiguous().numpy().tobytes() + b"\n")
    return digest.hexdigest()[:32]


def kept_material(folder: WorkFolder, gather: Callable[[], Material]) -> Material:
    """The embedded test sets of an earlier run, or those that ``gather`` makes now."""
    found = folder.steps().get(_STEP)
    if found is not None:
        return _unpacked(load_file(folder.path / _FILE), found[1])
    material = gather()
    tensors, facts = _packed(material)
    with atomic_write(folder.path / _FILE) as temporary:
        save_file(tensors, temporary)
    folder.finish(_STEP, (_FILE,), facts)
    return material


def _packed(material: Material) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors = {
        "means": material.means.means.contiguous(),
        "means.labels": torch.from_numpy(material.means.labels),
    }
    facts: dict[str, Any] = {"source": material.means.source, "known": [], "unknown": []}
    for part in ("known", "unknown"):
        sets: Mapping[str, EmbeddedSet] = getattr(material, part)
        for name, data in sets.items():
            facts[part].append({"name": name, "modality": data.modality.value, "default": data.default})
            tensors[f"{name}.labels"] = torch.from_numpy(data.labels)
            tensors[f"{name}.plain"] = data.plain.contiguous()
            if data.cached is not None:
                tensors[f"{name}.cached"] = data.cached.contiguous()
    return tensors, facts


def _unpacked(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Material:
    def sets(part: str) -> dict[str, EmbeddedSet]:
        return {
            row["name"]: EmbeddedSet(
                row["name"],
                Modality(row["modality"]),
                tensors[f"{row['name']}.labels"].numpy(),
                tensors[f"{row['name']}.plain"],
                tensors.get(f"{row['name']}.cached"),
                row["default"],
            )
            for row in facts[part]
        }

    means = ClassMeans(tensors["means"], tensors["means.labels"].numpy(), facts["source"])
    return Material(sets("known"), sets("unknown"), means)
