"""The value projection's low-rank update in inference: folded for tokens, apart for conditions and files."""

import copy

import pytest
import torch
from support import golden_llm as golden
from support.tiny import KINDS, conditions, make_model, open_gates, tokens
from torch.testing import assert_close

from imagebind_llm.model.adaptation import (
    adapter_state_dict,
    add_lora,
    language_model_fingerprint,
    load_adapter_state_dict,
    merge_lora,
    set_stage,
)
from imagebind_llm.model.families import bare_projections, decoder_layers, family_of
from imagebind_llm.model.folding import FoldedLinear

CLOSE = {"atol": 1e-5, "rtol": 1e-4}


@torch.no_grad()
def adapted(kind="llama", style="value"):
    model = open_gates(make_model(kind, style))
    bare = bare_projections(family_of(kind), model.injection.style, model.bind.tokens)
    add_lora(model, rank=3, scale=2.0, targets=list(bare) or [family_of(kind).value])
    for name, parameter in model.language_model.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.3)
    return model


def folded_maps(model):
    return [module for module in model.language_model.modules() if isinstance(module, FoldedLinear)]


@torch.no_grad()
@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("style", ["value", "tokens"])
def test_logits_and_deltas_are_those_of_the_update_apart(kind, style):
    model = adapted(kind, style)
    before = model(tokens(), conditions=conditions()).logits
    deltas = model.condition_deltas(conditions()).tensor
    plain = model(tokens()).logits
    merge_lora(model)
    assert len(folded_maps(model)) == 3 * len(
        bare_projections(family_of(kind), model.injection.style, model.bind.tokens)
    )
    assert torch.equal(model.condition_deltas(conditions()).tensor, deltas)
    assert_close(model(tokens(), conditions=conditions()).logits, before, **CLOSE)
    for layer in decoder_layers(model.language_model):  # the update counts in what tokens compute
        layer.get_submodule(family_of(kind).value).folded_weight.copy_(
            layer.get_submodule(family_of(kind).value).base_layer.weight
        )
    assert not torch.allclose(model(tokens()).logits, plain, atol=1e-2)


@torch.no_grad()
def test_the_reference_is_met_with_all_updates_folded():
    model = golden.full_model()
    deltas = model.condition_deltas(golden.conditions([0, 1])).tensor
    merge_lora(model)
    assert len(folded_maps(model)) == len(model.language_model.model.layers)
    # the output projection's update is part of what is injected, and is rounded into its weight
    assert_close(model.condition_deltas(golden.conditions([0, 1])).tensor, deltas, atol=1e-5, rtol=1e-5)
    logits = model(golden.tensors("inputs")["train_tokens"], conditions=golden.conditions([0, 1])).logits
    assert_close(logits, golden.tensors("outputs")["train_logits_finetune"], atol=2e-4, rtol=0)


def test_what_is_saved_does_not_change():
    model = adapted()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adapter = {name: tensor.clone() for name, tensor in adapter_state_dict(model).items()}
    fingerprint = language_model_fingerprint(model.language_model)
    merge_lora(model)
    for before, after in ((state, model.state_dict()), (adapter, adapter_state_dict(model))):
        assert list(before) == list(after)
        assert all(torch.equal(before[name], after[name]) for name in before)
    assert language_model_fingerprint(model.language_model) == fingerprint


def test_training_gets_back_exactly_the_model_of_before():
    expected, model = adapted(), adapted()
    merge_lora(model)
    gradients = []
    for each in (expected, model):
        each.train()
        set_stage(each, "finetune")
        each(tokens(), conditions=conditions(), labels=tokens()).loss.backward()
        gradients.append({name: p.grad for name, p in each.named_parameters() if p.grad is not None})
    assert not folded_maps(model)
    assert gradients[0].keys() == gradients[1].keys()
    assert any("lora_B" in name for name in gradients[0])
    for name, gradient in gradients[0].items():
        assert torch.equal(gradients[1][name], gradient), name
    assert torch.equal(model(tokens()).logits, expected(tokens()).logits)


@pytest.mark.parametrize("way", ["load_state_dict", "load_adapter_state_dict", "set_stage"])
def test_changed_weights_are_never_answered_with_an_old_copy(way):
    model = adapted()
    merge_lora(model)
    changed = {name: tensor + 0.1 for name, tensor in adapter_state_dict(model).items()}
    if way == "load_state_dict":
        model.load_state_dict(changed, strict=False)
    elif way == "load_adapter_state_dict":
        load_adapter_state_dict(model, changed)
    else:
        set_stage(model, "finetune")
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in changed:
                    parameter.copy_(changed[name])
    expected = adapted()
    load_adapter_state_dict(expected, changed)
    with torch.no_grad():
        found = model(tokens(), conditions=conditions()).logits
        assert torch.equal(found, expected(tokens(), conditions=conditions()).logits)
    merge_lora(model)
    assert len(folded_maps(model)) == 3
    with torch.no_grad():
        assert_close(model(tokens(), conditions=conditions()).logits, found, **CLOSE)


@torch.no_grad()
def test_a_copy_and_another_precision_bring_their_own_weights():
    model = adapted()
    merge_lora(model)
    before = model(tokens(), conditions=conditions()).logits
    twin = copy.deepcopy(model)
    for layer in decoder_layers(twin.language_model):
        layer.self_attn.v_proj.folded_weight.zero_()
    assert torch.equal(model(tokens(), conditions=conditions()).logits, before)
    double = copy.deepcopy(model).double()
    assert double(tokens(), conditions=conditions().double()).logits.dtype == torch.float64


@torch.no_grad()
def test_without_the_update_on_request():
    model = adapted()
    merge_lora(model)
    bare = make_model("llama", "value")
    for module in folded_maps(model):
        module.enable_adapters(False)
    assert torch.equal(model(tokens()).logits, bare(tokens()).logits)
