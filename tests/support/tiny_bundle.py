"""A bundle as mini is one, with random weights: parts of the real classes in folders, what was trained on
them (an adapter with low-rank updates, and heads), and the model folder that they make together."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from imagebind_llm.checkpoints.parts.bundle import assemble
from imagebind_llm.checkpoints.parts.towers import write_heads
from imagebind_llm.encoders.towers.making import make_towers
from imagebind_llm.encoders.towers.recipe import new_encoder_of
from imagebind_llm.encoders.towers.weights import save_towers
from imagebind_llm.model.adaptation import add_lora, set_stage
from imagebind_llm.model.configuration import ImageBindLLMConfig
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
from imagebind_llm.model.processing import ImageBindLLMProcessor
from support.llm_folders import VOCABULARY
from support.tiny import language_model
from support.tiny_backbones import write_bert, write_efficientnet, write_point, write_whisper
from support.tiny_model import byte_tokenizer

PARTS = {
    "language_model": "smollm2-135m-instruct",
    "image": "efficientnet-lite2",
    "text": "all-minilm-l6-v2",
    "audio": "whisper-tiny.en",
}
"""Role → the name of its part, as the registry has them for mini."""


@dataclass(frozen=True)
class TinyBundle:
    """Where it lies.

    Attributes:
        folder: the whole model folder, which may be moved.
        parts: folder of the parts, each under its name.
        trained: folder of what was trained: ``adapter/`` and ``heads/``.
    """

    folder: Path
    parts: Path
    trained: Path


def write_tiny_bundle(root: Path, cache_rows: int = 0) -> TinyBundle:
    """Write it below ``root``.

    Args:
        cache_rows: pictures in the visual cache; 0: no cache.
    """
    parts, trained, folder = root / "parts", root / "trained", root / "model"
    places = {role: parts / name for role, name in PARTS.items()}
    base = language_model("llama", vocab_size=VOCABULARY, max_position_embeddings=1024)
    tokenizer = byte_tokenizer()
    base.generation_config.eos_token_id = tokenizer.eos_token_id
    base.save_pretrained(places["language_model"])
    tokenizer.save_pretrained(places["language_model"])
    write_efficientnet(places["image"])
    write_bert(places["text"])
    write_whisper(places["audio"])
    for role, place in places.items():
        (place / "source.json").write_text(json.dumps({"role": role}))
    recipe = {
        "towers": {
            "image": {"backbone": str(places["image"]), "head": {"kind": "none"}},
            "text": {"backbone": str(places["text"]), "head": {"kind": "mlp", "hidden": 20}},
            "audio": {
                "backbone": str(places["audio"]), "seconds": 1, "head": {"kind": "mlp", "hidden": 20}
            },
            "point": {"backbone": str(write_point(root / "point")), "head": {"kind": "linear"}},
        },
        "video": {"frames": 2},
    }  # fmt: skip
    torch.manual_seed(3)
    encoder, media = make_towers(new_encoder_of(recipe))
    save_towers(encoder, media, root / "encoder")
    config = ImageBindLLMConfig(
        text_config=base.config,
        embedding_dim=encoder.embedding_dim,
        encoder_config=encoder.settings,
        base_models={
            "language_model": {"id": str(places["language_model"]), "revision": None},
            "encoder": {"id": str(root / "encoder"), "revision": None},
        },
    )
    model = ImageBindLLMForConditionalGeneration(config, language_model=base, encoder=encoder).eval()
    add_lora(model, rank=2)
    set_stage(model, "finetune")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
        model.injection.gate.fill_(2.0)  # open, as training would have left it
    model.eval()
    model.save_pretrained(trained / "adapter", adapter_only=True)
    ImageBindLLMProcessor(tokenizer, media).save_pretrained(trained / "adapter")
    if cache_rows:
        write_cache(trained / "adapter" / "cache", model, cache_rows)
    write_heads(root / "encoder", [role for role in PARTS if role != "language_model"], trained / "heads")
    folder.mkdir()
    assemble(places, trained, folder)
    return TinyBundle(folder, parts, trained)


def write_cache(folder: Path, model: ImageBindLLMForConditionalGeneration, rows: int) -> None:
    """A visual cache of random vectors that the model's encoder is said to have made."""
    from imagebind_llm.cache import build_cache

    vectors = torch.randn(
        rows, model.config.embedding_dim, generator=torch.Generator().manual_seed(1)
    ).numpy()
    cache = build_cache(
        vectors,
        "exact",
        captions=[f"picture {number}" for number in range(rows)],
        encoder_fingerprint=model.encoder.fingerprint,
    )
    cache.save(folder)
