"""Which precision is chosen for whom, and what a change of precision leaves alone."""

from pathlib import Path

import pytest
import torch
from support.llm_folders import write_llm
from support.tiny import conditions, make_model, open_gates, tokens
from support.tiny_model import write_tiny_model

from imagebind_llm.common.errors import UserError
from imagebind_llm.inference import loading
from imagebind_llm.inference.loading import WIDE, automatic_dtype, choose_dtype, load_model
from imagebind_llm.model.adaptation import add_lora, merge_lora
from imagebind_llm.model.folding import FoldedLinear
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
from imagebind_llm.model.precision import cast_weights

CPU = torch.device("cpu")
BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32


@pytest.mark.parametrize(
    ("device", "fast", "width", "expected"),
    [
        ("cuda", True, 192, BF16), ("cuda", True, None, BF16), ("cuda", False, 4096, FP16),
        ("cpu", True, WIDE, BF16), ("cpu", True, 4096, BF16), ("cpu", True, WIDE - 1, FP32),
        ("cpu", True, None, FP32), ("cpu", False, 4096, FP32), ("mps", True, 4096, FP32),
    ],
)  # fmt: skip
def test_the_rule(device, fast, width, expected):
    assert automatic_dtype(device, fast, width) is expected


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16", None])
@pytest.mark.parametrize("source", ["torch", "cpuinfo"])
def test_the_processor_says_what_it_can(flag, source, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    if source == "torch":
        found = {"avx512_bf16": False, "amx_bf16": False, "architecture": "x86_64"}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found | {flag: True}, raising=False)
    else:
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
        monkeypatch.setattr(Path, "read_text", lambda self: f"flags : fpu avx2 {flag or 'avx512f'} sse")
    assert loading.has_fast_bfloat16(CPU) == (flag is not None)
    assert choose_dtype("auto", CPU, 4096) is (BF16 if flag else FP32)


def test_a_choice_is_a_choice(monkeypatch):
    monkeypatch.setattr(loading, "has_fast_bfloat16", lambda device: True)
    assert choose_dtype("float32", CPU, 4096) is FP32
    assert choose_dtype(FP16, CPU, 4096) is FP16
    with pytest.raises(UserError, match="unknown dtype 'half'; use auto, float32"):
        choose_dtype("half", CPU)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@torch.no_grad()
def test_only_a_wide_language_model_is_in_bfloat16(folder, monkeypatch):
    monkeypatch.setattr(loading, "has_fast_bfloat16", lambda device: True)
    narrow = load_model(folder, CPU, "auto")
    assert {parameter.dtype for parameter in narrow.parameters()} == {FP32}
    monkeypatch.setattr(loading, "WIDE", 16)
    wide = load_model(folder, CPU, "auto")
    assert {parameter.dtype for parameter in wide.language_model.parameters()} == {BF16}
    for part in (wide.bind, wide.injection, wide.encoder):
        assert {parameter.dtype for parameter in part.parameters()} == {FP32}
    chosen = load_model(folder, CPU, FP32)
    assert {parameter.dtype for parameter in chosen.parameters()} == {FP32}
    seen = torch.nn.functional.normalize(torch.randn(2, wide.config.embedding_dim), dim=-1)
    deltas = wide.condition_deltas(seen)
    assert deltas.tensor.dtype is BF16  # cast once, not in every step
    ids = torch.randint(3, 200, (2, 12))
    found, true = wide(ids, deltas=deltas).logits.float(), narrow(ids, conditions=seen).logits
    assert float((found - true).norm() / true.norm()) < 0.03
    assert float((found - narrow(ids, conditions=-seen).logits).norm() / true.norm()) > 0.1
    out = wide.generate(ids, conditions=seen, max_new_tokens=3, do_sample=False)
    assert out.shape[1] > 12


def test_deltas_keep_their_precision_where_gradients_are_recorded():
    model = open_gates(make_model())
    cast_weights(model.language_model, BF16)
    deltas = model.condition_deltas(conditions())
    assert deltas.tensor.dtype is FP32
    model(tokens(), deltas=deltas, labels=tokens()).loss.backward()
    assert model.bind.project.weight.grad.abs().sum() > 0


@torch.no_grad()
def test_rotary_frequencies_keep_theirs_and_folded_copies_follow():
    model = open_gates(make_model("llama", "value"))
    add_lora(model, rank=3)
    merge_lora(model)
    before = model.language_model.model.rotary_emb.inv_freq.clone()
    cast_weights(model.language_model, BF16)
    assert torch.equal(model.language_model.model.rotary_emb.inv_freq, before)
    folded = [module for module in model.modules() if isinstance(module, FoldedLinear)]
    assert {module.folded_weight.dtype for module in folded} == {BF16}
    assert model(tokens(), conditions=conditions()).logits.dtype is BF16


@torch.no_grad()
def test_an_adapter_in_bfloat16_keeps_its_rotary_frequencies(tmp_path):
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(write_llm(tmp_path / "base"))
    made = make_model_around(base, tmp_path / "base")
    made.save_pretrained(tmp_path / "adapter", adapter_only=True)
    found = ImageBindLLMForConditionalGeneration.from_pretrained(tmp_path / "adapter", dtype="bfloat16")
    assert {parameter.dtype for parameter in found.parameters()} == {BF16}
    assert torch.equal(found.language_model.model.rotary_emb.inv_freq, base.model.rotary_emb.inv_freq.float())


def make_model_around(base, folder):
    from imagebind_llm.model.configuration import ImageBindLLMConfig

    config = ImageBindLLMConfig(text_config=base.config, embedding_dim=28)
    config.base_models = {"language_model": {"id": str(folder), "revision": None}}
    return ImageBindLLMForConditionalGeneration(config, language_model=base).eval()
