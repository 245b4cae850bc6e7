"""Packed rows teach what the same dialogs one by one teach: loss and gradients, in three families."""

from typing import Any

import numpy as np
import pytest
import torch
from support.tiny import VOCABULARY, D, make_model, open_gates

from imagebind_llm.data.packing import Example, PackedBatch, pack
from imagebind_llm.model.adaptation import add_biases, add_lora, set_stage, tune_norms
from imagebind_llm.model.modeling import causal_loss
from imagebind_llm.training.condition_stage import ConditionStage

FAMILIES = ("llama", "qwen3", "gpt_neox")


def model_of(family: str, style: str) -> Any:
    torch.manual_seed(3)
    model = open_gates(make_model(family, style, injection={"query": True}))
    add_lora(model, rank=2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:  # zeros would hide the other half's gradient
                parameter.normal_(std=0.05)
    add_biases(model)
    tune_norms(model)
    set_stage(model, ("pretrain", "finetune"))
    return model.train()


def examples(count: int = 9) -> list[Example]:
    """Some with a condition, some with two, some with none."""
    rng = np.random.default_rng(4)
    found = []
    for number in range(count):
        length = int(rng.integers(4, 14))
        learnt = [False, False] + [bool(rng.random() < 0.6) for _ in range(length - 3)] + [True]
        kinds = number % 3
        vectors = torch.from_numpy(rng.standard_normal((kinds, D)).astype(np.float32)) if kinds else None
        where = sorted(rng.integers(0, kinds, length - 2).tolist()) if kinds else [-1] * (length - 2)
        seen = [-1] * 2 + where
        found.append(Example(rng.integers(3, VOCABULARY, length).tolist(), learnt, seen, vectors))
    return found


def gradients(model: Any, batches: list[PackedBatch]) -> tuple[float, dict[str, torch.Tensor]]:
    """Of the mean over all learnt tokens of all batches."""
    model.zero_grad(set_to_none=True)
    total = sum(batch.learnt_tokens for batch in batches)
    loss = 0.0
    for batch in batches:
        logits = model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            conditions=batch.conditions,
            condition_ids=batch.condition_ids,
            use_cache=False,
        ).logits
        part = causal_loss(logits, batch.labels) * (batch.learnt_tokens / total)
        part.backward()
        loss += float(part.detach())
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return loss, {name: gradient.clone() for name, gradient in found.items()}


@pytest.mark.parametrize("style", ["residual", "value"])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients(family: str, style: str) -> None:
    model, dialogs = model_of(family, style), examples()
    packed = pack(dialogs, 40, 0)
    assert len(packed.owner) < len(dialogs) / 2
    loss, found = gradients(model, [packed])
    # One by one, as the library sees an ordinary sequence: no mask, no positions of ours.
    singles = []
    for example in dialogs:
        single = pack([example], 40, 0)
        singles.append(
            single._replace(attention_mask=torch.ones_like(single.input_ids), position_ids=None)  # type: ignore[arg-type]
        )
    expected_loss, expected = gradients(model, singles)
    assert loss == pytest.approx(expected_loss, abs=1e-5)
    assert found.keys() == expected.keys()
    assert any("injection" in name for name in found)
    assert any("lora_A" in name for name in found)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4, msg=name)
    # A neighbour that could be seen would show.
    leaking = packed._replace(attention_mask=torch.ones_like(packed.attention_mask).tril())
    assert abs(gradients(model, [leaking])[0] - loss) > 1e-3


class Recomputing(ConditionStage):
    """A stage that only has a model."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model


@pytest.mark.parametrize("style", ["residual", "value"])
@pytest.mark.parametrize("family", FAMILIES)
def test_recomputed_activations_see_their_conditions(family: str, style: str) -> None:
    model, batch = model_of(family, style), pack(examples(), 40, 0)
    loss, expected = gradients(model, [batch])
    assert Recomputing(model).recompute_activations()
    calls = []
    layers = model.language_model.get_submodule("gpt_neox" if family == "gpt_neox" else "model").layers
    handle = layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    again, found = gradients(model, [batch])
    handle.remove()
    assert len(calls) == 2  # once forward, once for the backward pass
    assert again == pytest.approx(loss, abs=1e-6)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-5, msg=name)
