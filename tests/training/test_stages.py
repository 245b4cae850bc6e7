"""What each stage trains, and that everything else stays bit for bit."""

import pytest
import torch
from support.tiny import D, conditions, make_model, tokens

from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.media.batch import MediaBatch, MediaPart
from imagebind_llm.model.adaptation import add_biases, add_lora, set_stage, trainable_parameters, tune_norms
from imagebind_llm.model.conditioning import mix


class Encoder(torch.nn.Module):
    """Projects flattened media; has dropout, so that leaving evaluation mode would show."""

    fingerprint = "f" * 16
    embedding_dim = D
    modalities = frozenset(Modality)

    def __init__(self):
        super().__init__()
        self.map = torch.nn.Linear(6, D)
        self.dropout = torch.nn.Dropout(0.5)

    def encode(self, modality, batch):
        return torch.nn.functional.normalize(self.dropout(self.map(batch.flatten(1))), dim=-1)


def prepared(style="residual", kind="llama"):
    torch.manual_seed(3)
    model = make_model(kind, style, injection={"query": True})
    add_lora(model, rank=3)
    add_biases(model)
    tune_norms(model)
    model.encoder = Encoder().requires_grad_(False)
    return model.train()


def step(model, optimizer, seed):
    ids = tokens(seed=seed)
    optimizer.zero_grad()
    model(ids, conditions=conditions(seed=seed + 50), labels=ids).loss.backward()
    optimizer.step()


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt_neox"])
@pytest.mark.parametrize("style", ["residual", "value", "tokens"])
@pytest.mark.parametrize("stage", ["pretrain", "finetune", "language"])
def test_two_steps(stage, style, kind):
    model = prepared(style, kind)
    if stage == "finetune":
        with torch.no_grad():
            model.injection.gate.fill_(0.5)
    trained = set_stage(model, stage)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    # validation first: what it computes must not reach training
    with torch.no_grad():
        model(tokens(), conditions=conditions())
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2)
    touched = set()
    for number in range(2):
        step(model, optimizer, number)
        touched |= {name for name, p in trained.items() if p.grad is not None and p.grad.any()}
    without = {
        name for name in trained if name.endswith("k_proj.bias")
    }  # adds the same to all scores of a row
    if stage == "language" and kind == "gpt_neox":
        without = set()
    assert touched | without == set(trained)
    for name, parameter in model.named_parameters():
        if name not in trained:
            assert parameter.grad is None, name
            assert torch.equal(parameter, before[name]), name
        elif name in touched:
            assert not torch.equal(parameter, before[name]), name


@pytest.mark.parametrize("style", ["residual", "value", "tokens"])
def test_step_zero_reaches_only_the_zero_halves(style):
    model = prepared(style)
    ids = tokens()
    set_stage(model, "pretrain")
    model(ids, conditions=conditions(), labels=ids).loss.backward()
    touched = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert touched == {"injection.gate"}
    model.zero_grad()
    set_stage(model, "finetune")
    model(ids, conditions=conditions(), labels=ids).loss.backward()
    touched = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert not any("lora_A" in name for name in touched)
    assert sum("lora_B" in name for name in touched) == 3 * 7


def test_names():
    model = prepared()
    pretrain = set(trainable_parameters(model, "pretrain"))
    parts = ("norm", "f1", "f2", "f3")
    assert pretrain == {
        "bind.project.weight",
        "bind.project.bias",
        "injection.gate",
        "injection.query",
        *(f"bind.blocks.{block}.{part}.weight" for block in range(3) for part in parts),
    }
    finetune = set(trainable_parameters(model, "finetune"))
    maps = {f"self_attn.{x}_proj" for x in "qkvo"} | {f"mlp.{x}_proj" for x in ("gate", "up", "down")}
    biased = maps - {"self_attn.k_proj", "self_attn.v_proj"}
    names = {"language_model.model.norm.weight"}
    for layer in range(3):
        at = f"language_model.model.layers.{layer}"
        names |= {f"{at}.{m}.lora_{half}.default.weight" for m in maps for half in "AB"}
        names |= {f"{at}.{m}.base_layer.bias" for m in biased}
        names |= {f"{at}.{norm}.weight" for norm in ("input_layernorm", "post_attention_layernorm")}
    assert finetune == names
    assert set(trainable_parameters(model, ("pretrain", "finetune"))) == pretrain | finetune
    set_stage(model, "finetune")
    assert {n for n, p in model.named_parameters() if p.requires_grad} == finetune
    assert model.config.stage == "finetune"


@pytest.mark.parametrize("style", ["residual", "value", "tokens"])
def test_preparing_for_finetuning_changes_nothing(style):
    from support.tiny import open_gates

    plain, ready = make_model("llama", style), make_model("llama", style)
    for model in (plain, ready):
        open_gates(model)
    add_biases(ready)
    add_lora(ready, rank=3)
    tune_norms(ready)
    assert torch.equal(ready(tokens()).logits, plain(tokens()).logits)
    difference = (
        ready(tokens(), conditions=conditions()).logits - plain(tokens(), conditions=conditions()).logits
    )
    assert difference.abs().max() < 1e-5


def test_nothing_to_finetune():
    model = make_model()
    with pytest.raises(ConfigError, match="nothing to finetune"):
        set_stage(model, "finetune")
    with pytest.raises(ConfigError, match="'later'"):
        set_stage(model, "later")
    with pytest.raises(ConfigError, match="no map 'self_attn"):
        add_lora(model, targets=["self_attn.z_proj"])
    add_lora(model, rank=2, targets=["self_attn.q_proj"])
    assert len(trainable_parameters(model, "finetune")) == 6
    with pytest.raises(ConfigError, match="already has"):
        add_lora(model)


def batch():
    image, other, audio = (torch.arange(6.0).view(1, 6) * scale for scale in (0.1, -0.2, 0.3))
    parts = [
        [MediaPart(Modality.IMAGE, image)],
        [MediaPart(Modality.IMAGE, other, 0.7), MediaPart(Modality.AUDIO, audio, -0.3)],
    ]
    return MediaBatch.collate(parts), torch.stack((image, other, audio))


def test_media_are_encoded_in_evaluation_mode_and_mixed():
    model = prepared()
    media, raw = batch()
    assert model.train().training
    assert not model.encoder.training
    found = model.embed_media(media)
    unit = model.encoder.encode(Modality.IMAGE, raw)
    expected = mix(unit, torch.tensor([1.0, 0.7, -0.3]), torch.tensor([0, 1, 1]), 2)
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad
    model.eval()
    assert torch.equal(model(tokens(), media=media).logits, model(tokens(), conditions=found).logits)
    model.encoder = None
    with pytest.raises(UserError, match="no encoder"):
        model(tokens(), media=media)


class Cache:
    """Records what it is asked and moves embeddings far away."""

    def __init__(self):
        self.asked = []

    def enhance(self, embeddings, k=0, temperature=0.0, weight=0.0):
        self.asked.append((len(embeddings), k, temperature, weight))
        return -embeddings


@pytest.mark.parametrize(
    ("options", "rows"),
    [({}, [1]), ({"enabled": True}, [0, 1]), ({"enabled": False}, []), ({"enabled": [True, False]}, [0])],
)
def test_cache_is_used_for_what_is_not_an_image(options, rows):
    from support.tiny import open_gates

    model = open_gates(prepared()).eval()
    media, _ = batch()
    cache = Cache()
    settings = {
        "input_ids": tokens(),
        "max_new_tokens": 4,
        "output_logits": True,
        "return_dict_in_generate": True,
    }
    found = model.generate(media=media, cache=cache, cache_options=options, **settings)
    moved = model.embed_media(media)
    moved[rows] = -moved[rows]
    expected = model.generate(conditions=moved, **settings)
    assert torch.equal(torch.stack(found.logits), torch.stack(expected.logits))
    assert cache.asked == ([(len(rows), 10, 20.0, 0.5)] if rows else [])


def test_cache_options():
    model = prepared().eval()
    cache = Cache()
    settings = {"input_ids": tokens(), "max_new_tokens": 1, "conditions": conditions(), "cache": cache}
    model.generate(**settings, cache_options={"k": 3, "temperature": 7.0, "weight": 0.25})
    assert cache.asked == [(2, 3, 7.0, 0.25)]
    with pytest.raises(ConfigError, match="unknown cache option 'blend'"):
        model.generate(**settings, cache_options={"blend": 1})
