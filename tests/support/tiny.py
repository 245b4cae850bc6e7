"""Tiny random models of every family, of sizes that cannot be mistaken for each other."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from imagebind_llm.model.configuration import ImageBindLLMConfig
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

D = 28
VOCABULARY = 50
_COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 40,
    "intermediate_size": 72,
    "num_hidden_layers": 3,
    "num_attention_heads": 5,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.2,
}
_GROUPED = {"num_key_value_heads": 1, "head_dim": 12}
KINDS = {
    "llama": _GROUPED,
    "mistral": {**_GROUPED, "sliding_window": None},
    "qwen2": {"num_key_value_heads": 5},
    "qwen3": _GROUPED,
    "gemma": _GROUPED,
    "gemma2": {**_GROUPED, "sliding_window": 32},
    "gemma3_text": {**_GROUPED, "sliding_window": 32},
    "phi": {},
    "phi3": {"num_key_value_heads": 1},
    "gpt_neox": {},
}
"""Family → sizes beyond the common ones. Qwen2, Phi and GPT-NeoX have biases on keys and values; Phi-3 and
GPT-NeoX stack queries, keys and values in one map; Phi and GPT-NeoX run attention and MLP side by side."""


def language_model(kind="llama", seed=5, **changes):
    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind, **{**_COMMON, **KINDS[kind], **changes})
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):  # zeros by default: a bias counted twice would not show
                parameter.normal_(std=0.2)
    return model


def make_model(kind="llama", style="residual", seed=5, **settings):
    base = language_model(kind, seed)
    if style == "tokens":  # the value style with several vectors a condition
        style, settings["bind"] = "value", {"tokens": 3, **settings.get("bind", {})}
    injection = {"style": style, **settings.pop("injection", {})}
    config = ImageBindLLMConfig(text_config=base.config, embedding_dim=D, injection=injection, **settings)
    return ImageBindLLMForConditionalGeneration(config, language_model=base).eval()


@torch.no_grad()
def open_gates(model, seed=9):
    generator = torch.Generator().manual_seed(seed)
    gate = model.injection.gate
    gate.copy_(torch.randn(gate.shape, generator=generator))
    return model


def tokens(rows=2, length=7, seed=1):
    return torch.randint(3, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


def conditions(count=2, seed=2):
    found = torch.randn(count, D, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(found, dim=-1)
