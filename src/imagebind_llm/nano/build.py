"""``make nano DATA=…``: every step from the data sets to the bundled model, two at a time.

Nothing is done here but to start the package's own commands in order. Each run resumes where it stopped, and
finished steps are skipped, so the build can be interrupted and started again.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from imagebind_llm.errors import UserError

SENSES = ("depth", "thermal", "imu", "audio", "point")
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Step:
    """One command; it may start when the steps in ``after`` are done. ``made`` exists once it is done."""

    name: str
    arguments: tuple[str, ...]
    after: tuple[str, ...] = ()
    made: Path | None = None


def steps(recipes: Path, runs: Path, data: Path, out: Path) -> list[Step]:
    """The steps of the build. Pre-training computes the bank of image embeddings that the senses share."""
    root = f"data.root={data}"
    base = str(runs / "bind-images-3" / "export")
    exports = [str(runs / f"bind-{sense}" / "export") for sense in SENSES]

    def train(stage: str, name: str, *after: str) -> Step:
        recipe = str(recipes / f"{name}.yaml")
        return Step(name, ("train", stage, recipe, *([] if stage == "language" else [root])), after)

    return [
        train("bind", "bind-images"),
        train("bind", "bind-images-2", "bind-images"),
        train("language", "language"),
        train("bind", "bind-images-3", "bind-images-2"),
        train("pretrain", "pretrain", "language", "bind-images-3"),
        train("finetune", "finetune", "pretrain"),
        train("finetune", "finetune-2", "finetune"),
        train("finetune", "finetune-3", "finetune-2"),
        train("finetune", "finetune-4", "finetune-3"),
        *(train("bind", f"bind-{sense}", "pretrain") for sense in SENSES),
        Step(
            "merge",
            (
                "train",
                "merge",
                base,
                *exports,
                "--out",
                str(runs / "encoder"),
            ),
            tuple(f"bind-{sense}" for sense in SENSES),
            runs / "encoder" / "config.json",
        ),
        Step(
            "pack",
            ("pack", str(runs / "finetune-4" / "export"), str(runs / "encoder"), str(data), str(out)),
            ("finetune-4", "merge"),
        ),
        Step(
            "evaluate",
            ("eval", "nano", "--data", str(data), "--model", str(out), "--out", str(runs / "evaluation")),
            ("pack",),
        ),
    ]


def build(plan: list[Step], logs: Path, jobs: int) -> None:
    """Run the steps, at most ``jobs`` at a time, each into its own log.

    Raises:
        UserError: a step failed (its log says why); the others that were running are stopped.
    """
    logs.mkdir(parents=True, exist_ok=True)
    done = {step.name for step in plan if step.made is not None and step.made.exists()}
    waiting = [step for step in plan if step.name not in done]
    running: dict[str, tuple[subprocess.Popen[bytes], float]] = {}
    try:
        while waiting or running:
            for step in [step for step in waiting if done.issuperset(step.after)][: jobs - len(running)]:
                waiting.remove(step)
                running[step.name] = (_start(step, logs / f"{step.name}.log"), time.monotonic())
                _say(f"{step.name}: started, log in {logs / f'{step.name}.log'}")
            time.sleep(_POLL_SECONDS)
            for name, (process, started) in list(running.items()):
                code = process.poll()
                if code is None:
                    continue
                del running[name]
                if code:
                    raise UserError(f"step {name} ended with code {code}; see {logs / f'{name}.log'}")
                done.add(name)
                _say(f"{name}: done in {(time.monotonic() - started) / 60:.1f} min")
    finally:
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            process.wait()


def _start(step: Step, log: Path) -> "subprocess.Popen[bytes]":
    if step.arguments[0] == "pack":
        command = [sys.executable, "-m", "imagebind_llm.nano.build", *step.arguments]
    else:
        command = [sys.executable, "-m", "imagebind_llm", *step.arguments]
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


def _say(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")


def main() -> int:
    """Command line; ``pack`` is the one step that is no command of the package."""
    arguments = sys.argv[1:]
    try:
        if arguments[:1] == ["pack"]:
            from imagebind_llm.nano.pack import pack

            model, encoder, data, out = (Path(argument) for argument in arguments[1:])
            pack(model, encoder, data, out)
            return 0
        parser = argparse.ArgumentParser(prog="python -m imagebind_llm.nano.build", description=__doc__)
        parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
        parser.add_argument("--recipes", type=Path, default=Path("recipes/nano"))
        parser.add_argument("--runs", type=Path, default=Path("runs/nano"), help="as in the recipes")
        parser.add_argument("--out", type=Path, default=Path(__file__).parent / "weights")
        parser.add_argument("--jobs", type=int, default=2, help="steps at a time (each uses one thread)")
        given = parser.parse_args(arguments)
        if not (given.data / "mnist").is_dir():
            raise UserError(f"{given.data} has no folder 'mnist'; give the folder of nano's data sets")
        build(steps(given.recipes, given.runs, given.data, given.out), given.runs / "logs", given.jobs)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
