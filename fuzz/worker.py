"""Runs the cases whose numbers come in, one at a time: ``python -m fuzz.worker TARGET SEED FOLDER``.

A line in is a number. Two lines of JSON come out: what the case is, and what came of it. What the program
prints is thrown away.
"""

import importlib
import json
import os
import shutil
import sys
import time
import traceback
import warnings
from pathlib import Path
from random import Random

from fuzz.target import Case, Target
from imagebind_llm.common.errors import one_line

TARGETS = {
    "media": "fuzz.media:MediaFiles",
    "arrays": "fuzz.media:Arrays",
    "batch lines": "fuzz.batch_lines:BatchLines",
    "models": "fuzz.folders:Models",
    "adapters": "fuzz.folders:Adapters",
    "caches": "fuzz.folders:Caches",
    "runs": "fuzz.folders:Runs",
    "pth": "fuzz.folders:Pickles",
    "kills": "fuzz.kills:Kills",
    "planted": "fuzz.planted:Planted",
}
LONGEST_LINE = 1500


def memory(name: str) -> float:
    """``VmRSS`` (now) or ``VmHWM`` (the most since it was reset) in MB."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name)) / 1024


def attempt(case: Case, refusals: tuple[type[Exception], ...]) -> dict[str, object]:
    """Run one case."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the most memory so far is forgotten
    before, started, cpu = memory("VmRSS"), time.monotonic(), time.process_time()
    try:
        case.run()
        outcome = "accepted"
    except refusals as error:
        message = str(error)
        fine = message and "\n" not in message and len(message) <= LONGEST_LINE
        outcome = "refused" if fine else f"crash: a message that is not one short line: {message[:200]!r}"
    except BaseException as error:
        outcome = f"crash: {type(error).__name__}: {one_line(error)}"
    return {
        "outcome": outcome,
        "megabytes": memory("VmHWM") - before,
        "seconds": time.monotonic() - started,
        "cpu": time.process_time() - cpu,
    }


def main() -> None:
    name, seed, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    complaints = os.fdopen(os.dup(2), "w", encoding="utf-8")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    warnings.simplefilter("ignore")
    sys.excepthook = lambda *error: traceback.print_exception(
        *error, file=complaints
    )  # a fault of the fuzzer
    module, _, kind = TARGETS[name].partition(":")
    target: Target = getattr(importlib.import_module(module), kind)(folder / "own", folder / "input")
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        shutil.rmtree(target.input, ignore_errors=True)
        target.input.mkdir(parents=True)
        case = target.case(Random(f"{seed} {target.name} {int(line)}"))
        print(json.dumps(one_line(case.label)), file=out, flush=True)
        print(json.dumps(attempt(case, target.refusals)), file=out, flush=True)


if __name__ == "__main__":
    main()
