"""Ready recipes and stages of every kind on the tiny world."""

from pathlib import Path
from typing import Any

from imagebind_llm.common.settings import build
from imagebind_llm.encoders.imagebind import save_imagebind
from imagebind_llm.media.settings import ImageSettings, MediaSettings
from imagebind_llm.training.loop import train
from imagebind_llm.training.registry import stage_kind
from imagebind_llm.training.stage import Stage
from imagebind_llm.training.towers import open_encoder
from nano_lab.stages.align import finetune, pretrain
from nano_lab.stages.bind_images import BindImages
from nano_lab.stages.bind_modality import BindModality
from nano_lab.stages.language import Language
from support.tiny_training import (
    ENCODER,
    LANGUAGE_MODEL,
    OPTIMIZER,
    SIZE,
    TinyDialogs,
    TinyWorld,
    run_values,
    tokenizer,
)

STAGES = {
    "images": "nano.bind",
    "depth": "nano.bind",
    "language": "language",
    "pretrain": "nano.pretrain",
    "finetune": "nano.finetune",
}
KINDS = tuple(STAGES)
SHARES = {"colours": 0.8, "unclear": 0.2}
MEDIA = MediaSettings(image=ImageSettings(size=SIZE))


def make(kind: str, folder: Path, inputs: Path, **changes: Any) -> tuple[Stage, Any]:
    """A fresh stage and its recipe; ``inputs`` holds (or gets) what earlier stages would have made."""
    values: dict[str, Any] = {
        "run": run_values(folder, **changes.pop("run", {})),
        "optimizer": OPTIMIZER | changes.pop("optimizer", {}),
    }
    align = {"root": "-", "bank": str(inputs / "bank"), "shares": SHARES, "embedding_noise": 0.1}
    match kind:
        case "images":
            values |= {
                "data": {"root": "-", "shares": SHARES},
                "modalities": ["image", "text"],
                "config": ENCODER,
                "captions": 6,
                "evaluate_items": 20,
            }
        case "depth":
            values |= {
                "data": {"root": "-"},
                "modalities": ["depth"],
                "encoder": str(encoder_folder(inputs)),
                "bank": str(inputs / "bank"),
                "bank_sample": 16,
            }
        case "language":
            values |= {
                "model": LANGUAGE_MODEL,
                "tokenizer": "-",
                "row_length": 48,
                "mixture": {"text": 1.0},
                "evaluate_items": 6,
            }
        case "pretrain":
            values |= {
                "data": align,
                "encoder": str(encoder_folder(inputs)),
                "language_model": str(language_folder(inputs)),
                "row_length": 48,
                "evaluate_items": 6,
            }
        case "finetune":
            values |= {
                "data": align,
                "model": str(pretrained_folder(inputs)),
                "adapters": {"rank": 2},
                "mixture": {"media": 0.6, "text": 0.2, "caption": 0.2},
                "row_length": 48,
                "evaluate_items": 6,
            }
    recipe = build(stage_kind(STAGES[kind]).recipe_class, values | changes)
    world, dialogs = TinyWorld(), TinyDialogs()
    stage: Stage
    match kind:
        case "images":
            stage = BindImages(recipe, world)
        case "depth":
            stage = BindModality(recipe, world)
        case "language":
            stage = Language(recipe, dialogs, tokenizer())
        case "pretrain":
            stage = pretrain(recipe, world, dialogs, MEDIA)
        case _:
            stage = finetune(recipe, world, dialogs, MEDIA)
    return stage, recipe


def encoder_folder(inputs: Path, seed: int = 1) -> Path:
    folder = inputs / "encoder"
    if not folder.exists():
        save_imagebind(open_encoder("new", ENCODER, seed=seed).eval(), folder)
    return folder


def language_folder(inputs: Path) -> Path:
    if not (inputs / "language" / "export").exists():
        train(*make("language", inputs / "language", inputs, run={"steps": 2}))
    return inputs / "language" / "export"


def pretrained_folder(inputs: Path) -> Path:
    if not (inputs / "pretrain" / "export").exists():
        train(*make("pretrain", inputs / "pretrain", inputs, run={"steps": 2}))
    return inputs / "pretrain" / "export"
