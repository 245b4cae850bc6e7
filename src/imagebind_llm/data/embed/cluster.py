"""Doing the work on a Ray cluster: a task is tried again elsewhere when its machine dies.

The machines must see the data, the encoder's folder and this package; only this process writes, so the result
is complete whatever happens to the others.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from imagebind_llm.common.errors import UserError, reason_of, require
from imagebind_llm.data.embed.executors import Execute
from imagebind_llm.data.embed.shard import Job, ShardResult, ShardWorker, Task

_AHEAD = 2
"""Tasks on their way for each place of the cluster."""


def on_cluster(address: str) -> Execute:
    """On the cluster at ``address``: ``auto``, ``host:port``, ``ray://host:port``; ``local`` starts one here.

    A cluster that this process is connected to already is used as it is.

    Raises:
        MissingExtraError: Ray is not installed.
        UserError: there is no cluster at that address.
    """
    ray: Any = require("ray", "scale", "--ray")

    def execute(job: Job, tasks: Iterable[Task]) -> Iterator[ShardResult]:
        ours = not ray.is_initialized()
        if ours:
            try:
                ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise UserError(
                    f"no Ray cluster at {address!r} ({reason_of(error)}); start one with: ray start"
                ) from None
        try:
            yield from _execute(ray, job, tasks)
        finally:
            if ours:
                ray.shutdown()

    return execute


def _execute(ray: Any, job: Job, tasks: Iterable[Task]) -> Iterator[ShardResult]:
    gpus = 1 if job.device.startswith("cuda") else 0
    # without end: a machine that dies takes its tasks' tries along, and that is nobody's fault
    work = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=-1)(_work)
    shared = ray.put(job)
    running: set[Any] = set()

    def collect() -> Iterator[ShardResult]:
        finished, _ = ray.wait(list(running), num_returns=1)
        for reference in finished:
            running.discard(reference)
            try:
                yield ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                raise (cause if isinstance(cause, UserError) else error) from None

    for task in tasks:
        running.add(work.remote(shared, task))
        while len(running) >= _AHEAD * _places(ray, gpus):
            yield from collect()
    while running:
        yield from collect()


def _places(ray: Any, gpus: int) -> int:
    """Tasks that the cluster, as it is now, can do at once."""
    return max(1, int(ray.cluster_resources().get("GPU" if gpus else "CPU", 1)))


_workers: dict[str, ShardWorker] = {}


def _work(job: Job, task: Task) -> ShardResult:
    """Runs in a Ray worker process, which Ray keeps for further tasks."""
    if job.key not in _workers:
        _workers.clear()
        _workers[job.key] = ShardWorker(job)
    return _workers[job.key](task)
