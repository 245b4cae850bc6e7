"""Trains a run to its end, killing it with SIGKILL on the way: ``kill_driver.py FOLDER KILLS SEED``.

``FOLDER/straight`` is never killed. ``FOLDER/killed`` is, at random moments, and started anew each time in a
new process (a fork of this one, which has the libraries loaded but has not computed anything). What happened
is printed as JSON.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from imagebind_llm.training.checkpoint import list_checkpoints
from imagebind_llm.training.loop import train
from support.builders import make

RUN = {"steps": 50, "batch_size": 4, "checkpoint_every": 1, "keep": 2, "evaluate_every": 20, "prefetch": 1}


def start(folder: Path) -> int:
    """A process that trains ``folder``'s run from where it is."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the bar
            train(*make("images", folder, folder.parent, run=RUN, optimizer={"ema": 0.9}))
            code = 0
        finally:
            os._exit(code)
    return child


def newest(folder: Path) -> int:
    found = list_checkpoints(folder / "checkpoints")
    return int(found[-1].name.removeprefix("step-")) if found else 0


def main() -> None:
    root, kills, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    if os.waitstatus_to_exitcode(os.waitpid(start(root / "straight"), 0)[1]):
        sys.exit("the run that nobody kills failed")
    killed = root / "killed"
    steps, halves = [], 0
    for _ in range(kills):
        before, child = newest(killed), start(killed)
        target = before + rng.randint(0, 4)
        while newest(killed) < target and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.2))
        os.kill(child, signal.SIGKILL)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -signal.SIGKILL:
            sys.exit("the run ended before it could be killed; give it more steps")
        steps.append(newest(killed))
        halves += any((killed / "checkpoints").glob(".step-*"))
    if os.waitstatus_to_exitcode(os.waitpid(start(killed), 0)[1]):
        sys.exit("the run that was killed cannot be finished")
    print(json.dumps({"killed_after_steps": steps, "while_writing": halves}))


if __name__ == "__main__":
    main()
