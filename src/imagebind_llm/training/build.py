"""A build: commands in order, some at a time, that starts where it stopped.

A project that takes several commands to make lists them as steps. Each step is a command of this package or a
module of the project, and goes on by itself where it stopped, or ends at once when it was finished before;
so the build can be interrupted and started again.
"""

import argparse
import fcntl
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Step:
    """One command; it may start when the steps in ``after`` are done.

    Attributes:
        name: also of its log.
        arguments: of the command.
        after: names of the steps it needs.
        module: what ``python -m`` runs: this package, or a module of a project.
        done: a file or folder that appears whole at the step's end; while it is there the step is passed
            over. None: the command sees for itself that it was finished.
    """

    name: str
    arguments: tuple[str, ...]
    after: tuple[str, ...] = ()
    module: str = "imagebind_llm"
    done: Path | None = None


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
                if step.done is not None and step.done.exists():
                    done.add(step.name)
                    _say(f"{step.name}: was done before, {step.done} is there")
                    continue
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
    command = [sys.executable, "-m", step.module, *step.arguments]
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


def read_recipe(path: Path) -> dict[str, Any]:
    """The settings in a recipe's file.

    Raises:
        UserError: there is none, or it is no YAML.
    """
    from imagebind_llm.common.yaml_text import NotYaml, parse_yaml

    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"there is no recipe {str(path)!r} ({error.strerror}); start the build in the folder that holds "
            f"{path.parent}, or give --recipes"
        ) from None
    except (NotYaml, UnicodeDecodeError) as error:
        raise UserError(f"{str(path)!r} is not YAML ({' '.join(str(error).split())})") from None
    return dict(values) if isinstance(values, dict) else {}


def moved(values: Mapping[str, Any], runs: Path, usual: str) -> list[str]:
    """Overrides that put a recipe's files and folders below ``usual`` into ``runs``."""
    if runs == Path(usual):
        return []
    return [
        f"{key}={runs}{value.removeprefix(usual)}"
        for key, value in leaves(values)
        if isinstance(value, str) and value.startswith(f"{usual}/")
    ]


def leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The plain values in a recipe with their dotted keys; members of lists go by number."""
    members: Iterable[tuple[Any, Any]]
    if isinstance(values, Mapping):
        members = values.items()
    elif isinstance(values, list):
        members = enumerate(values)
    else:
        yield prefix.removesuffix("."), values
        return
    for key, value in members:
        yield from leaves(value, f"{prefix}{key}.")


def _say(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")


def at_least(least: int) -> Callable[[str], int]:
    """A type for argparse: a whole number, not below ``least``."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is below {least}")
        return value

    return number


def heard() -> list[int]:
    """A list that Ctrl-C and SIGTERM are put into from now on, for :func:`build` to look at."""
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: signals.append(number))
    return signals


def exit_code(work: Callable[[], object]) -> int:
    """The exit code of a command that does ``work``; errors are said in one line."""
    try:
        work()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on\n")
        return 130
    return 0
