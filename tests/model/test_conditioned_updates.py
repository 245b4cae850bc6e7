"""Low-rank updates that act only on tokens that see a condition."""

import threading

import pytest
import torch
from support.tiny import KINDS, conditions, make_model, open_gates, tokens
from torch.testing import assert_close

from imagebind_llm.checkpoints.export import merge_and_compare
from imagebind_llm.common.errors import CheckpointError, ConfigError, UserError
from imagebind_llm.common.settings import build
from imagebind_llm.model.adaptation import add_biases, add_lora, merge_lora, set_stage, tune_norms
from imagebind_llm.model.configuration import ImageBindLLMConfig
from imagebind_llm.model.families import decoder_layers
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
from imagebind_llm.serving.vllm.plain import check_supported
from imagebind_llm.training.settings import AdapterSettings

CLOSE = {"atol": 1e-5, "rtol": 1e-4}
STYLES = ("residual", "value", "tokens")


@torch.no_grad()
def adapted(kind="llama", style="residual", which="conditioned"):
    """A model whose updates do much."""
    model = open_gates(make_model(kind, style))
    add_lora(model, rank=3, scale=2.0, tokens=which)
    generator = torch.Generator().manual_seed(4)
    for name, parameter in sorted(model.language_model.named_parameters()):
        if "lora_" in name:
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


@torch.no_grad()
@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("style", STYLES)
def test_each_token_is_computed_by_what_it_sees(kind, style):
    plain, everywhere, model = (
        open_gates(make_model(kind, style)),
        adapted(kind, style, "all"),
        adapted(kind, style),
    )
    ids = tokens(rows=3)
    words_only = plain(ids).logits
    assert not torch.allclose(everywhere(ids).logits, words_only, atol=1e-2)
    assert torch.equal(model(ids).logits, words_only)  # bit for bit
    seen = torch.tensor([[0], [-1], [1]]).expand_as(ids)
    mixed = model(ids, conditions=conditions(), condition_ids=seen).logits
    expected = everywhere(ids, conditions=conditions(), condition_ids=seen).logits
    assert_close(mixed[[0, 2]], expected[[0, 2]], **CLOSE)
    assert torch.equal(mixed[1], words_only[1])
    # a dialog in which something is attached later: what was before it does not change
    later = seen.clone()
    later[:, :3] = -1
    found = model(ids, conditions=conditions(), condition_ids=later).logits
    assert_close(found[:, :3], words_only[:, :3], **CLOSE)
    assert not torch.allclose(found[0, 3:], words_only[0, 3:], atol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize("style", STYLES)
def test_generating_step_by_step_gives_what_one_pass_gives(style):
    model = adapted(style=style)
    model.generation_config.eos_token_id = None
    ids, seen = tokens(), torch.tensor([[0] * 7, [-1] * 7])
    seen[0, :2] = -1
    written = model.generate(
        ids, conditions=conditions(1), condition_ids=seen, max_new_tokens=6, do_sample=False, pad_token_id=0
    )
    seen = torch.cat((seen, seen[:, -1:].expand(-1, 6)), 1)
    whole = model(written, conditions=conditions(1), condition_ids=seen).logits
    assert torch.equal(whole[:, 6:-1].argmax(-1), written[:, 7:])


def gradients(model):
    loss = model(tokens(), labels=tokens(), conditions=conditions(1), condition_ids=_HALF).loss
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


_HALF = torch.tensor([[0] * 7, [-1] * 7])


@pytest.mark.parametrize(
    ("style", "how"),
    [*((style, "checkpointing") for style in STYLES), ("residual", "compiled"), ("value", "compiled")],
)
def test_recomputation_and_compilation_give_the_same_gradients(style, how):
    expected, model = adapted(style=style), adapted(style=style)
    for each in (expected, model):
        each.train()
        set_stage(each, ("pretrain", "finetune"))
    if how == "checkpointing":
        model.gradient_checkpointing_enable()
    else:
        torch.compiler.reset()
        for layer in decoder_layers(model.language_model):
            layer.compile(backend="aot_eager", dynamic=True)
    before = gradients(expected)
    assert any("lora_A" in name and bool(grad.abs().max() > 0) for name, grad in before.items())
    found = gradients(model)
    assert found.keys() == before.keys()
    for name, grad in found.items():
        assert_close(grad, before[name], **CLOSE)


def test_rows_without_a_condition_teach_the_updates_nothing():
    model = adapted()
    set_stage(model, "finetune")
    model.train()
    seen = torch.full_like(tokens(), -1)
    model(tokens(), labels=tokens(), conditions=conditions(), condition_ids=seen).loss.backward()
    found = [p.grad for p in model.language_model.parameters() if p.grad is not None]
    assert found
    assert not any(grad.any() for grad in found)


def test_threads_do_not_see_each_others_conditions():
    model, ids = adapted(), tokens(rows=2, length=24)
    with torch.no_grad():
        expected = [model(ids).logits, model(ids, conditions=conditions()).logits]
    wrong = []

    def ask(which):
        with torch.no_grad():
            for _ in range(60):
                found = model(ids, conditions=conditions()) if which else model(ids)
                if not torch.allclose(found.logits, expected[which], atol=1e-5):
                    wrong.append(which)

    threads = [threading.Thread(target=ask, args=(number % 2,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_saving_keeps_which_tokens_are_meant(tmp_path):
    model = adapted()
    model.save_pretrained(tmp_path / "whole")
    again = ImageBindLLMForConditionalGeneration.from_pretrained(tmp_path / "whole")
    assert again.config.lora["tokens"] == "conditioned"
    for given in ({}, {"conditions": conditions()}):
        assert torch.equal(again(tokens(), **given).logits, model(tokens(), **given).logits)


def test_updates_of_some_tokens_are_never_folded():
    model = adapted()
    with torch.no_grad():
        before = model(tokens(), conditions=conditions()).logits
        merge_lora(model)
        assert torch.equal(model(tokens(), conditions=conditions()).logits, before)
    assert model.config.lora is not None
    with pytest.raises(CheckpointError, match=r"only on tokens that see a condition.*--full"):
        merge_and_compare(model)
    with pytest.raises(ConfigError, match="cannot be folded"):
        decoder_layers(model.language_model)[0].self_attn.q_proj.merge()
    with pytest.raises(UserError, match="vLLM engine cannot"):
        check_supported(model)


@pytest.mark.parametrize("also", [{"norm_tuned": True}, {"bias_targets": ["mlp.up_proj"]}])
def test_what_acts_on_all_tokens_is_refused_beside_it(also):
    with pytest.raises(ConfigError, match="act on all"):
        ImageBindLLMConfig(lora={"tokens": "conditioned"}, **also)
    model = adapted()
    with pytest.raises(ConfigError, match="act on all"):
        tune_norms(model) if "norm_tuned" in also else add_biases(model)
    assert not model.config.norm_tuned
    assert not model.config.bias_targets
    with pytest.raises(ConfigError, match="tokens is 'some'; expected one of all, conditioned"):
        add_lora(make_model(), tokens="some")


@pytest.mark.parametrize(
    "more", [{}, {"biases": []}, {"norms": False}, {"biases": [], "norms": False, "rank": 0}]
)
def test_a_recipe_with_more_than_updates_is_refused(more):
    with pytest.raises(ConfigError, match="which only LoRA can be"):
        build(AdapterSettings, {"tokens": "conditioned", **more}, "adapters")
    fine = build(AdapterSettings, {"tokens": "conditioned", "biases": [], "norms": False}, "adapters")
    assert fine.tokens == "conditioned"
