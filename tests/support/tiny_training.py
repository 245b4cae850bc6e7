"""A world small enough to train on in milliseconds: coloured squares, their names, and a "depth" of each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imagebind_llm.common.modality import Modality
from nano_lab.data.pool import ImagePool
from nano_lab.data.worlds import ModalityExamples

SIZE = 8
NAMES = ("red", "green", "blue", "nothing")

TOWER = {"trunk": {"width": 12, "blocks": 1, "heads": 2}}
ENCODER: dict[str, Any] = {
    "embedding_dim": 10,
    "vision": {
        "size": [SIZE, SIZE],
        "stem": {
            "channels": 8,
            "kernel": [2, 3, 3],
            "stride": [2, 2, 2],
            "padding": [0, 1, 1],
            "convs": [{"channels": 12, "pool": 2, "residual": True}],
        },
        "trunk": {"width": 12, "blocks": 1, "heads": 2, "drop_path": 0.1},
    },
    "text": {"vocabulary": 49408, "context": 12, "trunk": {"width": 8, "blocks": 1, "heads": 2}},
    "depth": {
        "size": [SIZE, SIZE],
        "stem": {
            "channels": 8,
            "kernel": [3, 3],
            "stride": [2, 2],
            "padding": [1, 1],
            "convs": [{"channels": 12, "pool": 2}],
        },
        "trunk": {"width": 12, "blocks": 1, "heads": 2},
    },
    "thermal": None,
    "audio": None,
    "imu": None,
    "point": None,
}


class TinyWorld:
    """Labels 0..2 are colours, 3 is nothing."""

    label_count = 4
    judged_labels = 3

    def images(self, split: str, limit: int | None = None) -> ImagePool:
        rng = np.random.default_rng(split == "test")
        labels = np.arange(40) % 4
        pixels = rng.integers(0, 60, (40, SIZE, SIZE, 3)).astype(np.uint8)
        for row, label in enumerate(labels):
            if label < 3:
                pixels[row, :, :, label] += 150
        return ImagePool(
            pixels, labels, {"colours": np.flatnonzero(labels < 3), "unclear": np.flatnonzero(labels == 3)}
        )

    def fresh(self, pool: ImagePool, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return pool.pixels[rows]

    def augment(
        self,
        pixels: np.ndarray,
        labels: np.ndarray,
        rng: np.random.Generator,
        clip_probability: float | None = None,
    ) -> torch.Tensor:
        noise = torch.from_numpy(rng.normal(0, 0.1, (len(pixels), 3, SIZE, SIZE)).astype(np.float32))
        images = self.plain(pixels) + noise
        return images if clip_probability is None else images[:, :, None].expand(-1, -1, 2, -1, -1)

    def plain(self, pixels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 128 - 1

    def captions(self, label: int, count: int, seed: int) -> Sequence[str]:
        return [f"a {NAMES[label]} square", f"it is {NAMES[label]}"][:count]

    def modality_batch(self, modality: Modality, rng: np.random.Generator, count: int) -> ModalityExamples:
        assert modality is Modality.DEPTH
        rows = rng.integers(0, 40, count)
        media = torch.from_numpy(rng.normal(0, 0.1, (count, 1, SIZE, SIZE)).astype(np.float32))
        media += torch.from_numpy((rows % 4).astype(np.float32))[:, None, None, None]
        return ModalityExamples(media, torch.from_numpy(rows % 4), torch.from_numpy(rows))

    def modality_test(self, modality: Modality, limit: int) -> ModalityExamples:
        return self.modality_batch(modality, np.random.default_rng(9), min(limit, 30))


def run_values(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "steps": 6,
        "batch_size": 8,
        "log_every": 1,
        "checkpoint_every": 0,
        "checkpoint_minutes": 0,
        "device": "cpu",
        **changes,
    }


OPTIMIZER: dict[str, Any] = {"lr": 3e-3, "warmup_steps": 2}


LANGUAGE_MODEL: dict[str, Any] = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
}
WORDS = [
    "what",
    "is",
    "this",
    "colour",
    "?",
    "it",
    "red",
    "green",
    "blue",
    "nothing",
    "both",
    "and",
    "a",
    "caption",
    "of",
    "image",
    "say",
    "twice",
    "<|pad|>",
    "<|bos|>",
    "<|end|>",
    "<|user|>",
    "<|assistant|>",
    "<|unknown|>",
]


def tokenizer() -> Any:
    """One token a word."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<|unknown|>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<|bos|>",
        eos_token="<|end|>",
        pad_token="<|pad|>",
        unk_token="<|unknown|>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
    )
    fast.chat_template = (
        "{{- bos_token -}}{%- for m in messages -%}{{- '<|' + m['role'] + '|>' + m['content'] + '<|end|>' -}}"
        "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
    )
    return fast


def turn(question: str, answer: str, *media: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": [*media, {"type": "text", "text": question}]},
        {"role": "assistant", "content": [{"type": "text", "text": answer}]},
    ]


class TinyDialogs:
    """Colours, asked for one by one, in mixtures, in a second turn, and in words."""

    kinds = ("text", "caption", "media")

    def dialog(
        self, kind: str, rng: np.random.Generator, split: str, row_of: Any = None, weight_range: float = 0.0
    ) -> list[dict[str, Any]]:
        first, second = (int(label) for label in rng.integers(0, 3, 2))
        if kind == "text":
            return turn(f"say {NAMES[first]}", NAMES[first]) + turn("twice", f"{NAMES[first]} {NAMES[first]}")
        if kind == "caption":
            return self.caption(rng, split, first, row_of(first))
        media = [{"type": "image", "image": row_of(label), "weight": 0.5} for label in (first, second)]
        if rng.random() < 0.5:
            return turn("what is both", f"{NAMES[first]} and {NAMES[second]}", *media)
        return turn("what is this", f"it is {NAMES[first]}", media[0]) + turn(
            "and this ?", f"it is {NAMES[second]}", media[1]
        )

    def caption(self, rng: np.random.Generator, split: str, label: int, row: int) -> list[dict[str, Any]]:
        return turn("caption of image", f"a {NAMES[label]} image", {"type": "image", "image": row})
