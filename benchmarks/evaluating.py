"""How busy an evaluation keeps its model: the time of the model alone against that of the whole run.

    python benchmarks/evaluating.py                  nano, and 60 M and 250 M random weights: minutes
    python benchmarks/evaluating.py --smoke          seconds

The whole run reads pictures from files, asks, writes down what comes back, judges it, draws the bootstrap and
writes results, samples and the report. The model alone gets the same pictures in the same batches, decoded
before the clock starts, and embeds them and answers. The pictures of each round are files of their own,
because a file that was seen before is not encoded again.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measuring import facts, interleaved, load_after, print_table, spread, verdict
from PIL import Image

from imagebind_llm.evaluation.engine import LocalEngine
from imagebind_llm.evaluation.folder import write_outcome
from imagebind_llm.evaluation.runner import run_suite
from imagebind_llm.evaluation.suite import Item, Suite
from imagebind_llm.inference.assistant import Assistant

TARGET = 0.9
BATCH = 32
QUESTION = "What is this?"


def draw(folder: Path, items: int, seed: int) -> Path:
    """Pictures as a camera's are compressed, 320 by 240, all different."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:240, 0:320]
    for number in range(items):
        waves = np.sin(
            rows[..., None] * rng.uniform(0.01, 0.1, 3) + columns[..., None] * rng.uniform(0.01, 0.1, 3)
        )
        noisy = 127 + 90 * waves + rng.normal(0, 12, (240, 320, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:04d}.jpg", quality=85)
    return folder


class Pictures(Suite):
    """What pictures show."""

    name = "pictures"

    def items(self, data: Path | None) -> Iterator[Item]:
        assert data is not None
        for path in sorted(data.glob("*.jpg")):
            yield Item(
                path.stem, {"question": QUESTION, "image": str(path)}, "a picture", f"group {path.stem[-1]}"
            )

    def right(self, item: Item, answer: str) -> bool:
        return item.expected in answer


class Whole:
    """The run as a user has it, over new pictures each time."""

    def __init__(self, bot: Assistant, folder: Path, items: int) -> None:
        self._bot, self._folder, self._items, self._round = bot, folder, items, 0
        self._pictures = draw(folder / "whole-0", items, 0)

    def __call__(self) -> None:
        out = self._folder / f"out-{self._round}"
        outcome = run_suite(Pictures(), LocalEngine(self._bot), self._pictures, out=out, batch_size=BATCH)
        write_outcome(outcome, out, "benchmark", time.time())
        assert json.loads((out / "results.json").read_text())["n"] == self._items

    def rewind(self) -> None:
        self._round += 1
        self._pictures = draw(self._folder / f"whole-{self._round}", self._items, self._round)


class Alone:
    """The model on the same batches, whose pictures are decoded."""

    def __init__(self, bot: Assistant, folder: Path, items: int) -> None:
        self._bot, self._folder, self._items, self._round = bot, folder, items, 0
        self.rewind()

    def __call__(self) -> None:
        for batch in self._ready:
            self._bot.pipeline.finish_all(batch)

    def rewind(self) -> None:
        pictures = draw(self._folder / f"alone-{self._round}", self._items, 1000 + self._round)
        self._round += 1
        files = sorted(pictures.glob("*.jpg"))
        self._ready = []
        for start in range(0, len(files), 2 * BATCH):
            batch = self._bot.pipeline.prepare_all(
                {"question": QUESTION, "image": str(path)} for path in files[start : start + 2 * BATCH]
            )
            for request in batch:
                assert not isinstance(request, Exception)
                for (medium,) in request.conditions.pending:
                    assert medium.tensor is not None
                    medium.tensor.result()
            self._ready.append(batch)


def measure(name: str, model: str, items: int, rounds: int, folder: Path) -> list[str]:
    folder.mkdir()
    bot = Assistant.from_pretrained(model, device="cpu", batch_size=BATCH)
    times = interleaved({"whole": Whole(bot, folder, items), "alone": Alone(bot, folder, items)}, rounds)
    share = times["alone"].wall / times["whole"].wall
    return [
        name,
        spread(items / times["alone"].wall, 1),
        spread(items / times["whole"].wall, 1),
        spread(share),
        verdict(float(np.median(share)), TARGET, at_most=False),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="twelve pictures, random weights")
    options = parser.parse_args()
    if options.smoke:
        options.items, options.rounds = 12, 1
    print(facts(f"{options.items} pictures of 320 x 240, batches of {BATCH}, {options.rounds} rounds"))
    from random_models import write_model

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = {"random, nano's size": str(write_model(folder / "tiny", new_tokens=8))}
        if not options.smoke:
            models = {"nano": "nano"} | {
                f"random, {size}": str(write_model(folder / name, 16, name))
                for size, name in (("60 M", "small"), ("250 M", "mid"))
            }
        rows = [
            measure(name, model, options.items, options.rounds, folder / f"work-{number}")
            for number, (name, model) in enumerate(models.items())
        ]
    print_table(["model", "model alone, items/s", "whole run, items/s", "share", "target"], rows)
    print(load_after())


if __name__ == "__main__":
    main()
