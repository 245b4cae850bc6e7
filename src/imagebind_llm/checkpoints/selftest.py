"""Two seconds of real work: logits, an image drawn on the spot, an answer."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imagebind_llm.checkpoints.checks import Report
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality

_PART = "self-test"
_NEW_TOKENS = 8
_AGAIN = "get the encoder's weights again"


def self_test(report: Report, folder: Path, device: str = "auto") -> None:
    """Load the model and use it; what does not work is found."""
    from imagebind_llm.inference.assistant import Assistant

    started = time.perf_counter()
    try:
        bot = Assistant.from_pretrained(folder, device=device)
    except UserError as error:
        report.find(_PART, f"it does not load: {error}", "see the other findings")
        return
    loaded = time.perf_counter()
    facts: dict[str, Any] = {"load_seconds": round(loaded - started, 2)}
    _logits(report, bot.model, facts)
    try:
        _answer(report, bot, facts)
    except UserError as error:
        report.find(_PART, f"it does not answer: {error}", "see the other findings")
    facts["test_seconds"] = round(time.perf_counter() - loaded, 2)
    report.facts["self_test"] = facts


@torch.no_grad()
def _logits(report: Report, model: Any, facts: dict[str, Any]) -> None:
    """Text alone must be the plain language model bit for bit; a condition must be felt after training."""
    device = model.language_model.device
    generator = torch.Generator().manual_seed(0)
    rows = int(model.config.text_config.vocab_size)
    ids = torch.randint(rows, (1, 12), generator=generator).to(device)
    vector = torch.randn(1, model.config.embedding_dim, generator=generator)
    vector = torch.nn.functional.normalize(vector, dim=-1).to(device)
    plain = model.language_model(input_ids=ids).logits
    nothing = model(ids, conditions=vector, condition_ids=torch.full_like(ids, -1)).logits
    seen = model(ids, conditions=vector).logits
    facts["finite"] = bool(torch.isfinite(plain).all() and torch.isfinite(seen).all())
    facts["text_only_identical"] = bool(torch.equal(plain, nothing) and torch.equal(plain, model(ids).logits))
    facts["condition_changes_logits_by"] = float((seen - plain).abs().max())
    if not facts["finite"]:
        report.find(_PART, "logits are not finite", "use another --dtype, or get the weights again")
    if not facts["text_only_identical"]:
        report.find(
            _PART, "text alone does not give the plain language model's logits", "report this as a bug"
        )
    if model.config.stage != "base" and facts["condition_changes_logits_by"] == 0:
        report.find(
            _PART,
            f"media change nothing, though the stage is {model.config.stage!r}",
            "the gates are closed: train the model, or get its weights again",
        )


def _answer(report: Report, bot: Any, facts: dict[str, Any]) -> None:
    """Embed a medium that is made here, and let the model say something about it."""
    encoder = bot.model.encoder
    if encoder is None:
        report.notes.append("the model has no encoder: no medium was tried")
        return
    modality, medium = sample(encoder.modalities)
    vector = bot.embed(**{modality: medium})
    length = float(vector.norm())
    facts["medium"], facts["embedding_length"] = modality, round(length, 4)
    if not abs(length - 1) < 1e-2:
        report.find(_PART, f"a drawn {modality} has an embedding of length {length:.3g}, not 1", _AGAIN)
        return
    answer = bot.ask("What is this?", **{modality: medium}, max_new_tokens=_NEW_TOKENS)
    facts["answer"] = answer.text
    if not answer.text:
        report.notes.append(
            f"the answer is empty: the model wrote {answer.new_tokens} tokens of no text (untrained?)"
        )


def sample(modalities: frozenset[Modality]) -> tuple[str, Any]:
    """A modality of the encoder and a medium of it, made without a file."""
    if Modality.IMAGE in modalities:
        from PIL import Image

        x, y = np.meshgrid(np.arange(96), np.arange(96))
        picture = np.stack([2 * x, 2 * y, 255 - x - y], axis=-1).astype(np.uint8)
        return Modality.IMAGE.value, Image.fromarray(picture)
    if Modality.TEXT in modalities:
        return Modality.TEXT.value, "a photo of a cat"
    return Modality.POINT.value, np.random.default_rng(0).normal(size=(2048, 3)).astype(np.float32)


@torch.no_grad()
def try_encoder(report: Report, encoder: Any, reader: Any) -> None:
    """Embed a medium that is made here."""
    from imagebind_llm.media.base import Limits
    from imagebind_llm.media.reading import load_medium

    modality, medium = sample(encoder.modalities)
    parsed = Modality.parse(modality)
    batch = load_medium(reader, parsed, medium, Limits())[None]
    length = float(encoder.encode(parsed, batch).norm())
    report.facts["self_test"] = {"medium": modality, "embedding_length": round(length, 4)}
    if not abs(length - 1) < 1e-2:
        report.find(_PART, f"a drawn {modality} has an embedding of length {length:.3g}, not 1", _AGAIN)
