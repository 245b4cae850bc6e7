"""The model in other people's hands: transformers' Trainer, and peft around it."""

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model, inject_adapter_in_model
from safetensors import safe_open
from support.tiny import VOCABULARY, conditions, make_model, open_gates, tokens
from transformers import Trainer, TrainingArguments

from imagebind_llm import ImageBindLLMForConditionalGeneration
from imagebind_llm.common.errors import ConfigError
from imagebind_llm.model.adaptation import (
    adapter_state_dict,
    add_biases,
    add_lora,
    merge_lora,
    set_stage,
    tuned_parameters,
)
from imagebind_llm.model.own_update import OwnLinear


class Examples(torch.utils.data.Dataset):
    """Rows that each see a condition of their own, without condition ids."""

    def __len__(self):
        return 8

    def __getitem__(self, number):
        ids = tokens(8)[number]
        return {"input_ids": ids, "labels": ids, "conditions": conditions(8)[number]}


def trainer(folder, **settings):
    model = make_model()
    set_stage(model, "pretrain")
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=4,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        learning_rate=1e-2,
        lr_scheduler_type="constant",
        **settings,
    )
    return Trainer(model=model, args=arguments, train_dataset=Examples(), eval_dataset=Examples())


def test_transformers_trainer_trains_evaluates_saves_and_resumes(tmp_path):
    whole = trainer(tmp_path / "whole", max_steps=4, save_steps=2)
    frozen = {name: p.clone() for name, p in whole.model.named_parameters() if not p.requires_grad}
    before = whole.evaluate()["eval_loss"]
    whole.train()
    assert whole.evaluate()["eval_loss"] < before
    assert whole.predict(Examples()).predictions.shape == (8, 7, VOCABULARY)
    assert bool((whole.model.injection.gate != 0).all())
    found = dict(whole.model.named_parameters())
    assert all(torch.equal(found[name], old) for name, old in frozen.items())

    again = trainer(tmp_path / "whole", max_steps=4)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    whole.save_model(str(tmp_path / "saved"))
    saved = ImageBindLLMForConditionalGeneration.from_pretrained(tmp_path / "saved")
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(saved.state_dict()[name], tensor), name
        assert torch.equal(again.model.state_dict()[name], tensor), name


@pytest.mark.parametrize("style", ["residual", "value"])
def test_peft_wraps_the_model(style):
    model = open_gates(make_model(style=style))
    ids, seen = tokens(), conditions()
    with torch.no_grad():
        expected = model(ids, conditions=seen).logits
        continued = model.generate(input_ids=ids, conditions=seen, max_new_tokens=4, eos_token_id=None)
    wrapped = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj", "o_proj"]))
    with torch.no_grad():  # updates start at 0
        assert torch.equal(wrapped(input_ids=ids, conditions=seen).logits, expected)
        same = wrapped.generate(input_ids=ids, conditions=seen, max_new_tokens=4, eos_token_id=None)
    assert torch.equal(same, continued)
    wrapped(input_ids=ids, labels=ids, conditions=seen).loss.backward()
    gradients = [p.grad for name, p in wrapped.named_parameters() if "lora_B" in name]
    assert len(gradients) == 9
    assert all(bool(gradient.any()) for gradient in gradients)


@torch.no_grad()
def adapted(style, **settings):
    """A finetuned model: its own low-rank update is not zero, and keys and queries have biases."""
    model = open_gates(make_model(style=style))
    add_lora(model, rank=3, scale=2.0, **settings)
    add_biases(model)
    fill(p for name, p in model.named_parameters() if "lora_B" in name)
    return model


@torch.no_grad()
def fill(parameters):
    generator = torch.Generator().manual_seed(3)
    for parameter in parameters:
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)


def adapters(wrapped):
    """The parameters of a user's adapter that learn."""
    return [parameter for parameter in wrapped.parameters() if parameter.requires_grad]


@torch.no_grad()
def logits(model):
    return model(input_ids=tokens(), conditions=conditions()).logits


TARGETS = pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["o_proj", "down_proj"], "all"])
STYLES = pytest.mark.parametrize("style", ["residual", "value", "tokens"])
CLOSE = {"atol": 2e-5, "rtol": 1e-4}


def lora(targets=("q_proj", "v_proj", "o_proj"), **settings):
    if targets == "all":
        targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return LoraConfig(r=4, target_modules=list(targets), **settings)


@STYLES
@TARGETS
def test_a_peft_adapter_lies_beside_the_models_own_update(style, targets):
    model = adapted(style)
    before, kept = logits(model), {n: t.clone() for n, t in adapter_state_dict(model).items()}
    wrapped = get_peft_model(model, lora(targets))
    assert torch.equal(logits(wrapped), before)
    training = {name for name, p in wrapped.named_parameters() if p.requires_grad}
    assert training
    own = {id(parameter) for parameter in tuned_parameters(model).values()}
    assert not any(id(p) in own for name, p in wrapped.named_parameters() if name in training)
    assert len(training) == 3 * len(lora(targets).target_modules) * 2
    wrapped.train()
    optimizer = torch.optim.SGD([p for p in wrapped.parameters() if p.requires_grad], lr=0.5)
    losses = []
    for _ in range(4):
        loss = wrapped(input_ids=tokens(), labels=tokens(), conditions=conditions()).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss))
    assert losses[-1] < losses[0]
    wrapped.eval()
    found = adapter_state_dict(model)
    assert all(torch.equal(found[name], value) for name, value in kept.items())
    with wrapped.disable_adapter():
        assert torch.allclose(logits(wrapped), before, **CLOSE)


@STYLES
@TARGETS
def test_a_peft_adapter_is_saved_alone_and_loaded(style, targets, tmp_path):
    model = adapted(style)
    before = logits(model)
    wrapped = get_peft_model(model, lora(targets))
    fill(adapters(wrapped))
    trained = logits(wrapped)
    assert not torch.allclose(trained, before, atol=1e-2)
    wrapped.save_pretrained(tmp_path)
    with safe_open(tmp_path / "adapter_model.safetensors", framework="pt") as file:
        count = 3 * len(lora(targets).target_modules) * 2
        assert len(file.keys()) == count
    again = PeftModel.from_pretrained(adapted(style), tmp_path)
    assert torch.equal(logits(again), trained)
    with pytest.raises(ConfigError, match="merge_and_unload"):
        model.save_pretrained(tmp_path / "whole")
    with pytest.raises(ConfigError, match="merge_and_unload"):
        merge_lora(model)


@STYLES
@TARGETS
@pytest.mark.parametrize("folded", [False, True])
def test_a_merged_peft_adapter_leaves_the_models_own_update(style, targets, folded, tmp_path):
    model = adapted(style)
    if folded:  # as Assistant loads it
        merge_lora(model)
    before, names = logits(model), set(model.state_dict())
    wrapped = get_peft_model(model, lora(targets))
    assert torch.allclose(logits(wrapped), before, **CLOSE)
    fill(adapters(wrapped))
    trained = logits(wrapped)
    wrapped.merge_adapter()
    assert torch.allclose(logits(wrapped), trained, **CLOSE)
    wrapped.unmerge_adapter()
    assert torch.allclose(logits(wrapped), trained, **CLOSE)
    merged = wrapped.merge_and_unload()
    assert merged is model
    assert torch.allclose(logits(merged), trained, **CLOSE)
    assert set(merged.state_dict()) == names
    merged.save_pretrained(tmp_path)
    loaded = ImageBindLLMForConditionalGeneration.from_pretrained(tmp_path)
    assert torch.allclose(logits(loaded), trained, **CLOSE)
    merge_lora(merged)
    assert torch.allclose(logits(merged), trained, **CLOSE)


@STYLES
def test_an_unloaded_peft_adapter_leaves_nothing(style):
    model = adapted(style)
    before, state = logits(model), {n: t.clone() for n, t in model.state_dict().items()}
    wrapped = get_peft_model(model, lora(), adapter_name="mine")
    wrapped.add_adapter("second", lora(["k_proj"]))
    fill(adapters(wrapped))
    mine = logits(wrapped)
    wrapped.set_adapter("second")
    fill(adapters(wrapped))
    second = logits(wrapped)
    wrapped.set_adapter("mine")
    assert torch.equal(logits(wrapped), mine)
    assert not torch.allclose(logits(wrapped), second, atol=1e-2)
    wrapped.delete_adapter("second")
    unloaded = wrapped.unload()
    assert torch.equal(logits(unloaded), before)
    found = unloaded.state_dict()
    assert set(found) == set(state)
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_a_language_model_with_peft_adapters_is_refused_for_low_rank_updates():
    model = make_model()
    get_peft_model(model.language_model, lora())
    with pytest.raises(ConfigError, match="merge_and_unload"):
        add_lora(model, rank=2)


def test_all_linear_would_take_the_insides_of_an_update_for_layers():
    with pytest.raises(ConfigError, match="name the layers"):
        get_peft_model(adapted("residual"), LoraConfig(r=4, target_modules="all-linear"))
    get_peft_model(make_model(), LoraConfig(r=4, target_modules="all-linear"))  # no update of its own


def test_a_fresh_update_is_the_one_that_peft_would_draw():
    base = torch.nn.Linear(6, 9)
    torch.manual_seed(3)
    ours = OwnLinear(base, rank=2, scale=1.5, dropout=0.0)
    after = torch.rand(3)
    torch.manual_seed(3)
    holder = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), base)
    torch.manual_seed(3)
    theirs = inject_adapter_in_model(LoraConfig(r=2, lora_alpha=3, target_modules=["1"]), holder)[1]
    assert torch.equal(torch.rand(3), after)
    assert torch.equal(ours.down, theirs.lora_A["default"].weight)
    with torch.no_grad():
        for layer in (ours.up, theirs.lora_B["default"].weight):
            layer.copy_(torch.arange(18.0).view(9, 2))
        states = torch.rand(4, 6)
        assert torch.equal(ours(states), theirs(states))
        for precision in (torch.float32, torch.bfloat16):
            ours.to(precision)
            theirs.to(precision)
            assert torch.equal(ours.delta(), theirs.get_delta_weight("default"))
