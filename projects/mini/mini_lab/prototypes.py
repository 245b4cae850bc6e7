"""ImageNet's classes as embeddings of pictures that need no pictures, with words to say of them.

    python -m mini_lab.prototypes --encoder runs/mini/heads/export --words data/words --out runs/mini/classes

A classifier scores class ``c`` of a feature ``f`` by ``w_c · f + b_c``. The encoder sees
``z = (f - mean) / std``, for which that is ``(w_c std) · z`` and a constant. So the direction ``w_c std``,
less its mean over the classes, which favours none, is where pictures of class ``c`` lie: its prototype. The
folder is one that ``imagebind-llm data embed`` could have written, a source of ``kind: embedded``.
"""

import argparse
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.data.embed.shard import DTYPE, ShardResult, Task
from imagebind_llm.data.embed.store import open_store
from imagebind_llm.encoders.registry import load_encoder
from imagebind_llm.encoders.towers.backbones.efficientnet_lite import EfficientNetLite
from imagebind_llm.encoders.towers.model import TowersEncoder

_SOURCE = "imagenet-classes"
_NAMING = (
    "What is this?",
    "What is in the picture?",
    "What do you see?",
    "Name the main thing in this picture.",
    "Which animal or object is this?",
)
_EXPLAINING = (
    "What is this, and what does that mean?",
    "Tell me about the thing in the picture.",
    "Explain what this is.",
)


def prototypes(encoder: TowersEncoder) -> Tensor:
    """``[classes, D]`` unit rows.

    Raises:
        UserError: the image tower is no classifier whose features are the joint space.
    """
    tower: Any = dict(encoder.towers.items()).get("image")
    backbone, head = getattr(tower, "backbone", None), getattr(tower, "head", None)
    if not isinstance(backbone, EfficientNetLite) or head is None or head.settings.kind != "none":
        raise UserError("the encoder's image tower is no EfficientNet-lite with a head of kind none")
    weight = backbone._fc.weight.detach().float()
    weight = weight - weight.mean(0)
    found: Tensor = F.normalize(weight * head.std if head.settings.standardise else weight, dim=-1)
    return found


def with_article(name: str) -> str:
    """``a tench``, ``an otter``."""
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def dialogs(classes: Sequence[Mapping[str, Any]], seed: int) -> Iterator[tuple[int, str, str]]:
    """For each class its number, a question and an answer: three of naming it, one of explaining it."""
    rng = random.Random(seed)
    for one in classes:
        name = one["names"][0]
        above = one["more_general"][0]["names"][0] if one["more_general"] else None
        answers = [f"It is {with_article(name)}.", f"This is {with_article(name)}.", f"{with_article(name)}."]
        if above:
            answers.append(f"It is {with_article(name)}, a kind of {above}.")
        for answer in rng.sample(answers, 3):
            yield one["index"], rng.choice(_NAMING), answer[0].upper() + answer[1:]
        yield (
            one["index"],
            rng.choice(_EXPLAINING),
            f"It is {with_article(name)}: {one['gloss']}.",
        )


def write(encoder_folder: Path, words: Path, out: Path, seed: int = 0) -> int:
    """Write the folder; returns how many dialogs it holds.

    Raises:
        UserError: the encoder has no classifier, or ``words`` does not hold its classes.
    """
    encoder: Any = load_encoder(encoder_folder)
    rows = prototypes(encoder)
    file = words / "classes.jsonl"
    if not file.is_file():
        raise UserError(f"there is no {str(file)!r}; fetch it: imagebind-llm data fetch imagenet-words")
    classes = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    if len(classes) != len(rows):
        raise UserError(f"{str(file)!r} holds {len(classes)} classes; the encoder has {len(rows)}")
    found = list(dialogs(classes, seed))
    lines = [
        json.dumps({"key": f"class-{number}", "messages": _messages(*dialog)}) + "\n"
        for number, dialog in enumerate(found)
    ]
    identity = {
        "encoder_fingerprint": str(encoder.fingerprint),
        "dim": int(encoder.embedding_dim),
        "dtype": np.dtype(DTYPE).name,
        "views": 1,
        "seed": seed,
        "sources": [{"name": _SOURCE, "kind": "prototypes"}],
    }
    with open_store(out, identity) as store:
        if not store.complete:
            task = Task(0, 0, 0, len(found))
            vectors = rows.numpy().astype(DTYPE)[None]
            store.write(ShardResult(task, _SOURCE, len(found), "".join(lines).encode(), vectors, []))
            store.finish()
    return len(found)


def _messages(place: int, question: str, answer: str) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": [{"type": "image", "image": place}, {"type": "text", "text": question}]},
        {"role": "assistant", "content": answer},
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m mini_lab.prototypes", description=__doc__)
    parser.add_argument("--encoder", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--words", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    given = parser.parse_args()
    write(given.encoder, given.words, given.out)


if __name__ == "__main__":
    main()
