"""What the language model itself says to requests of ours, to train on: so it goes on as it was.

    python -m mini_lab.distil --model runs/mini/pretrain/export --words data/words --out runs/mini/distilled

The model of the first stage has the frozen language model in it, and without a picture it answers as that
does. Answers are drawn at temperature 0.7 from the likeliest 95 % (greedy ones repeat themselves).
``dialogs.json`` is in Alpaca's format. Stopped, it goes on with the next block.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import write_json
from imagebind_llm.common.work_folder import work_folder
from imagebind_llm.data.sources.base import digest
from imagebind_llm.training.build import exit_code
from mini_lab.class_words import with_article
from mini_lab.prototypes import read_classes

COUNT = 800
LONGEST = 72
"""Tokens of an answer; one that is cut there is cut again, after its last whole sentence."""
FILE = "dialogs.json"
_BLOCK = 64
_THINGS = (
    "What is {}?",
    "Tell me something about {}.",
    "Write two sentences about {}.",
    "Where would you find {}?",
    "Describe {} to a child.",
    "Write a short poem about {}.",
    "What is {} used for, or what does it do?",
    "Make up a short story about {}.",
)
_TOPICS = (
    "the weather", "sleeping well", "learning a language", "a healthy breakfast", "the history of Rome",
    "photosynthesis", "gravity", "the water cycle", "writing a letter", "saving money", "growing tomatoes",
    "planning a holiday", "the Moon", "volcanoes", "reading books", "playing chess", "making bread",
    "the heart", "electricity", "friendship", "keeping a diary", "the ocean", "bees", "bicycles", "music",
    "computers", "the seasons", "time", "maps", "colours", "fractions", "good manners", "recycling",
    "public transport", "cooking rice", "running", "painting", "the Sun", "whales", "trees in a city",
)  # fmt: skip
_ABOUT = (
    "Explain {} in a few sentences.",
    "Give me three tips about {}.",
    "Why does {} matter?",
    "Write a short paragraph about {}.",
    "List three facts about {}.",
    "What should everybody know about {}?",
    "Ask me a question about {}, and answer it.",
    "Write a title for an article about {}.",
)


def requests(classes: Sequence[Mapping[str, Any]], count: int, seed: int = 0) -> list[str]:
    """``count`` different requests, or as many as there are."""
    rng = random.Random(seed)
    found = [asked.format(topic) for asked in _ABOUT for topic in _TOPICS]
    for one in classes:
        found.append(rng.choice(_THINGS).format(with_article(one["names"][0])))
        found.append(f"Say this in other words: {one['names'][0]}: {one['gloss']}.")
    found = list(dict.fromkeys(found))
    rng.shuffle(found)
    return found[:count]


def whole(text: str, finished: bool) -> str:
    """An answer up to its last whole sentence, if it was cut; may be empty."""
    if finished:
        return text.strip()
    end = max(text.rfind(mark) for mark in (". ", "! ", "? ", ".\n", "!\n", "?\n"))
    return text[: end + 1].strip()


def write(model: Path, words: Path, out: Path, count: int = COUNT, seed: int = 0) -> int:
    """Ask and write the folder; returns how many dialogs there are.

    Raises:
        UserError: the model cannot be opened, or another run writes there, or ``out`` is of another job.
    """
    asked = requests(read_classes(words), count, seed)
    identity = {"requests": digest(asked), "seed": seed, "longest": LONGEST}
    busy = f"another process is writing {str(out)!r}; wait for it"
    with work_folder(out, identity, busy=busy) as work:
        done = work.steps()
        blocks = {f"block-{at:04d}": asked[at : at + _BLOCK] for at in range(0, len(asked), _BLOCK)}
        left = [name for name in blocks if name not in done]
        bot = _open(model) if left else None
        for name in left:
            write_json(out / f"{name}.answers", list(_answers(bot, blocks[name], seed)))
            work.finish(name, [f"{name}.answers"], {})
        found = [
            row
            for name in blocks
            for row in json.loads((out / f"{name}.answers").read_text(encoding="utf-8"))
        ]
        if not found:
            raise UserError(f"the model in {str(model)!r} has answered nothing; look at its export")
        write_json(out / FILE, found)
    return len(found)


def _open(model: Path) -> Any:
    from imagebind_llm import Assistant

    return Assistant.from_pretrained(model, cache=False)


def _answers(bot: Any, asked: Sequence[str], seed: int) -> Iterator[dict[str, str]]:
    start, tokens = time.monotonic(), 0
    options = {"max_new_tokens": LONGEST, "temperature": 0.7, "top_p": 0.95, "seed": seed}
    for question, answer in zip(
        asked, bot.iter_batch([{"question": one, **options} for one in asked]), strict=True
    ):
        if isinstance(answer, Exception):
            raise answer
        tokens += answer.new_tokens
        if text := whole(answer.text, answer.finish_reason == "stop"):
            yield {"instruction": question, "input": "", "output": text}
    sys.stderr.write(f"{tokens / (time.monotonic() - start):.0f} tokens a second\n")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m mini_lab.distil", description="The model's own answers.")
    parser.add_argument("--model", type=Path, required=True, metavar="FOLDER", help="export of pretrain")
    parser.add_argument("--words", type=Path, required=True, metavar="FOLDER", help="words of the classes")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--items", type=int, default=COUNT, metavar="N", help="requests")
    given = parser.parse_args()
    sys.exit(exit_code(lambda: write(given.model, given.words, given.out, given.items)))


if __name__ == "__main__":
    main()
