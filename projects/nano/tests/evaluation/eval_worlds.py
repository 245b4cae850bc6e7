"""A tiny world of one-hot embeddings, and who answers about it: an oracle, a guesser, a doubter."""

import dataclasses

import numpy as np
import torch

from imagebind_llm.common.modality import Modality
from nano_lab.evaluation.reference import means_of
from nano_lab.evaluation.run import Caps, Clock, Material, ask_everything
from nano_lab.evaluation.sets import SENSES, embedded
from nano_lab.grammar.words import en_noun
from nano_lab.world.concepts import CONCEPTS, UNCLEAR

SMALL = dataclasses.replace(
    Caps(), wordings=30, shuffled=200, kinds=20, mixtures=60, dialogs=40, text=20, strange=5
)
CLASSES = {"animal sounds": (12, 13, 15, 16), "3D shapes": (10, 11, 12, 18, 19)}
OBJECT_SENSES = ("photographs", "video photographs", *CLASSES)


class Oracle:
    """Sees the largest one or two entries of a condition, and knows the grammar's answers about them."""

    def __init__(self, cache=False):
        self._cache = cache

    @property
    def has_cache(self):
        return self._cache

    def embed(self, modality, tensors):
        return torch.stack(list(tensors))

    def enhance(self, conditions):
        return torch.nn.functional.normalize(conditions, dim=1)

    def uses_cache(self, modalities):
        return self._cache and Modality.AUDIO in modalities

    def answer(self, questions):
        return [self.answer_one(question) for question in questions]

    def answer_one(self, question):
        if question.conditions is None:
            return question.turn.answer if question.turn.concepts is None else "There is nothing here."
        seen = self.perceive(question.conditions[-1])
        if question.turn.concepts is None or seen == {int(c) for c in question.turn.concepts}:
            return question.turn.answer
        return name(seen)

    def perceive(self, condition):
        return {int(i) for i in torch.nonzero(condition > 0.2)[:, 0]}


class Guesser(Oracle):
    """Names any concept, whatever it sees."""

    def __init__(self):
        super().__init__()
        self._rng = np.random.default_rng(0)

    def answer_one(self, question):
        return name({int(self._rng.integers(UNCLEAR))})


class Doubter(Oracle):
    """Is never sure."""

    def answer_one(self, question):
        return "I am not sure what this is."


def name(concepts):
    """A sentence that names concepts."""
    if concepts == {UNCLEAR}:
        return "I am not sure what this is."
    return "It is " + " and ".join(en_noun(concept) for concept in sorted(concepts)) + "."


def tiny_material(model, each=80):
    """One-hot sets for every sense, and one of far-off input."""
    axes = torch.eye(len(CONCEPTS))
    rng = np.random.default_rng(3)
    known = {}
    for sense in SENSES:
        classes = CLASSES.get(sense.name, range(10, 20) if sense.name in OBJECT_SENSES else range(10))
        labels = rng.choice(np.array(list(classes)), each)
        known[sense.name] = embedded(model, sense.name, (sense.modality,), labels, axes[labels])
    unclear = np.full(20, UNCLEAR)
    unknown = {"image: noise": embedded(model, "image: noise", (Modality.IMAGE,), unclear, axes[unclear])}
    return Material(known, unknown, means_of(axes, np.arange(len(CONCEPTS)), "one-hot axes"))


def tiny_results(model, seed=0):
    """The parts of the results that come from answers."""
    return ask_everything(model, tiny_material(model), SMALL, seed, Clock(), progress=False)


def whole_results(model):
    """A results file without a real model."""
    return {
        "schema": 1,
        "task": "nano",
        "model": {
            "name": "nano",
            "stage": "finetune",
            "parameters": {"encoder": 7_000_001, "language_model": 3_000_000, "total": 10_000_001},
            "fingerprints": {"encoder": "00c0ffee00c0ffee", "language_model": "0badcafe0badcafe"},
            "weights_sha256": "ab" * 32,
            "cache": {"modalities": ["audio"], "mixtures": True, "k": 10, "temperature": 20.0, "weight": 0.5},
            "cache_pictures": 4321 if model.has_cache else None,
            "embedding_dim": 21,
        },
        "environment": {
            "versions": {"imagebind-llm": "0.1.0", "torch": "2.99"},
            "commit": "f00dfeed",
            "machine": "x86_64",
            "threads": 1,
        },
        "settings": {
            "seed": 17,
            "caps": dataclasses.asdict(SMALL),
            "batch_size": 64,
            "max_new_tokens": 32,
            "decoding": "greedy",
            "headline": {"language": "en", "phrasings": "heldout"},
        },
        **tiny_results(model),
        "seconds": {"test sets": 1.0, "single questions": 2.0},
    }
