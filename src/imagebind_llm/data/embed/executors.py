"""Who does the work on one machine: this process, or several."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any

from imagebind_llm.common.errors import TrainingDataError
from imagebind_llm.data.embed.shard import Job, ShardResult, ShardWorker, Task

Execute = Callable[[Job, Iterable[Task]], Iterator[ShardResult]]
"""Does tasks and gives their results in any order; takes tasks as it goes, so they need not fit in memory."""

_AHEAD = 2
"""Tasks on their way for each worker."""


def in_this_process(job: Job, tasks: Iterable[Task]) -> Iterator[ShardResult]:
    """One after the other."""
    import torch

    threads = torch.get_num_threads()
    worker = ShardWorker(job)
    try:
        yield from map(worker, tasks)
    finally:
        torch.set_num_threads(threads)


def in_processes(workers: int) -> Execute:
    """In ``workers`` processes, each with one thread and an encoder of its own; GPUs are dealt out."""

    def execute(job: Job, tasks: Iterable[Task]) -> Iterator[ShardResult]:
        context = multiprocessing.get_context("spawn")
        turn = context.Value("i", 0)
        with ProcessPoolExecutor(workers, context, _start, (job, turn)) as pool:
            running: set[Future[ShardResult]] = set()
            try:
                for task in tasks:
                    running.add(pool.submit(_work, task))
                    if len(running) >= _AHEAD * workers:
                        finished, running = wait(running, return_when=FIRST_COMPLETED)
                        for future in finished:
                            yield future.result()
                while running:
                    finished, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        yield future.result()
            except BrokenProcessPool:
                raise TrainingDataError(
                    "a worker process died, perhaps for want of memory; what is done is kept: start again "
                    "with fewer --workers or a smaller --batch-size"
                ) from None
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    return execute


def on_this_machine(device: str, workers: int | None = None, most: int | None = None) -> Execute:
    """In processes of this machine, one a core or one a GPU.

    Args:
        device: where the encoder runs.
        workers: so many processes instead.
        most: no more than this many, for example because there are no more tasks.
    """
    if workers is None:
        import torch

        from imagebind_llm.inference.loading import choose_device

        gpu = choose_device(device).type == "cuda"
        workers = torch.cuda.device_count() if gpu else len(os.sched_getaffinity(0))
    workers = workers if most is None else min(workers, most)
    return in_this_process if workers == 1 else in_processes(workers)


_job: Job | None = None
_worker: ShardWorker | None = None


def _start(job: Job, turn: Any) -> None:
    """Prepare a worker process: it must not outlive its parent, and takes the next of several GPUs."""
    global _job
    threading.Thread(target=_follow_parent, daemon=True).start()
    with turn.get_lock():
        number, turn.value = turn.value, turn.value + 1
    _job = on_device(job, number)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker process has a parent"
    parent.join()
    os._exit(1)


def _work(task: Task) -> ShardResult:
    global _worker
    if _worker is None:  # here and not at the start, so that its errors reach the parent
        assert _job is not None, "_start has run"
        _worker = ShardWorker(_job)
    return _worker(task)


def on_device(job: Job, number: int) -> Job:
    """The job for worker ``number``: one GPU of several."""
    import torch

    if job.device not in ("auto", "cuda") or torch.cuda.device_count() < 2:
        return job
    return replace(job, device=f"cuda:{number % torch.cuda.device_count()}")
