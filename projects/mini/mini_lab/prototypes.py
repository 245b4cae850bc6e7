"""ImageNet's classes as embeddings of pictures that need no pictures, with words to say of them.

    python -m mini_lab.prototypes --encoder runs/mini/heads/export --words data/words --out runs/mini/classes
    python -m mini_lab.prototypes … --what questions --out runs/mini/questions
    python -m mini_lab.prototypes … --what animals --out runs/mini/animals

A classifier scores class ``c`` of a feature ``f`` by ``w_c · f + b_c``. The encoder sees
``z = (f - mean) / std``, for which that is ``(w_c std) · z`` and a constant. So the direction ``w_c std``,
less its mean over the classes, which favours none, is where pictures of class ``c`` lie: its prototype. The
folder is one that ``imagebind-llm data embed`` could have written, a source of ``kind: embedded``.

``classes`` name and explain them, ``questions`` are answered by yes, no or one of two names, ``animals`` give
each class the name of the animal whose sound goes with it, or its own.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.encoders.registry import load_encoder
from imagebind_llm.encoders.towers.backbones.efficientnet_lite import EfficientNetLite
from imagebind_llm.encoders.towers.model import TowersEncoder
from imagebind_llm.training.build import exit_code
from mini_lab.class_words import naming, questions
from mini_lab.sounds import animals
from mini_lab.store import Dialog, line, write_store

DIALOGS: Mapping[str, Callable[[Sequence[Mapping[str, Any]], int], Iterator[Dialog]]] = {
    "classes": naming,
    "questions": questions,
    "animals": animals,
}


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


def read_classes(words: Path) -> list[dict[str, Any]]:
    """The classes with their words.

    Raises:
        UserError: they are not there.
    """
    file = words / "classes.jsonl"
    if not file.is_file():
        raise UserError(f"there is no {str(file)!r}; fetch it: imagebind-llm data fetch imagenet-words")
    return [json.loads(text) for text in file.read_text(encoding="utf-8").splitlines()]


def write(encoder_folder: Path, words: Path, out: Path, what: str = "classes", seed: int = 0) -> int:
    """Write the folder; returns how many dialogs it holds.

    Raises:
        UserError: the encoder has no classifier, or ``words`` does not hold its classes.
    """
    encoder: Any = load_encoder(encoder_folder)
    rows = prototypes(encoder)
    classes = read_classes(words)
    if len(classes) != len(rows):
        raise UserError(
            f"{str(words / 'classes.jsonl')!r} holds {len(classes)} classes; the encoder has {len(rows)}"
        )
    found = DIALOGS[what](classes, seed)
    lines = [line(f"class-{number}", dialog) for number, dialog in enumerate(found)]
    made_by = {
        "encoder_fingerprint": str(encoder.fingerprint),
        "dim": int(encoder.embedding_dim),
        "views": 1,
    }
    return write_store(out, made_by, f"imagenet-{what}", [(rows.numpy()[None], lines)])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m mini_lab.prototypes", description="Classes as pictures.")
    parser.add_argument("--encoder", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--words", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--what", choices=list(DIALOGS), default="classes", help="what is said of them")
    given = parser.parse_args()
    sys.exit(exit_code(lambda: write(given.encoder, given.words, given.out, given.what)))


if __name__ == "__main__":
    main()
