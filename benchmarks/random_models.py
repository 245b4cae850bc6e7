"""Models with random weights, for measurements that do not depend on what a model has learnt."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig, PreTrainedTokenizerBase
from transformers.utils import logging

from imagebind_llm import (
    ImageBindConfig,
    ImageBindLLMConfig,
    ImageBindLLMForConditionalGeneration,
    ImageBindLLMProcessor,
)
from imagebind_llm.model.adaptation import add_biases, add_lora
from nano_lab.tokenizer import train_tokenizer
from nano_lab.world.settings import nano_media_settings

logging.disable_progress_bar()

SIZES: dict[str, dict[str, Any]] = {
    "nano": {
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "vocab_size": 2048,
        "tie_word_embeddings": True,
    },
    "small": {
        "hidden_size": 512,
        "intermediate_size": 1408,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "vocab_size": 32000,
    },
    "base": {
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "vocab_size": 32000,
    },
    "mid": {
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_hidden_layers": 12,
        "num_attention_heads": 16,
        "vocab_size": 32000,
    },
    "large": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "vocab_size": 32000,
    },
}
"""Llamas: nano's, two between, and LLaMA-7B's (for a GPU)."""

_GATE = 0.1
"""Open gates: a trained model's order of magnitude."""


def tokenizer(corpus: int = 300) -> PreTrainedTokenizerBase:
    """Nano's tokenizer, learnt from a small part of its corpus (seconds instead of a minute)."""
    return train_tokenizer(corpus_size=corpus)


def language_config(size: str, context: int = 512, **changes: Any) -> LlamaConfig:
    """A Llama of one of :data:`SIZES`."""
    values = {"max_position_embeddings": context, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return LlamaConfig(**values | SIZES[size] | changes)


def whole_model(
    size: str,
    embedding_dim: int,
    encoder: ImageBindConfig | None = None,
    seed: int = 0,
    style: str = "residual",
    tokens: int = 1,
    encoder_tokens: int = 0,
    **changes: Any,
) -> ImageBindLLMForConditionalGeneration:
    """A model with open gates, in evaluation mode; ``changes`` are of the language model."""
    torch.manual_seed(seed)
    config = ImageBindLLMConfig(
        text_config=language_config(size, **changes),
        encoder_config=None if encoder is None else {"type": "imagebind", **encoder.to_dict()},
        embedding_dim=embedding_dim,
        bind={"tokens": tokens, "encoder_tokens": encoder_tokens},
        injection={"style": style},
        media=nano_media_settings().to_dict(),
    )
    model = ImageBindLLMForConditionalGeneration(config).eval()
    with torch.no_grad():
        model.injection.gate.fill_(_GATE)
    return model


def with_updates(model: ImageBindLLMForConditionalGeneration) -> ImageBindLLMForConditionalGeneration:
    """``model`` with low-rank updates of rank 16 that are not zero, as finetuning leaves them."""
    add_lora(model, rank=16)
    with torch.no_grad():
        for name, parameter in model.language_model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    return model.eval()


def published_model(size: str, embedding_dim: int) -> ImageBindLLMForConditionalGeneration:
    """A model built as the published one: style ``value``, low-rank updates and biases, none of them zero."""
    model = with_updates(whole_model(size, embedding_dim, style="value"))
    add_biases(model)
    with torch.no_grad():
        for name, parameter in model.language_model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.02)
    return model


def bare_language_model(model: ImageBindLLMForConditionalGeneration) -> Any:
    """A language model of its own, without any hook, that shares the weights of ``model``'s.

    Low-rank updates must be folded; where a folded copy exists, the bare model shares that.
    """
    base = AutoModelForCausalLM.from_config(model.config.text_config).eval()
    base.to(model.device, model.language_model.dtype)
    state = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in model.language_model.state_dict().items()
        if ".lora_" not in name
    }
    for name, buffer in model.language_model.named_buffers():
        if name.endswith(".folded_weight"):
            state[f"{name.removesuffix('folded_weight')}weight"] = buffer
    base.load_state_dict(state, assign=True)
    base.tie_weights()
    return base


def write_model(folder: Path, new_tokens: int, size: str = "nano") -> Path:
    """A whole folder with random weights, all of nano's encoders, no cache."""
    words = tokenizer()
    encoder = ImageBindConfig.nano()
    model = whole_model(size, encoder.embedding_dim, encoder, vocab_size=len(words))
    model.generation_config = GenerationConfig(
        max_new_tokens=new_tokens,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    model.save_pretrained(folder)
    ImageBindLLMProcessor(words, nano_media_settings()).save_pretrained(folder)
    return folder
