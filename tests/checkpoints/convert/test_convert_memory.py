"""Parts are read tensor by tensor, also where only their fingerprints are wanted."""

import weakref
from functools import partial

import pytest
import torch
from support import convert_worlds as world

from imagebind_llm.checkpoints.convert.imagebind import encoder_of
from imagebind_llm.checkpoints.convert.llama import on_model, open_llama, plan_llama
from imagebind_llm.checkpoints.convert.store import convert
from imagebind_llm.common.tensor_files import TensorFile, weights_of
from imagebind_llm.encoders.base import encoder_fingerprint_of
from imagebind_llm.model.adaptation import language_model_fingerprint_of

THREADS = 4
"""That take a fingerprint."""


class Held(torch.Tensor):
    """One that can be counted."""


@pytest.fixture
def most_alive(monkeypatch):
    """``most_alive(action)`` → how many tensors that were read from files lived at once in it."""
    alive, most, read = weakref.WeakSet(), [0], TensorFile.get

    def counted(self, key):
        values = read(self, key).as_subclass(Held)
        alive.add(values)
        most[0] = max(most[0], len(alive))
        return values

    def call(action):
        most[0] = 0
        with monkeypatch.context() as patched:
            patched.setattr(TensorFile, "get", counted)
            action()
        return most[0]

    return call


def test_an_encoders_fingerprint_holds_few_tensors(tmp_path, most_alive):
    from imagebind_llm.encoders.imagebind import imagebind_from_state_dict, load_imagebind, save_imagebind

    save_imagebind(imagebind_from_state_dict(world.tiny_config(), world.arrays("weights")), tmp_path / "e")
    found = []
    assert most_alive(lambda: found.append(encoder_of(str(tmp_path / "e")).fingerprint)) <= THREADS + 1
    settings = world.tiny_config().to_dict()
    digest = partial(encoder_fingerprint_of, settings)
    assert most_alive(lambda: found.append(digest(weights_of(tmp_path / "e")))) <= THREADS + 1
    assert found == [load_imagebind(tmp_path / "e").fingerprint] * 2


def test_a_language_models_fingerprint_holds_few_tensors(tmp_path, most_alive):
    from transformers import AutoModelForCausalLM

    from imagebind_llm.model.adaptation import language_model_fingerprint

    convert(plan_llama(world.write_llama(tmp_path / "in")), tmp_path / "base")
    base = open_llama(tmp_path / "base")
    found = []

    def action():
        found.append(language_model_fingerprint_of(base.source, on_model(base.config)))

    assert most_alive(action) <= THREADS + 1
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    assert found == [language_model_fingerprint(loaded)]
