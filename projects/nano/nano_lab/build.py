"""``make nano DATA=…``: every step from the data sets to the bundled model, two at a time.

Nothing is done here but to start the package's own commands in order. Each run resumes where it stopped, and
one that was finished says so and ends at once, so the build can be interrupted and started again.
"""

import argparse
import fcntl
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.locate import nano_folder

SENSES = ("depth", "thermal", "imu", "audio", "point")
RUNS = "runs/nano"
"""Where the recipes say that runs lie."""
WEIGHTS = nano_folder()
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Step:
    """One command; it may start when the steps in ``after`` are done."""

    name: str
    arguments: tuple[str, ...]
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What is built from what.

    Attributes:
        data: folder of the data sets.
        recipes: folder of the recipes.
        runs: every run goes here, wherever the recipes would have it.
        out: folder of the finished model.
        overrides: ``key=value`` for every training step.
        items: most test items of each sense; None = the standard evaluation.
        photographs: whether training sees photographs of other things, as the recipes say.
    """

    data: Path
    recipes: Path = Path("recipes/nano")
    runs: Path = Path(RUNS)
    out: Path = WEIGHTS
    overrides: tuple[str, ...] = ()
    items: int | None = None
    photographs: bool = True


def steps(plan: Plan) -> list[Step]:
    """The steps of the build. Pre-training computes the bank of image embeddings that the senses share.

    Raises:
        UserError: a recipe is missing or no YAML.
    """
    data, runs, out = str(plan.data), plan.runs, str(plan.out)

    def train(stage: str, name: str, *after: str) -> Step:
        recipe = plan.recipes / f"{name}.yaml"
        root = [] if stage == "language" else [f"data.root={data}"]
        if root and not plan.photographs:
            root.append("data.others=[]")
        moved = _moved(_read_recipe(recipe), runs)
        return Step(name, ("train", stage, str(recipe), *root, *moved, *plan.overrides), after)

    encoders = [str(runs / name / "export") for name in ("bind-images", *(f"bind-{s}" for s in SENSES))]
    limit = () if plan.items is None else ("--items", str(plan.items))
    measured = str(runs / "evaluation")
    return [
        train("bind", "bind-images"),
        train("language", "language"),
        train("pretrain", "pretrain", "language", "bind-images"),
        train("finetune", "finetune", "pretrain"),
        train("finetune", "finetune-2", "finetune"),
        train("finetune", "finetune-3", "finetune-2"),
        train("finetune", "finetune-4", "finetune-3"),
        *(train("bind", f"bind-{sense}", "pretrain") for sense in SENSES),
        Step(
            "merge",
            ("train", "merge", *encoders, "--out", str(runs / "encoder")),
            tuple(f"bind-{sense}" for sense in SENSES),
        ),
        Step(
            "pack",
            ("pack", str(runs / "finetune-4" / "export"), str(runs / "encoder"), data, out),
            ("finetune-4", "merge"),
        ),
        Step(
            "evaluate",
            ("eval", "nano", "--data", data, "--model", out, "--out", measured, *limit),
            ("pack",),
        ),
    ]


def build(plan: Sequence[Step], logs: Path, jobs: int, signals: Sequence[int] = ()) -> None:
    """Run the steps, at most ``jobs`` at a time, each into its own log.

    Args:
        signals: that have come; with the first one the steps that run are stopped.

    Raises:
        KeyboardInterrupt: a signal came.
        UserError: a step failed (the message has its last words); the others that were running are stopped.
            Or another build has the folder.
    """
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another build uses {str(logs.parent)!r}, or steps of one that was killed still run; wait "
                "for them, or give another --runs"
            ) from None
        _run(plan, logs, jobs, lock.fileno(), signals)


def _run(plan: Sequence[Step], logs: Path, jobs: int, locked: int, signals: Sequence[int]) -> None:
    done: set[str] = set()
    waiting = list(plan)
    running: dict[str, tuple[subprocess.Popen[bytes], float]] = {}
    try:
        while waiting or running:
            if signals:  # looked at here, where every process that runs is known
                raise KeyboardInterrupt
            for step in [step for step in waiting if done.issuperset(step.after)][: jobs - len(running)]:
                waiting.remove(step)
                running[step.name] = (_start(step, logs / f"{step.name}.log", locked), time.monotonic())
                _say(f"{step.name}: started, log in {logs / f'{step.name}.log'}")
            time.sleep(_POLL_SECONDS)
            for name, (process, started) in list(running.items()):
                code = process.poll()
                if code is None:
                    continue
                del running[name]
                if code:
                    log = logs / f"{name}.log"
                    raise UserError(f"step {name} ended with code {code}: {_last_words(log)} (see {log})")
                done.add(name)
                _say(f"{name}: done in {(time.monotonic() - started) / 60:.1f} min")
    finally:
        for process, _ in running.values():
            process.terminate()  # a training run saves itself and ends
        for process, _ in running.values():
            process.wait()


def _start(step: Step, log: Path, locked: int) -> "subprocess.Popen[bytes]":
    """Steps hold the lock (a file number) too, so that it outlives a build that is killed before them."""
    if step.arguments[0] == "pack":
        command = [sys.executable, "-m", "nano_lab.build", *step.arguments]
    else:
        command = [sys.executable, "-m", "imagebind_llm", *step.arguments]
    with log.open("ab") as file:
        return subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, pass_fds=(locked,)
        )


def _last_words(log: Path) -> str:
    """The error at the end of a log, or its last line."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    said = [line for line in lines[-20:] if line]
    errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    return (errors or said or ["it said nothing"])[-1]


def _read_recipe(path: Path) -> dict[str, Any]:
    from imagebind_llm.common.yaml_text import NotYaml, parse_yaml

    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"there is no recipe {str(path)!r} ({error.strerror}); start the build in the folder that holds "
            "recipes/nano, or give --recipes"
        ) from None
    except (NotYaml, UnicodeDecodeError) as error:
        raise UserError(f"{str(path)!r} is not YAML ({' '.join(str(error).split())})") from None
    return dict(values) if isinstance(values, dict) else {}


def _moved(values: Mapping[str, Any], runs: Path) -> list[str]:
    """Overrides that put a recipe's folders below :data:`RUNS` into ``runs``."""
    if runs == Path(RUNS):
        return []
    return [
        f"{key}={runs}{value.removeprefix(RUNS)}"
        for key, value in _leaves(values)
        if isinstance(value, str) and value.startswith(f"{RUNS}/")
    ]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _say(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is below {least}")
        return value

    return number


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m nano_lab.build",
        description="Make nano from its data sets. Started again, it goes on where it stopped.",
        epilog="A quick try of every step: --runs /tmp/runs --out /tmp/nano --items 4 run.steps=2",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--recipes", type=Path, default=Path("recipes/nano"), help="folder of the recipes")
    parser.add_argument("--runs", type=Path, default=Path(RUNS), help="folder for every run and its log")
    parser.add_argument("--out", type=Path, help="folder of the model; default: the one in the package")
    parser.add_argument(
        "--jobs",
        type=_at_least(1),
        default=2,
        help="steps at a time (each uses one thread, the pictures two)",
    )
    parser.add_argument("--items", type=_at_least(2), help="most test items of each sense in the evaluation")
    parser.add_argument(
        "--without-photographs",
        action="store_true",
        help="train without Flickr8k's photographs of other things: with them the weights are research only",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="settings to change in every training step"
    )
    return parser.parse_args(given)


def _build(given: argparse.Namespace, signals: Sequence[int]) -> None:
    from nano_lab.world.tables import OTHERS, check_tables

    if given.overrides and given.out is None:
        raise UserError("with settings changed this is another nano; give --out, its folder")
    if not given.data.is_dir():
        raise UserError(f"there is no folder {str(given.data)!r}; give the folder of nano's data sets")
    photographs = not given.without_photographs
    check_tables(given.data, tuple(OTHERS) if photographs else ())  # before hours of work, not in the middle
    out = WEIGHTS if given.out is None else given.out
    plan = Plan(given.data, given.recipes, given.runs, out, tuple(given.overrides), given.items, photographs)
    build(steps(plan), given.runs / "logs", given.jobs, signals)


def main() -> int:
    """Command line; ``pack`` is the one step that is no command of the package."""
    arguments = sys.argv[1:]
    try:
        if arguments[:1] == ["pack"]:
            from nano_lab.pack import pack

            model, encoder, data, out = (Path(argument) for argument in arguments[1:])
            pack(model, encoder, data, out)
            return 0
        given, signals = _arguments(arguments), list[int]()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: signals.append(number))
        _build(given, signals)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
