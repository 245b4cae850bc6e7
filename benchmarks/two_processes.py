"""What a step of two processes (gloo, CPU) costs, here and in another checkout of this package.

    python benchmarks/two_processes.py --before ../old-checkout    a minute
    python benchmarks/two_processes.py                             this checkout alone

Both train the same small network for the same steps, started in turns by ``torchrun``. It is small on
purpose: what is measured is what the loop and the exchange of gradients and numbers cost. The step of one
process is shown beside it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measuring import ROOT, facts, load_after, print_table, spread

WIDTH, BATCH, SKIPPED = 256, 32, 20


def work(folder: Path, steps: int) -> None:
    """Train in this process; the first of a run writes how long each step took."""
    import torch
    from torch import nn

    from imagebind_llm.training.loop import train
    from imagebind_llm.training.recipe import OptimizerSettings, RunSettings
    from imagebind_llm.training.stage import Stage, step_rng

    class Small(Stage):
        name = "small"

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(8)))
            self.times: list[float] = []

        def trainable(self) -> dict[str, nn.Parameter]:
            return dict(self.named_parameters())

        def batch(self, index: int) -> Any:
            self.times.append(time.perf_counter())
            return torch.from_numpy(step_rng(0, index).standard_normal((BATCH, WIDTH), dtype=np.float32))

        def size(self, batch: Any) -> int:
            return len(batch)

        def loss(self, batch: Any) -> Any:
            found = (self.net(batch) - batch).square().mean()
            return found, {"one": found.detach(), "two": found.detach() * 2}

        def export(self, folder: Path) -> None:
            (folder / "done").write_text("")

    @dataclass(frozen=True)
    class Recipe:
        run: RunSettings
        optimizer: OptimizerSettings

    count = int(os.environ.get("WORLD_SIZE", "1"))
    run = RunSettings(
        str(folder / "run"), steps, BATCH, accumulate=count, device="cpu", checkpoint_every=0, resume="never"
    )
    stage = Small()
    train(stage, Recipe(run, OptimizerSettings(lr=1e-3)))
    if os.environ.get("RANK", "0") == "0":
        (folder / "times.json").write_text(json.dumps(stage.times))


def steps_of(checkout: Path, processes: int, steps: int) -> np.ndarray:
    """Milliseconds of each step but the first ones."""
    with tempfile.TemporaryDirectory(prefix="two-processes-") as name:
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        done = subprocess.run(
            [
                sys.executable,
                *(launch if processes > 1 else []),
                __file__,
                "--work",
                name,
                "--steps",
                str(steps),
            ],
            env={**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(
                f"training with {checkout} ended with code {done.returncode}:\n{done.stderr[-2000:]}"
            )
        times = np.array(json.loads((Path(name) / "times.json").read_text()))
    return 1000 * np.diff(times)[SKIPPED:]


def main() -> None:
    parser = argparse.ArgumentParser(
        description="The step of two processes, against that of another checkout."
    )
    parser.add_argument("--before", type=Path, help="another checkout of this package")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.steps)
        return
    checkouts = {"here": ROOT} | ({"before": options.before.resolve()} if options.before else {})
    ways = {(name, count): checkouts[name] for name in checkouts for count in (1, 2)}
    found: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    for number in range(options.rounds):
        order = list(ways) if number % 2 == 0 else list(ways)[::-1]
        for way in order:
            found[way].append(float(np.median(steps_of(ways[way], way[1], options.steps))))
    print(facts(f"{options.rounds} runs of {options.steps} steps of each, in turns; median step of each run"))
    last = "before" if options.before else "here"
    rows = [
        [name, str(count), spread(times), spread(np.array(found[last, count]) / np.array(times))]
        for (name, count), times in found.items()
    ]
    print_table(("checkout", "processes", "ms a step", f"{last} / this, paired"), rows)
    print(load_after())


if __name__ == "__main__":
    main()
