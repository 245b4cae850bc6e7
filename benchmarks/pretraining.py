"""What packing and precomputed embeddings are worth in stage 1 with an encoder of ImageBind's size.

As a user would do it: pictures and captions in a TSV file, embedded once by what ``imagebind-llm data
embed`` runs, then drawn and packed; against the plain way, which opens, augments and encodes each picture in
its turn and pads every caption to 96 tokens. Another, padded but precomputed, tells the two gains apart. The
way *published* is that of the original's loop: 4 captions a step in its Alpaca prompt, padded to 96 tokens,
pictures encoded in the loop, no attention mask, logits and loss at all positions. Ratios are to it.

    python benchmarks/pretraining.py                      ImageBind-Huge's image encoder: ten minutes, 8 GB
    python benchmarks/pretraining.py --template alpaca    the published prompt in our ways, too
    python benchmarks/pretraining.py --ways packed packed-bf16 published    these only
    python benchmarks/pretraining.py --smoke              seconds, nano's encoder and language model

Weights are random, pictures drawn, captions put together from a few words, 8 to 16 of them, a token each:
time depends on none of it but the number of tokens, which the table gives.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from feeding import LOSS_TOLERANCE, Trainer, Way, padded, same_loss
from measuring import facts, interleaved, load_after, print_table, spread, verdict
from PIL import Image
from random_models import language_config
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from imagebind_llm.common.settings import build
from imagebind_llm.data.embed.run import embed_sources
from imagebind_llm.data.embed.shard import Job
from imagebind_llm.data.packing import Example
from imagebind_llm.data.sources.base import SourceSettings
from imagebind_llm.encoders.imagebind import ImageBindConfig, ImageBindModel, save_imagebind
from imagebind_llm.media.batch import MediaBatch
from imagebind_llm.model.dialog import ALPACA_TEMPLATE
from imagebind_llm.training.recipe import STAGES
from imagebind_llm.training.registry import make_stage
from nano_lab.tokenizer import BOS, CHAT_TEMPLATE, END, PAD, SPECIAL_TOKENS

TARGET, LENGTH = 10.0, 96
PUBLISHED_BATCH = 4
WORDS = (
    "a the man woman dog cat horse train bus boat plane table street beach field kitchen red green blue "
    "white black large small old young sitting standing walking running holding looking next to on in under "
    "behind with two three people at of and near his her its"
)
OTHERS = ("audio", "text", "depth", "thermal", "imu", "point")


WAYS = {
    "packed": "packed, precomputed",
    "packed-bf16": "packed, precomputed, bfloat16",
    "padded": "padded to 96, precomputed",
    "plain": "plain: padded to 96, online",
    "published": "published: 4 a step, Alpaca, padded to 96, online",
}


def write_data(folder: Path, pictures: int) -> tuple[Path, list[str]]:
    """A TSV file and its JPEGs, 640 x 480 as COCO's are; and the captions."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    captions = []
    for number in range(pictures):
        coarse = rng.integers(0, 255, (12, 16, 3)).astype(np.uint8)
        Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg")
        captions.append(" ".join(rng.choice(WORDS.split(), rng.integers(8, 17))))
    lines = [f"{number}.jpg\t{caption}" for number, caption in enumerate(captions)]
    (folder / "captions.tsv").write_text("url\tcaption\n" + "\n".join(lines) + "\n")
    return folder / "captions.tsv", captions


def write_language_model(folder: Path, size: str, template: str, captions: list[str]) -> int:
    """A Llama of ``size`` and a tokenizer that knows the words; returns its parameters."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    words.train_from_iterator(
        [ALPACA_TEMPLATE, "Generate caption of this image", *captions] * 3,
        trainers.BpeTrainer(
            vocab_size=2000,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token=BOS, eos_token=END, pad_token=PAD, model_max_length=512
    )
    tokenizer.chat_template = CHAT_TEMPLATE if template == "chat" else ALPACA_TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(language_config(size))
    model.save_pretrained(folder)
    return int(model.num_parameters())


def online(trainer: Trainer) -> Callable[[list[Example]], Tensor]:
    """The plain way: encode the pictures of these dialogs (opened as they were drawn), pad, forward."""

    def loss(examples: list[Example]) -> Tensor:
        media = MediaBatch.collate([parts for example in examples for parts in example.media.values()])
        with torch.no_grad():
            conditions = trainer.stage.model.embed_media(media)
        return trainer.padded_loss(examples, LENGTH, conditions)

    return loss


def published(trainer: Trainer) -> Callable[[list[Example]], Tensor]:
    """The original's loop, with our modules: see the top of this file."""

    def loss(examples: list[Example]) -> Tensor:
        media = MediaBatch.collate([parts for example in examples for parts in example.media.values()])
        model = trainer.stage.model
        with torch.no_grad():
            conditions = model.embed_media(media)
        batch = padded(examples, LENGTH, trainer.pad)
        found: Tensor = model(
            input_ids=batch.input_ids, labels=batch.labels, conditions=conditions, use_cache=False
        ).loss
        return found

    return loss


def in_bfloat16(loss: Callable[[list[Example]], Tensor]) -> Callable[[list[Example]], Tensor]:
    """As with ``run.precision: bf16``."""

    def cast(examples: list[Example]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return loss(examples)

    return cast


def trainer_of(
    source: dict[str, Any], folder: Path, row_length: int, batch: int, language: str = "language"
) -> Trainer:
    values = {
        "run": {"folder": str(folder / "run"), "steps": 1, "batch_size": batch, "device": "cpu"},
        "optimizer": {"lr": 1e-4},
        "data": {"sources": [source], "max_tokens": LENGTH},
        "encoder": str(folder / "encoder"),
        "language_model": str(folder / language),
        "row_length": row_length,
    }
    return Trainer(make_stage(build(STAGES["pretrain"], values)), batch)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Stage 1, packed and precomputed, with an encoder of ImageBind's size."
    )
    parser.add_argument("--template", choices=["chat", "alpaca"], default="chat", help="of the dialogs")
    parser.add_argument(
        "--language", choices=["nano", "small", "mid"], default="mid", help="size of the Llama"
    )
    parser.add_argument("--encoder", choices=["nano", "huge"], default="huge", help="size of the encoder")
    parser.add_argument("--batch", type=int, default=8, help="captions per step")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each way")
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--row", type=int, default=256, help="length of a packed row in tokens")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), help="what to measure")
    parser.add_argument("--smoke", action="store_true", help="two steps of each way at nano's sizes")
    options = parser.parse_args()
    if options.smoke:
        options.batch, options.rounds, options.pictures, options.language = 4, 2, 6, "nano"
    torch.set_num_threads(options.threads)
    sizes = ImageBindConfig.nano() if options.smoke or options.encoder == "nano" else ImageBindConfig.huge()
    sizes = dataclasses.replace(sizes, **dict.fromkeys(OTHERS))
    with tempfile.TemporaryDirectory(prefix="pretraining-") as name:
        folder = Path(name)
        table, captions = write_data(folder / "data", options.pictures)
        encoder = ImageBindModel(sizes).eval()
        encoder_values = sum(parameter.numel() for parameter in encoder.parameters())
        save_imagebind(encoder, folder / "encoder")
        del encoder
        values = write_language_model(folder / "language", options.language, options.template, captions)
        tsv = SourceSettings("tsv", str(table))
        job = Job((tsv,), str(folder / "encoder"), views=1, batch_size=8, device="cpu")
        start = time.perf_counter()
        embed_sources(job, folder / "embedded", progress=False)
        embedding = (time.perf_counter() - start) / options.pictures
        packed = trainer_of(
            {"kind": "embedded", "path": str(folder / "embedded")}, folder, options.row, options.batch
        )
        plain = trainer_of({"kind": "tsv", "path": str(table)}, folder, LENGTH, options.batch)
        print(
            facts(
                f"image encoder {encoder_values / 1e6:.0f} M, language model {values / 1e6:.0f} M "
                f"parameters, random weights, {options.template} template, {options.batch} captions a step, "
                f"rows of {options.row}, {options.rounds} steps of each way in turns, float32, "
                f"{options.threads} thread(s)",
                f"embedding beforehand: {1000 * embedding:.0f} ms a picture, once, model loading included; "
                "not counted below",
            )
        )
        if options.template != "alpaca":
            write_language_model(folder / "alpaca", options.language, "alpaca", captions)
        theirs = trainer_of(
            {"kind": "tsv", "path": str(table)}, folder, LENGTH, PUBLISHED_BATCH,
            "language" if options.template == "alpaca" else "alpaca",
        )  # fmt: skip
        every = {
            "packed": Way(packed, packed.packed_loss, 0),
            "packed-bf16": Way(packed, in_bfloat16(packed.packed_loss), 0),
            "padded": Way(packed, lambda e: packed.padded_loss(e, LENGTH), 0),
            "plain": Way(plain, online(plain), 0),
            "published": Way(theirs, published(theirs), 0),
        }
        ways = {name: every[name] for name in WAYS if name in options.ways}
        seconds = interleaved(ways, options.rounds)
        sizes_of = {name: PUBLISHED_BATCH if name == "published" else options.batch for name in ways}
        base = next(name for name in ("published", "plain", *ways) if name in ways)
        rows = []
        for way, times in seconds.items():
            more = sizes_of[way] / sizes_of[base]
            ratio = more * seconds[base].wall / times.wall
            cpu = more * float(np.median(seconds[base].cpu) / np.median(times.cpu))
            rows.append(
                [WAYS[way], f"{np.mean(ways[way].tokens) / sizes_of[way]:.1f}", spread(1000 * times.wall, 0),
                 spread(sizes_of[way] / times.wall, 2), spread(ratio), f"{cpu:.2f}",
                 verdict(float(np.median(ratio)), TARGET, at_most=False) if way == "packed" else "–"]
            )  # fmt: skip
        print_table(
            (
                "way",
                "tokens/caption",
                "ms a step",
                "captions/s",
                f"ratio to {base}, paired",
                "CPU-time ratio",
                "target",
            ),
            rows,
        )
        print_table(
            ("loss of the same dialogs", "difference packed − padded", "target"),
            [["stage 1", f"{same_loss(packed, LENGTH):.1e}", f"≤ {LOSS_TOLERANCE:g}: met"]],
        )
    print(load_after())


if __name__ == "__main__":
    main()
