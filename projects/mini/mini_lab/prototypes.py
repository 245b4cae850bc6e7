"""ImageNet's classes as embeddings of pictures that need no pictures, with words to say of them.

    python -m mini_lab.prototypes --encoder runs/mini/heads/export --words data/words --out runs/mini/classes
    python -m mini_lab.prototypes … --what questions --out runs/mini/questions
    python -m mini_lab.prototypes … --what animals --out runs/mini/animals
    python -m mini_lab.prototypes … --pictures runs/mini/embedded --out runs/mini/classes

A classifier scores class ``c`` of a feature ``f`` by ``w_c · f + b_c``. The encoder sees
``z = (f - mean) / std``, for which that is ``(w_c std) · z`` and a constant. So the direction ``w_c std``,
less its mean over the classes, which favours none, is where pictures of class ``c`` lie: its prototype. The
folder is one that ``imagebind-llm data embed`` could have written, a source of ``kind: embedded``.

``classes`` name and explain them, ``questions`` are answered by yes, no or one of two names, ``animals`` give
each class the name of the animal whose sound goes with it, or its own.

A photograph's embedding is not its class's prototype: their cosine is 0.20 to 0.46 (the 5th and 95th
hundredth of 250 photographs). So ``--pictures`` puts the classes into pictures: a share of the prototype, the
rest from a picture that was embedded before, less what its own nearest classes have in it. Then ``classes``
also name kinds of classes, whose prototype is the mean of theirs.
"""

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.data.embed.store import read_manifest, shard_name
from imagebind_llm.encoders.registry import load_encoder
from imagebind_llm.encoders.towers.backbones.efficientnet_lite import EfficientNetLite
from imagebind_llm.encoders.towers.model import TowersEncoder
from imagebind_llm.training.build import exit_code
from mini_lab.class_words import kinds, naming, questions
from mini_lab.sounds import animals
from mini_lab.store import Dialog, line, write_store

DIALOGS: Mapping[str, Callable[[Sequence[Mapping[str, Any]], int], Iterator[Dialog]]] = {
    "classes": naming,
    "questions": questions,
    "animals": animals,
}
VIEWS = 8
"""Pictures that a class is put into, each time with another share."""
SHARE = (0.2, 0.95)
"""A prototype's least and largest part of an embedding (their cosine). Photographs are at the lower end;
embeddings of sounds, which learned from prototypes, near the upper one."""
LEANING = 2.0
"""Shares are the uniform ones to this power: small ones are drawn more often."""
NEAREST = 20
"""Classes that are taken out of a picture before another is put into it."""
ROUNDS = 4
"""How often classes in pictures are named, each time in other words and pictures."""


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


def put_into(rows: Tensor, classes: Tensor, pictures: Tensor, seed: int) -> Tensor:
    """``[VIEWS * N, D]``: of each of ``rows [N, D]`` its views in pictures, one after the other.

    Args:
        rows: unit prototypes of classes or kinds.
        classes: unit prototypes of all classes.
        pictures: ``[M, D]`` unit embeddings to put them into.
        seed: of pictures and shares.
    """
    rng = torch.Generator().manual_seed(seed)
    chosen = pictures[torch.randint(len(pictures), (len(rows) * VIEWS,), generator=rng)]
    thing = rows.repeat_interleave(VIEWS, 0)
    nearest = classes[(chosen @ classes.T).topk(min(NEAREST, len(classes)), dim=1).indices]
    basis = torch.linalg.qr(torch.cat((thing[:, None], nearest), 1).transpose(1, 2)).Q
    rest = F.normalize(chosen - (basis @ (basis.transpose(1, 2) @ chosen[:, :, None]))[:, :, 0], dim=1)
    least, most = SHARE
    share = least + (most - least) * torch.rand(len(thing), 1, generator=rng) ** LEANING
    return share * thing + (1 - share**2).sqrt() * rest


def embedded_pictures(folder: Path) -> Tensor:
    """``[M, D]`` unit rows of a folder of ``data embed``, the first view of each.

    Raises:
        TrainingDataError: it is not complete.
    """
    shards = read_manifest(folder)["shards"]
    vectors = [np.load(folder / f"{shard_name(shard['number'])}.npy")[0] for shard in shards]
    return F.normalize(torch.from_numpy(np.concatenate(vectors)).float(), dim=1)


def write(
    encoder_folder: Path,
    words: Path,
    out: Path,
    what: str = "classes",
    pictures: Path | None = None,
    seed: int = 0,
) -> int:
    """Write the folder; returns how many dialogs it holds.

    Raises:
        UserError: the encoder has no classifier, or ``words`` does not hold its classes.
        TrainingDataError: ``pictures`` is not complete, or ``out`` was made from others.
    """
    encoder: Any = load_encoder(encoder_folder)
    rows = prototypes(encoder)
    classes = read_classes(words)
    if len(classes) != len(rows):
        raise UserError(
            f"{str(words / 'classes.jsonl')!r} holds {len(classes)} classes; the encoder has {len(rows)}"
        )
    if pictures is None:
        found = list(DIALOGS[what](classes, seed))
    else:
        embedded = embedded_pictures(pictures)
        if what == "classes":
            names = [name for _, _, name in animals(classes, seed)]
            named = [*classes, *kinds(classes, names)]
            means = [rows[one["members"]].mean(0) for one in named[len(classes) :]]
            things = F.normalize(torch.stack([*rows, *means]), dim=1)
            found = [one for turn in range(ROUNDS) for one in naming(named, seed + turn, names)]
        else:
            things, found = rows, list(DIALOGS[what](classes, seed))
        rows = put_into(things, rows, embedded, seed)
        rng = random.Random(seed)
        found = [(row * VIEWS + rng.randrange(VIEWS), asked, told) for row, asked, told in found]
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
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="embedded pictures to put them into")
    given = parser.parse_args()
    sys.exit(exit_code(lambda: write(given.encoder, given.words, given.out, given.what, given.pictures)))


if __name__ == "__main__":
    main()
