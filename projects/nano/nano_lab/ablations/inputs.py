"""What all variants start from: an encoder folder, a language model folder, and the two base recipes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.files import atomic_write
from imagebind_llm.common.folders import atomic_directory


@dataclass(frozen=True)
class Budget:
    """How much every variant is trained: optimizer steps, dialogs a step, and the pictures they draw from."""

    steps: int = 150
    batch_size: int = 48
    images: int = 20_000


@dataclass(frozen=True)
class Inputs:
    """Where the parts lie. ``model`` is the whole model on which the visual cache is tried."""

    data: Path
    model: Path
    encoder: Path
    language_model: Path
    exact_language_model: bool


def gather_inputs(
    data: Path, model: Path, encoder: Path | None, language_model: Path | None, out: Path
) -> Inputs:
    """The encoder and the language model: the folders given, or taken out of ``model`` into ``out``.

    Raises:
        CheckpointError: ``model`` has no encoder, or its weights do not fit.
    """
    if encoder is None:
        encoder = out / "encoder"
        if not encoder.is_dir():
            _extract_encoder(model, encoder)
    exact = language_model is not None
    if language_model is None:
        language_model = out / "language-model"
        if not language_model.is_dir():
            extract_language_model(model, language_model)
    return Inputs(data, model, encoder, language_model, exact)


def _extract_encoder(model: Path, folder: Path) -> None:
    from imagebind_llm.encoders.imagebind import ImageBindModel, save_imagebind
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

    encoder = ImageBindLLMForConditionalGeneration.from_pretrained(model).encoder
    if not isinstance(encoder, ImageBindModel):
        raise CheckpointError(f"{model} has no encoder; give one as --encoder")
    save_imagebind(encoder.float(), folder)


def extract_language_model(model: Path, folder: Path) -> None:
    """Write the language model inside a fine-tuned model folder: its weights without low-rank updates and
    added biases.

    These are stored apart, so what remains is the language model as it was before fine-tuning, but for the
    norms: if they were tuned, their old values are gone and the tuned ones are kept.

    Raises:
        CheckpointError: the weights left over are not those of such a language model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from imagebind_llm.model.adaptation import language_model_fingerprint
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
    from imagebind_llm.model.processing import ImageBindLLMProcessor

    whole = ImageBindLLMForConditionalGeneration.from_pretrained(model, dtype=torch.float32)
    plain = AutoModelForCausalLM.from_config(whole.config.text_config).float()
    expected, stored = plain.state_dict(), whole.language_model.state_dict()
    found = {name.replace(".base_layer.", "."): tensor for name, tensor in stored.items()}
    missing = [name for name in expected if name not in found]
    if missing:
        raise CheckpointError(f"{model} lacks {missing[0]} ({len(missing)} in all); copy the folder again")
    plain.load_state_dict({name: found[name] for name in expected})
    plain.generation_config = whole.generation_config
    before, after = language_model_fingerprint(whole.language_model), language_model_fingerprint(plain)
    if before != after:
        raise CheckpointError(f"the language model of {model} came out as {after} instead of {before}")
    with atomic_directory(folder) as temporary:
        plain.save_pretrained(temporary)
        ImageBindLLMProcessor.from_pretrained(model).tokenizer.save_pretrained(temporary)


def decoder_layers(language_model: Path) -> int:
    """How many decoder layers a language model folder declares.

    Raises:
        CheckpointError: its configuration cannot be read.
    """
    try:
        config = json.loads((language_model / "config.json").read_text(encoding="utf-8"))
        return int(config["num_hidden_layers"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{language_model}/config.json does not tell a language model ({error}); give its folder"
        ) from None


def write_recipes(inputs: Inputs, budget: Budget, out: Path) -> dict[str, Path]:
    """The recipes that all variants share, by stage, as files that ``imagebind-llm train`` takes.

    They are nano's own (learning rates, shares, noise), shortened to the budget.
    """
    shares = {"objects": 0.5, "digits": 0.4, "unclear": 0.1}
    data = {
        "root": str(inputs.data), "bank": str(out / "bank"), "views": 1, "shares": shares,
        "embedding_noise": 0.3, "limit": budget.images,
    }  # fmt: skip
    run = {
        "folder": "-", "steps": budget.steps, "batch_size": budget.batch_size, "threads": 1, "log_every": 1,
        "checkpoint_every": 0, "checkpoint_minutes": 2, "keep": 1,
    }  # fmt: skip
    optimizer: dict[str, Any] = {
        "lr": 2e-3, "betas": [0.9, 0.95], "warmup_steps": max(1, budget.steps // 12), "clip": 1.0,
    }  # fmt: skip
    shared = {"run": run, "data": data, "row_length": 256, "evaluate_items": 64}
    recipes = {
        "pretrain": {
            "stage": "nano.pretrain",
            "encoder": str(inputs.encoder),
            "language_model": str(inputs.language_model),
            "optimizer": {**optimizer, "weight_decay": 0.05},
            **shared,
        },
        "finetune": {
            "stage": "nano.finetune",
            "model": str(out / "pretrain" / "published" / "seed-0" / "export"),
            "optimizer": {**optimizer, "weight_decay": 0.02},
            **shared,
        },
    }
    written = {}
    for stage, values in recipes.items():
        written[stage] = out / f"{stage}.yaml"
        with atomic_write(written[stage]) as temporary:
            temporary.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return written
