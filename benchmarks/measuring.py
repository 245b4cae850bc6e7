"""What all benchmarks share: where a number comes from, medians with their spread, and Markdown tables."""

import math
import os
import platform
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def facts(*more: str) -> str:
    """The lines every table needs beside it: command, commit, date, machine, versions, load."""
    import torch

    lines = [
        f"command: python {' '.join(sys.argv)}",
        f"commit: {_commit()}; {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}",
        f"machine: {_processor()}, {os.cpu_count()} CPUs, {platform.system()} {platform.machine()}; "
        f"torch threads {torch.get_num_threads()}, OMP_NUM_THREADS "
        f"{os.environ.get('OMP_NUM_THREADS', 'unset')}; load average before {os.getloadavg()[0]:.1f}",
        f"versions: Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "numpy")),
        *more,
    ]
    return "\n".join(f"- {line}" for line in lines) + "\n"


def load_after() -> str:
    """Printed last: a high number means that the machine was not quiet."""
    return f"\nload average after {os.getloadavg()[0]:.1f}"


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + (
            "+" if git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown (no repository)"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"


def spread(values: Sequence[float] | np.ndarray, digits: int = 2) -> str:
    """``median (first quartile … third quartile)``."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.{digits}f} ({low:.{digits}f} … {high:.{digits}f})"


def verdict(value: float, target: float, at_most: bool) -> str:
    """The target, and whether it is met."""
    met = value <= target if at_most else value >= target
    return f"{'≤' if at_most else '≥'} {target:g}: {'met' if met else 'MISSED'}"


def print_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A Markdown table."""
    print("| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


@dataclass(frozen=True)
class Times:
    """Seconds of each round ``[rounds]``: on the clock, and of all CPUs used by this process.

    The second hardly changes when other programs share the machine, so it says what to make of the first.
    """

    wall: np.ndarray
    cpu: np.ndarray


def interleaved(
    ways: Mapping[str, Callable[[], object]],
    rounds: int,
    warmup: int = 1,
    seconds: float = math.inf,
    fewest: int = 2,
) -> dict[str, Times]:
    """The times of each way: of ``rounds`` rounds, or of as many (``fewest`` at least) as fit ``seconds``.

    All ways run once a round, in another order each time (the same in every run of a benchmark), so that a
    machine that grows slower or busier does so for all of them, and none more often than others follows
    itself or the same one; compare them round by round. A way may have a method ``rewind``, which is called
    after each run, unmeasured.
    """
    for _ in range(warmup):
        for name in ways:
            _timed(ways[name])
    start = time.perf_counter()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(rounds):
        if number >= fewest and time.perf_counter() - start > seconds:
            break
        for name in random.Random(number).sample(list(ways), len(ways)):
            found[name].append(_timed(ways[name]))
    return {name: Times(*np.array(pairs).T) for name, pairs in found.items()}


def _timed(run: Callable[[], object]) -> tuple[float, float]:
    start, cpu_start = time.perf_counter(), time.process_time()
    run()
    seconds = time.perf_counter() - start, time.process_time() - cpu_start
    rewind = getattr(run, "rewind", None)
    if rewind is not None:
        rewind()
    return seconds


@dataclass(frozen=True)
class ProcessRun:
    """A process from its start to its end: wall time, time on all CPUs, what it printed."""

    seconds: float
    cpu_seconds: float
    output: str


def run_process(arguments: Sequence[str]) -> ProcessRun:
    """Run a command to its end.

    Raises:
        SystemExit: it failed; with what it said.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(arguments, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return ProcessRun(seconds, cpu, done.stdout)
