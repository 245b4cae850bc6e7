"""One process of ``torchrun``: trains a list of runs on the tiny world, one after the other.

``training_worker.py INPUTS JOBS.json`` where a job is ``{"kind", "folder", "changes"}`` and may have
``resume_from`` (a checkpoint to go on from) and ``signal_at`` (rank 1 gets a SIGTERM at that micro-batch).
Each process writes how a job ended to ``FOLDER/result-RANK.json``.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    from imagebind_llm.training.parallel import leave_the_others

    inputs, jobs = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    for job in jobs:
        train_one(job, inputs)
    leave_the_others(0)


def train_one(job: dict[str, Any], inputs: Path) -> None:
    import torch
    from accelerate import PartialState

    from imagebind_llm.training.checkpoint import claim_run_folder
    from imagebind_llm.training.loop import train
    from support.builders import make

    state = PartialState(cpu=True)
    folder = Path(job["folder"])
    if "resume_from" in job and state.is_main_process:
        claim_run_folder(folder)
        before = Path(job["resume_from"])
        shutil.copytree(before, folder / "checkpoints" / before.name)
    state.wait_for_everyone()
    stage, recipe = make(job["kind"], folder, inputs, **job["changes"])
    if state.process_index == 1 and "signal_at" in job:
        usual = stage.batch

        def batch(number: int) -> Any:
            if number == job["signal_at"]:
                os.kill(os.getpid(), signal.SIGTERM)
            return usual(number)

        stage.batch = batch  # type: ignore[method-assign]
    divided = recipe.run.sharding == "full"
    result = train(stage, recipe)
    parameters = sum(isinstance(p, torch.distributed.tensor.DTensor) for p in stage.trainable().values())
    report = {
        "finished": result.finished,
        "step": result.step,
        "signal": result.signal,
        "divided": divided and not result.finished and parameters > 0,
    }
    (folder / f"result-{state.process_index}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
