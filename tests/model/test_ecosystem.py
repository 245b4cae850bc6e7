"""The model in other people's hands: transformers' Trainer, and peft around it."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from support.tiny import VOCABULARY, conditions, make_model, open_gates, tokens
from transformers import Trainer, TrainingArguments

from imagebind_llm import ImageBindLLMForConditionalGeneration
from imagebind_llm.model.adaptation import set_stage


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
