"""What packing and precomputed embeddings are worth in training.

Stage 1 (captions) packed with precomputed image embeddings, against the plain way: every dialog padded to 96
tokens, every picture opened and encoded when its turn comes. A third way, padded but precomputed, tells the
two gains apart. Stage 2 (instructions) packed against padded to 512 tokens; the embeddings are precomputed in
both. All ways train the same model with the same optimizer on dialogs from the same grammar, and take turns.

    python benchmarks/training.py            a few minutes, one thread, as nano is trained
    python benchmarks/training.py --smoke    seconds

Pictures are drawn and weights random, so that no data is needed: time does not depend on either. The
plain way is not made slower than it must be: it uses our renderer and tokenizer with their memory of repeated
texts, our picture reader, encodes a batch at once without gradients, and computes the same loss (checked, see
the end).
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from feeding import LOSS_TOLERANCE, Trainer, Way, same_loss
from measuring import facts, interleaved, load_after, print_table, spread, verdict
from PIL import Image
from random_models import language_config, tokenizer
from torch import Tensor

from imagebind_llm.common.modality import Modality
from imagebind_llm.common.settings import build
from imagebind_llm.data.packing import Example
from imagebind_llm.encoders.imagebind import ImageBindConfig, ImageBindModel, save_imagebind
from imagebind_llm.media.image import load_image
from nano_lab.data.dialogs import NanoDialogs
from nano_lab.data.pool import ImagePool
from nano_lab.recipes import NanoFinetuneRecipe, NanoPretrainRecipe
from nano_lab.stages.align import finetune, pretrain
from nano_lab.world.augment import augment_images, plain_images
from nano_lab.world.concepts import CONCEPTS, DIGITS, UNCLEAR
from nano_lab.world.settings import nano_media_settings

STAGE_1_TARGET, STAGE_1_LENGTH = 10.0, 96
STAGE_2_TARGET, STAGE_2_LENGTH = 3.0, 512


class DrawnPictures:
    """A world of computed pictures: for each label a colour, with noise."""

    label_count = len(CONCEPTS)
    judged_labels = UNCLEAR

    def __init__(self, count: int) -> None:
        self._count = count

    def images(self, split: str, limit: int | None = None) -> ImagePool:
        rng = np.random.default_rng(split == "test")
        labels = np.arange(self._count) % len(CONCEPTS)
        pixels = rng.integers(0, 80, (self._count, 32, 32, 3))
        pixels += np.random.default_rng(2).integers(0, 170, (len(CONCEPTS), 1, 1, 3))[labels]
        domains = {
            "digits": np.flatnonzero(labels < len(DIGITS)),
            "objects": np.flatnonzero((labels >= len(DIGITS)) & (labels < UNCLEAR)),
            "unclear": np.flatnonzero(labels == UNCLEAR),
        }
        return ImagePool(pixels.astype(np.uint8), labels, domains)

    def augment(self, pixels: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Tensor:
        return augment_images(pixels, labels, rng)

    def plain(self, pixels: np.ndarray) -> Tensor:
        return plain_images(pixels)


def online(trainer: Trainer, files: list[bytes], length: int) -> Callable[[list[Example]], Tensor]:
    """The plain way of stage 1: open and encode the picture of each dialog, pad, forward."""
    rng = np.random.default_rng(3)
    settings = nano_media_settings().image
    encoder: Any = trainer.stage.model.encoder

    def loss(examples: list[Example]) -> Tensor:
        pictures = [load_image(files[rng.integers(len(files))], settings) for _ in examples]
        with torch.no_grad():
            conditions = encoder.encode(Modality.IMAGE, torch.stack(pictures))
        return trainer.padded_loss(examples, length, conditions)

    return loss


def stages(folder: Path, options: argparse.Namespace) -> tuple[Trainer, Trainer, float]:
    """The two stages over random weights, and the seconds of computing the embeddings of a picture once."""
    from transformers import AutoModelForCausalLM

    words = tokenizer()
    torch.manual_seed(0)
    save_imagebind(ImageBindModel(ImageBindConfig.nano()).eval(), folder / "encoder")
    language = AutoModelForCausalLM.from_config(
        language_config("nano", STAGE_2_LENGTH, vocab_size=len(words))
    )
    language.save_pretrained(folder / "language")
    words.save_pretrained(folder / "language")
    world: Any = DrawnPictures(options.pictures)

    def run(name: str) -> dict[str, Any]:
        return {"folder": str(folder / name), "steps": 1, "batch_size": options.batch, "device": "cpu"}

    shared = {
        "optimizer": {"lr": 1e-4},
        "data": {"root": "-", "bank": str(folder / "bank"), "views": 1, "embedding_noise": 0.3},
        "row_length": 256,
    }
    parts = {"encoder": str(folder / "encoder"), "language_model": str(folder / "language")}
    start = time.perf_counter()
    first = pretrain(
        build(NanoPretrainRecipe, {"run": run("1"), **shared, **parts}),
        world,
        NanoDialogs(),
        nano_media_settings(),
    )
    embedding = (time.perf_counter() - start) / (2 * options.pictures)  # a test bank is made as well
    first.export(folder / "pretrained")
    second = finetune(
        build(NanoFinetuneRecipe, {"run": run("2"), **shared, "model": str(folder / "pretrained")}),
        world,
        NanoDialogs(),
        nano_media_settings(),
    )
    return Trainer(first, options.batch), Trainer(second, options.batch), embedding


def compare(
    trainer: Trainer, ways: dict[str, Way], stage: str, options: argparse.Namespace
) -> list[list[str]]:
    """Rows of the table; the last way is the plain one."""
    seconds = interleaved(ways, options.rounds)
    *_, plain = ways
    rates = {}
    rows = []
    for name, way in ways.items():
        tokens = np.array(way.tokens[-options.rounds :])
        amount = tokens if stage == "2" else np.full(len(tokens), trainer.batch_size)
        rates[name] = amount / seconds[name].wall, amount / seconds[name].cpu
    for name, way in ways.items():
        ratio = rates[name][0] / rates[plain][0]
        cpu_ratio = float(np.median(rates[name][1]) / np.median(rates[plain][1]))
        target = STAGE_1_TARGET if stage == "1" else STAGE_2_TARGET
        rows.append(
            [stage, name, f"{np.mean(way.tokens) / trainer.batch_size:.1f}",
             spread(1000 * np.array(way.drawing[-options.rounds :]), 0), spread(1000 * seconds[name].wall, 0),
             f"{spread(rates[name][0], 1)} {'examples/s' if stage == '1' else 'tokens/s'}",
             spread(ratio), f"{cpu_ratio:.2f}",
             verdict(float(np.median(ratio)), target, at_most=False) if name == next(iter(ways)) else "–"]
        )  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Packed and precomputed training against the plain way.")
    parser.add_argument("--batch", type=int, default=64, help="dialogs per step")
    parser.add_argument("--rounds", type=int, default=12, help="steps of each way")
    parser.add_argument("--pictures", type=int, default=2048)
    parser.add_argument(
        "--side",
        type=int,
        default=32,
        help="of the pictures that the plain way reads: 32 as in nano's data sets",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="two small steps of each way")
    options = parser.parse_args()
    if options.smoke:
        options.batch, options.rounds, options.pictures = 8, 2, 42
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="training-") as name:
        first, second, embedding = stages(Path(name), options)
    files = []
    for pixels in first.stage.examples.images.pool.pixels:
        stream = io.BytesIO()
        picture = Image.fromarray(pixels)
        if options.side == len(pixels):
            picture.save(stream, "PNG")
        else:
            picture.resize((options.side, options.side)).save(stream, "JPEG")
        files.append(stream.getvalue())
    print(
        facts(
            f"nano's sizes, random weights, drawn pictures (read by the plain way from memory, "
            f"{options.side} pixels wide), "
            f"{options.batch} dialogs a step, {options.rounds} steps of each way in turns, float32, "
            f"{options.threads} thread(s)",
            f"computing the embeddings beforehand: {1000 * embedding:.1f} ms a picture, once, model building "
            "included; not counted below",
        )
    )
    rows = compare(
        first,
        {
            "packed, precomputed": Way(first, first.packed_loss, 0),
            "padded to 96, precomputed": Way(first, lambda e: first.padded_loss(e, STAGE_1_LENGTH), 0),
            "plain: padded to 96, online": Way(first, online(first, files, STAGE_1_LENGTH), 0),
        },
        "1",
        options,
    )
    rows += compare(
        second,
        {
            "packed": Way(second, second.packed_loss, 0),
            "plain: padded to 512": Way(second, lambda e: second.padded_loss(e, STAGE_2_LENGTH), 0),
        },
        "2",
        options,
    )
    print_table(
        ("stage", "way", "tokens/dialog", "ms to draw", "ms a step", "rate (no padding)", "ratio, paired",
         "CPU-time ratio", "target"),
        rows,
    )  # fmt: skip
    print_table(
        ("loss of the same dialogs", "difference packed − padded", "target"),
        [[f"stage {n}", f"{same_loss(t, length):.1e}", f"≤ {LOSS_TOLERANCE:g}: met"]
         for n, t, length in ((1, first, STAGE_1_LENGTH), (2, second, STAGE_2_LENGTH))],
    )  # fmt: skip
    print(load_after())


if __name__ == "__main__":
    main()
