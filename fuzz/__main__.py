"""Feed the program bad, odd and hostile inputs, and count what comes of it.

    python -m fuzz                              five minutes of everything
    python -m fuzz --seconds 60 --only media    one kind
    python -m fuzz --only media --case 1234     one case again

A case is fine if the input is accepted or refused with a one-line error. A fault is a crash (any other
error, a process that dies, a result that is not sound), a hang, more than 1 GB above what was in use, or more
than 10 seconds of computing. The inputs of faults are kept. The same seed gives the same cases.
"""

import argparse
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.worker import TARGETS

ROOT = Path(__file__).parents[1]
MEGABYTES = 1000.0
SECONDS = 10.0
START_SECONDS = 180.0


@dataclass
class Tally:
    """What came of the cases of one target."""

    target: str
    tried: int = 0
    accepted: int = 0
    refused: int = 0
    megabytes: float = 0.0
    seconds: float = 0.0
    faults: list[dict[str, Any]] = field(default_factory=list)

    def add(self, number: int, result: dict[str, Any]) -> bool:
        """Count a case; whether it is a fault."""
        self.tried += 1
        outcome = result["outcome"]
        self.megabytes = max(self.megabytes, result["megabytes"])
        self.seconds = max(self.seconds, result["cpu"])
        if outcome in ("accepted", "refused"):
            if result["megabytes"] > MEGABYTES:
                outcome = f"memory: {result['megabytes']:.0f} MB"
            elif result["cpu"] > SECONDS:
                outcome = f"slow: {result['cpu']:.1f} s"
            else:
                setattr(self, outcome, getattr(self, outcome) + 1)
                return False
        self.faults.append({"number": number, **result, "outcome": outcome})
        return True


class Worker:
    """A process that runs cases; started anew after it died or was killed."""

    def __init__(self, target: str, seed: int, folder: Path, patience: float) -> None:
        self._command = [sys.executable, "-m", "fuzz.worker", target, str(seed), str(folder)]
        self._folder, self._patience = folder, patience
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def run(self, number: int) -> dict[str, Any]:
        """One case."""
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        label = "?"
        try:
            for _ in range(2):
                line = self._lines.get(timeout=self._patience)
                if not line:
                    code = process.wait()
                    self._process = None
                    return _lost(f"crash: the process ended with {code}", label)
                value = json.loads(line)
                if isinstance(value, str):
                    label = value
        except queue.Empty:
            self.stop()
            return _lost(f"hang: no answer in {self._patience:.0f} s", label)
        return {"label": label, **value}

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _running(self) -> "subprocess.Popen[str]":
        if self._process is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            (self._folder / "own").mkdir(parents=True)
            paths = [str(ROOT / "src"), str(ROOT / "projects/nano"), str(ROOT / "tests"), str(ROOT)]
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env=os.environ
                | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            )
            self._lines = queue.Queue()
            threading.Thread(target=_pass_on, args=(self._process, self._lines), daemon=True).start()
            if self._lines.get(timeout=START_SECONDS).strip() != "ready":
                raise SystemExit(f"the worker does not start; try: {' '.join(self._command)}")
        return self._process


def _pass_on(process: "subprocess.Popen[str]", lines: "queue.Queue[str]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")


def _lost(outcome: str, label: str) -> dict[str, Any]:
    return {"outcome": outcome, "label": label, "megabytes": 0.0, "cpu": 0.0, "seconds": 0.0}


def fuzz(target: str, options: argparse.Namespace, seconds: float, scratch: Path) -> Tally:
    """Run cases of one target until the time is over."""
    tally, folder = Tally(target), scratch / target.replace(" ", "-")
    worker = Worker(target, options.seed, folder, options.hang)
    numbers = (
        [options.case] if options.case is not None else range(options.first, options.first + options.most)
    )
    until = None
    try:
        for number in numbers:
            result = worker.run(number)
            until = until or time.monotonic() + seconds  # starting does not count
            if tally.add(number, result):
                fault = tally.faults[-1]
                _keep(folder / "input", options.keep / f"{folder.name}-{number}", fault)
                print(f"FAULT {target} case {number}: {fault['outcome']} ({fault['label']})", flush=True)
            if time.monotonic() > until:
                break
    finally:
        worker.stop()
    print(f"{target}: {tally.tried} tried, {len(tally.faults)} faults", flush=True)
    return tally


def _keep(found: Path, place: Path, fault: dict[str, Any]) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (place / "fault.json").write_text(json.dumps(fault, indent=1) + "\n", encoding="utf-8")
    if found.is_dir():
        shutil.copytree(found, place / "input", symlinks=True)


def _table(tallies: list[Tally]) -> str:
    names = ("input", "tried", "accepted", "refused", "crashes", "hangs", "too much memory", "too slow",
             "worst MB", "worst s")  # fmt: skip
    rows = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for tally in tallies:
        kinds = [fault["outcome"].partition(":")[0] for fault in tally.faults]
        counts = " | ".join(str(kinds.count(kind)) for kind in ("crash", "hang", "memory", "slow"))
        rows.append(
            f"| {tally.target} | {tally.tried} | {tally.accepted} | {tally.refused} | {counts} | "
            f"{tally.megabytes:.0f} | {tally.seconds:.1f} |"
        )
    return "\n".join(rows)


def main() -> None:
    known = [name for name in TARGETS if name != "planted"]
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=300.0, help="for all kinds together (default 300)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=known, choices=list(TARGETS), metavar="KIND",
                        help=f"kinds of input: {', '.join(known)}")  # fmt: skip
    parser.add_argument("--case", type=int, help="run this case alone")
    parser.add_argument("--first", type=int, default=0, help="begin with this case")
    parser.add_argument("--most", type=int, default=10**9, help="cases of each kind at most")
    parser.add_argument("--workers", type=int, default=min(os.cpu_count() or 1, 4), help="kinds at a time")
    parser.add_argument("--hang", type=float, default=60.0, help="seconds without an answer (default 60)")
    parser.add_argument("--keep", type=Path, default=ROOT / "build/fuzz", help="where inputs of faults go")
    options = parser.parse_args()
    share = options.seconds * min(options.workers, len(options.only)) / len(options.only)
    print(f"seed {options.seed}; {share:.0f} s for each of {', '.join(options.only)}", flush=True)
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(options.workers) as pool:
        jobs = [pool.submit(fuzz, target, options, share, Path(scratch)) for target in options.only]
        tallies = [job.result() for job in jobs]
    print(_table(tallies))
    faults = sum(len(tally.faults) for tally in tallies)
    if faults:
        print(f"{faults} faults; their inputs are in {options.keep}")
        print("one again: python -m fuzz --only KIND --case NUMBER")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
