"""Parity with the reference on its own tiny weights (see tests/golden/llm_tiny).

Tolerances: the reference in float64 differs from itself in float32 by up to 1e-5 in logits (whose standard
deviation is 1.5); the rotary embedding of transformers adds as much. Token ids are exact.
"""

import pytest
import torch
from support import golden_llm as golden
from torch.testing import assert_close
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from imagebind_llm.checkpoints.convert.adapter import (
    adapter_from_original,
    adapter_layout,
    adapter_to_original,
)
from imagebind_llm.model.adaptation import set_stage
from imagebind_llm.model.bind import BindNetwork
from imagebind_llm.model.modeling import causal_loss

BRIDGE = {"atol": 1e-5, "rtol": 1e-5}
LOGITS = {"atol": 2e-4, "rtol": 0.0}


@pytest.fixture(scope="module")
def finetuned():
    return golden.full_model()


@pytest.fixture(scope="module")
def inputs():
    return golden.tensors("inputs")


@pytest.fixture(scope="module")
def expected():
    return golden.tensors("outputs")


def labels():
    found = golden.tensors("inputs")["train_labels"]
    return found.masked_fill(found == 0, -100)


def legacy_bind():
    state = golden.tensors("adapter_legacy_bridge")
    network = BindNetwork(32, 64, norm="layer")
    prefix = {"image_bind_proj": "project"}
    ours = {}
    for key, tensor in state.items():
        part, leaf = key.rsplit(".", 1)
        if part not in prefix:
            _, _, kind, number = part.split("_")
            prefix[part] = f"blocks.{int(number) - 1}.{kind}"
        ours[f"{prefix[part]}.{leaf}"] = tensor
    network.load_state_dict(ours, strict=True)
    return network


@torch.no_grad()
def test_bind_network(finetuned, inputs, expected):
    raw, unit = inputs["raw_embeddings"], inputs["bridge_unit_embeddings"]
    one_each = list(range(6))
    projected = finetuned.bind.project(golden.normalised(raw, [1.0] * 6, one_each))
    assert_close(projected, expected["bridge_proj_out"], **BRIDGE)
    for network, prefix in ((finetuned.bind, ""), (legacy_bind(), "legacy_")):
        for name, given in ((f"{prefix}bridge_output", unit), (f"{prefix}visual_from_raw", raw)):
            found = network(golden.normalised(given, [1.0] * 6, one_each))
            assert_close(found, expected[name][:, 0], **BRIDGE)


@torch.no_grad()
def test_mixing(finetuned, inputs, expected):
    mixed = golden.normalised(inputs["raw_embeddings"][:4], [1.0, 1.0, 0.5, 0.5], [0, 1, 0, 1])
    assert_close(mixed, expected["mixed_embedding"], atol=1e-6, rtol=1e-6)
    assert_close(finetuned.bind(mixed), expected["visual_mixed"][:, 0], **BRIDGE)


@torch.no_grad()
def test_base_language_model(inputs):
    logits = golden.base_model()(inputs["train_tokens"]).logits
    assert_close(logits, golden.tensors("base_outputs")["base_llama_logits"], **LOGITS)


@torch.no_grad()
@pytest.mark.parametrize("stage", ["finetune", "pretrain"])
def test_training_logits_and_loss(stage, inputs, expected):
    model = golden.full_model(stage)
    out = model(inputs["train_tokens"], conditions=golden.conditions([0, 1]), labels=labels())
    assert_close(out.logits, expected[f"train_logits_{stage}"], **LOGITS)
    assert_close(out.loss[None], expected[f"train_loss_{stage}"], atol=1e-5, rtol=0)


@torch.no_grad()
def test_another_image(finetuned, inputs, expected):
    out = finetuned(inputs["train_tokens"], conditions=golden.conditions([2, 3]))
    assert_close(out.logits, expected["train_logits_other_image"], **LOGITS)


@pytest.mark.parametrize("stage", ["finetune", "pretrain"])
def test_gradients(stage, inputs):
    model = golden.full_model(stage)
    trained = set_stage(model, stage)
    model(inputs["train_tokens"], conditions=golden.conditions([0, 1]), labels=labels()).loss.backward()
    found = {
        name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    assert set(found) == set(trained)
    # back to the reference's layout: gradients move with their weights (the map only reorders)
    everything = {name: torch.zeros_like(p) for name, p in model.named_parameters()} | found
    adapter = (
        golden.tensors("adapter") if stage == "finetune" else golden.pretrain_part(golden.tensors("adapter"))
    )
    layout = adapter_layout(adapter)
    ours = adapter_from_original(adapter, golden.shape())
    theirs = adapter_to_original({name: everything[name] for name in ours}, layout, golden.shape())
    expected = golden.tensors(f"grads_{stage}")
    assert len(expected) == {"finetune": 85, "pretrain": 19}[stage]
    for name, gradient in expected.items():
        assert_close(theirs[name], gradient, rtol=1e-3, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")
    for name in theirs.keys() - expected.keys():
        assert not theirs[name].any(), name


@torch.no_grad()
def test_prefill_and_decode(finetuned, inputs, expected):
    deltas = finetuned.condition_deltas(golden.conditions([0]))
    assert_close(finetuned.bind(golden.conditions([0])), expected["infer_visual_query"][0], **BRIDGE)
    out = finetuned(inputs["prompt0"][None], deltas=deltas, use_cache=True)
    assert_close(out.logits[:, -1], expected["infer_prefill_logits"], **LOGITS)
    for step, token in enumerate(inputs["decode_tokens"]):
        out = finetuned(token[None, None], deltas=deltas, past_key_values=out.past_key_values, use_cache=True)
        assert_close(out.logits[0, -1], expected["infer_step_logits"][step], **LOGITS)


def generate(model, prompt, condition, **kwargs):
    out = model.generate(
        input_ids=prompt[None],
        attention_mask=torch.ones_like(prompt)[None],
        conditions=condition,
        do_sample=False,
        max_new_tokens=16,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_logits=True,
        **kwargs,
    )
    return out.sequences[0, len(prompt) :].tolist(), torch.cat(out.logits)


@pytest.mark.parametrize("kind", ["plain", "mixed"])
@pytest.mark.parametrize("number", [0, 1])
def test_greedy(kind, number, finetuned, inputs, expected):
    raw = inputs["raw_embeddings"]
    if kind == "plain":
        condition = golden.conditions([number])
    else:
        condition = golden.normalised(raw[[number, number + 2]], [1.0, 0.5], [0, 0])
    ids, logits = generate(finetuned, inputs[f"prompt{number}"], condition, eos_token_id=2)
    assert ids == golden.facts("outputs")["generations"][f"{kind}_{number}"]
    assert_close(logits, expected[f"gen_{kind}_{number}_step_logits"], **LOGITS)


def test_early_end(finetuned, inputs):
    end = golden.facts("outputs")["early_eos_id"]
    ids, _ = generate(finetuned, inputs["prompt0"], golden.conditions([0]), eos_token_id=end)
    assert ids[-1] == end
    assert ids[:-1] == golden.facts("outputs")["generations"]["early_eos_0"]


def test_greedy_in_one_left_padded_batch(finetuned, inputs):
    prompts = [inputs["prompt0"], inputs["prompt1"]]
    length = max(map(len, prompts))
    ids = torch.zeros(2, length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, length - len(prompt) :] = prompt
        mask[row, length - len(prompt) :] = 1
    out = finetuned.generate(
        input_ids=ids,
        attention_mask=mask,
        conditions=golden.conditions([0, 1]),
        do_sample=False,
        max_new_tokens=16,
        pad_token_id=0,
        eos_token_id=None,
    )
    answers = golden.facts("outputs")["generations"]
    assert out[:, length:].tolist() == [answers["plain_0"], answers["plain_1"]]


@pytest.mark.parametrize(("temperature", "top_p"), [(0.1, 0.75), (1, 0.9)])
def test_sampling_filter(temperature, top_p, inputs, expected):
    logits = inputs["sampling_logits"]
    kept = TopPLogitsWarper(top_p)(None, TemperatureLogitsWarper(float(temperature))(None, logits))
    found = kept.softmax(-1).sort(-1, descending=True).values
    assert_close(found, expected[f"sampling_sorted_probs_T{temperature}_p{top_p}"], atol=1e-6, rtol=1e-5)


def test_loss_without_any_label_is_zero():
    assert causal_loss(torch.randn(2, 4, 9), torch.full((2, 4), -100)) == 0


# Negative controls: one rule broken at a time must be seen by the tests above.


@torch.no_grad()
def logit_error(model):
    logits = model(golden.tensors("inputs")["train_tokens"], conditions=golden.conditions([0, 1])).logits
    return float((logits - golden.tensors("outputs")["train_logits_finetune"]).abs().max())


def test_control_intact(finetuned):
    assert logit_error(finetuned) < 2e-4


@pytest.mark.parametrize("map_name", ["q_proj", "k_proj"])
def test_control_rotary_order_of_the_update(map_name):
    model = golden.full_model()
    theirs = {"q_proj": "wq", "k_proj": "wk"}[map_name]
    with torch.no_grad():
        for index, layer in enumerate(model.language_model.model.layers):
            unordered = golden.tensors("adapter")[f"llama.layers.{index}.attention.lora_{theirs}_l2.weight"]
            getattr(layer.self_attn, map_name).lora_B["default"].weight.copy_(unordered)
    assert logit_error(model) > 1e-2


def test_control_rotary_order_of_the_base():
    language_model = golden.base_model()
    with torch.no_grad():
        for index, layer in enumerate(language_model.model.layers):
            layer.self_attn.q_proj.weight.copy_(
                golden.tensors("llama_consolidated")[f"layers.{index}.attention.wq.weight"]
            )
    assert logit_error(golden.full_model(language_model=language_model)) > 1e-2


def test_control_one_gate_for_all_heads():
    model = golden.full_model()
    with torch.no_grad():
        gate = model.injection.gate
        gate.copy_(gate.mean(1, keepdim=True).expand_as(gate))
    assert logit_error(model) > 1e-2


def test_control_gate_without_tanh():
    model = golden.full_model()
    with torch.no_grad():
        model.injection.gate.copy_(torch.atanh(model.injection.gate.clamp(-0.99, 0.99)))
    assert logit_error(model) > 1e-2


def test_control_update_on_the_injected_values():
    model = golden.full_model()
    with torch.no_grad():
        clean = model.condition_deltas(golden.conditions([0, 1])).tensor.clone()
        for layer in model.language_model.model.layers:
            layer.self_attn.v_proj.merge()
            layer.self_attn.v_proj.merged = False  # value_weight would refuse to read it
        wrong = model.condition_deltas(golden.conditions([0, 1])).tensor
    assert float((wrong - clean).abs().max()) > 1e-2


def test_control_bias_counted_twice(finetuned):
    model = golden.full_model()
    deltas = model.condition_deltas(golden.conditions([0, 1]))
    biases = [layer.self_attn.o_proj.base_layer.bias for layer in model.language_model.model.layers]
    with torch.no_grad():
        twice = type(deltas)(deltas.tensor + torch.stack(biases)[:, None])
        tokens = golden.tensors("inputs")["train_tokens"]
        error = (model(tokens, deltas=twice).logits - model(tokens, deltas=deltas).logits).abs().max()
    assert float(error) > 1e-2
