"""All captions of pictures that were embedded once, as dialogs for the two stages.

    python -m mini_lab.captions --embedded runs/mini/embedded --tables runs/mini/captioned \\
        --out runs/mini/captions
    python -m mini_lab.captions … --out runs/mini/described --instructions

``embedded`` holds each picture once (``pictures.tsv``); its vectors are taken as they are. For the first
stage nothing is asked, so no token is spent on a question. With ``--instructions`` each caption answers one
of many requests. With ``--agreeing 2`` only the two captions of a picture that agree best with its others are
taken: consensus, measured as captions are (CIDEr), after Phan et al., arXiv 1712.09532.
"""

import argparse
import json
import random
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from imagebind_llm.common.errors import UserError, require
from imagebind_llm.data.embed.store import read_manifest, shard_name
from imagebind_llm.training.build import exit_code
from mini_lab.flickr import PICTURES
from mini_lab.store import line, write_store

REQUESTS = (
    "Describe the picture.",
    "Describe this picture in one sentence.",
    "Describe what you see.",
    "What do you see?",
    "What is happening here?",
    "What is going on in this picture?",
    "What does the picture show?",
    "What is in this image?",
    "Write a caption for this image.",
    "Write a short caption.",
    "Give a short description of the image.",
    "Give this photograph a caption.",
    "Caption this image.",
    "Tell me what is in the picture.",
    "Tell me what this image shows.",
    "Can you describe the image?",
    "Can you tell me what is happening in the picture?",
    "Summarise the picture in one sentence.",
    "In one sentence, what is this a picture of?",
    "Explain briefly what can be seen here.",
    "Please describe this photo.",
    "How would you describe this scene?",
    "What can be seen in this photograph?",
    "Say in a few words what the picture is about.",
)


_WORD = re.compile(r"[a-z0-9']+")


def rows_of(table: Path) -> list[tuple[str, str]]:
    """Picture and caption of each line below the head."""
    lines = table.read_text(encoding="utf-8").splitlines()[1:]
    return [(picture, caption) for picture, _, caption in (text.partition("\t") for text in lines)]


def agreeing(captions: Mapping[str, Sequence[str]], count: int) -> dict[str, list[str]]:
    """Of each picture the ``count`` captions that agree best with its others, best first.

    Args:
        captions: of each picture; one that has no more than ``count`` keeps them all.
        count: how many are kept.

    Raises:
        UserError: none are to be kept.
        MissingExtraError: the scorer is not installed.
    """
    if count < 1:
        raise UserError(f"--agreeing is {count}; expected at least 1")
    require("pycocoevalcap.cider.cider", "eval", "finding captions that agree")
    from pycocoevalcap.cider.cider import Cider

    words = {
        name: [" ".join(_WORD.findall(text.lower())) for text in those] for name, those in captions.items()
    }
    agreement: dict[str, dict[int, float]] = {name: {} for name in captions}
    for left_out in range(max(map(len, words.values()))):
        own = {name: those for name, those in words.items() if len(those) > max(left_out, 1)}
        others = {name: [*those[:left_out], *those[left_out + 1 :]] for name, those in own.items()}
        _, scores = Cider().compute_score(others, {name: [those[left_out]] for name, those in own.items()})
        for name, score in zip(own, scores, strict=True):
            agreement[name][left_out] = float(score)
    return {
        name: [those[place] for place in sorted(agreement[name], key=lambda k: -agreement[name][k])[:count]]
        if len(those) > count
        else list(those)
        for name, those in captions.items()
    }


def dialogs(
    keys: Sequence[tuple[str, int]],
    names: Sequence[str],
    captions: Mapping[str, Sequence[str]],
    rng: random.Random | None,
) -> Iterator[str]:
    """The lines of a shard.

    Args:
        keys: of each embedded picture its key, ``pictures.tsv:LINE``, and its row.
        names: of the pictures by their places in the table.
        captions: of each picture.
        rng: chooses requests; None: nothing is asked.
    """
    for key, row in keys:
        name = names[int(key.rpartition(":")[2]) - 2]  # lines count from 1, and the first is the head
        for number, caption in enumerate(captions[name]):
            yield line(f"{name}:{number}", (row, rng.choice(REQUESTS) if rng else "", caption))


def write(
    embedded: Path, tables: Path, out: Path, instructions: bool, consensus: int | None = None, seed: int = 0
) -> int:
    """Write the folder; returns how many dialogs it holds.

    Args:
        embedded: pictures that were embedded once.
        tables: their captions.
        out: the folder.
        instructions: ask for each caption.
        consensus: how many captions of a picture are taken; None: all.
        seed: of the requests.

    Raises:
        TrainingDataError: ``embedded`` is not complete, or ``out`` was made from others.
    """
    manifest = read_manifest(embedded)
    captions: dict[str, list[str]] = defaultdict(list)
    for picture, caption in rows_of(tables / "train.tsv"):
        captions[picture].append(caption)
    if consensus is not None:
        captions.update(agreeing(captions, consensus))
    names = [picture for picture, _ in rows_of(tables / PICTURES)]
    rng = random.Random(seed) if instructions else None

    def shards() -> Iterator[tuple[np.ndarray, list[str]]]:
        for shard in manifest["shards"]:
            file = embedded / shard_name(shard["number"])
            items = [
                json.loads(text)
                for text in file.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
            ]
            keys = [(item["key"], _row(item)) for item in items]
            yield np.load(file.with_suffix(".npy")), list(dialogs(keys, names, captions, rng))

    made_by = {name: manifest[name] for name in ("encoder_fingerprint", "dim", "views")}
    return write_store(out, made_by, "requests" if instructions else "captions", shards())


def _row(item: Mapping[str, list[dict[str, list[dict[str, int]]]]]) -> int:
    return next(part["image"] for part in item["messages"][0]["content"] if "image" in part)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m mini_lab.captions", description="Captions as dialogs.")
    parser.add_argument("--embedded", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--tables", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--instructions", action="store_true", help="ask for each caption")
    parser.add_argument(
        "--agreeing", type=int, metavar="N", help="take the N captions of a picture that agree best"
    )
    given = parser.parse_args()
    sys.exit(
        exit_code(lambda: write(given.embedded, given.tables, given.out, given.instructions, given.agreeing))
    )


if __name__ == "__main__":
    main()
