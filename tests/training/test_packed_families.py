"""Packed rows teach what the same dialogs one by one teach: loss and gradients, in many families."""

from typing import Any

import numpy as np
import pytest
import torch
from support.tiny import VOCABULARY, D, language_model, open_gates

from imagebind_llm.data.packing import Example, PackedBatch, pack
from imagebind_llm.model.adaptation import add_biases, add_lora, set_stage, tune_norms
from imagebind_llm.model.configuration import ImageBindLLMConfig
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration, causal_loss
from imagebind_llm.training.align import Align
from imagebind_llm.training.stage import Stage

FAMILIES = ("llama", "qwen3", "gpt_neox")
_MIXED = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
WINDOWED: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": 4},
    "gemma2": {"sliding_window": 4, **_MIXED},
    "gemma3_text": {"sliding_window": 4, **_MIXED},
    "phi3": {"sliding_window": 4},
    "qwen2": {"use_sliding_window": True, "sliding_window": 4, **_MIXED},
    "qwen3": {"use_sliding_window": True, "sliding_window": 4, **_MIXED},
}
"""Families whose layers, or some of them, see no further back than a window, and how to set it."""


def model_of(family: str, style: str, **changes: Any) -> Any:
    base = language_model(family, **changes)
    config = ImageBindLLMConfig(
        text_config=base.config, embedding_dim=D, injection={"style": style, "query": True}
    )
    torch.manual_seed(3)
    model = open_gates(ImageBindLLMForConditionalGeneration(config, language_model=base).eval())
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
        loss_mask = [False, False] + [bool(rng.random() < 0.6) for _ in range(length - 3)] + [True]
        kinds = number % 3
        vectors = torch.from_numpy(rng.standard_normal((kinds, D)).astype(np.float32)) if kinds else None
        where = sorted(rng.integers(0, kinds, length - 2).tolist()) if kinds else [-1] * (length - 2)
        seen = [-1] * 2 + where
        found.append(Example(rng.integers(3, VOCABULARY, length).tolist(), loss_mask, seen, vectors))
    return found


def gradients(
    model: Any, batches: list[PackedBatch], mask: torch.Tensor | None = None
) -> tuple[float, dict[str, torch.Tensor]]:
    """Of the mean over all learnt tokens of all batches; ``mask`` is an attention mask."""
    model.zero_grad(set_to_none=True)
    total = sum(batch.learnt_tokens for batch in batches)
    loss = 0.0
    for batch in batches:
        logits = model(
            input_ids=batch.input_ids,
            attention_mask=mask,
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


def check_packed_is_unpacked(model: Any) -> None:
    dialogs = examples()
    packed = pack(dialogs, 40, 0)
    assert len(packed.segment_ids) < len(dialogs) / 2
    loss, found = gradients(model, [packed])
    # One by one, as the library sees an ordinary sequence: no mask, no positions of ours.
    singles = []
    for example in dialogs:
        single = pack([example], 40, 0)
        singles.append(single._replace(position_ids=None))  # type: ignore[arg-type]
    expected_loss, expected = gradients(model, singles)
    assert loss == pytest.approx(expected_loss, abs=1e-5)
    assert found.keys() == expected.keys()
    assert any("injection" in name for name in found)
    assert any("lora_A" in name for name in found)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4, msg=name)
    # A neighbour that could be seen would show.
    leaking = torch.ones_like(packed.input_ids)
    assert abs(gradients(model, [packed], leaking)[0] - loss) > 1e-3


@pytest.mark.parametrize("style", ["residual", "value"])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients(family: str, style: str) -> None:
    check_packed_is_unpacked(model_of(family, style))


@pytest.mark.parametrize("attention", [None, "eager"])
@pytest.mark.parametrize("family", WINDOWED)
def test_windows_hold_in_packed_rows(family: str, attention: str | None) -> None:
    model = model_of(family, "residual", **WINDOWED[family])
    if attention is not None:
        model.language_model.set_attn_implementation(attention)
    assert {4} == {model.language_model.config.sliding_window}
    check_packed_is_unpacked(model)


class Recomputing(Align):
    """A stage that only has a model."""

    def __init__(self, model: Any) -> None:
        Stage.__init__(self)
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
