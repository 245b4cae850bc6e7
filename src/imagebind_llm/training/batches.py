"""The micro-batches of the steps to come, prepared ahead if asked."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from imagebind_llm.training.run_settings import RunSettings
from imagebind_llm.training.stage import Stage


class MicroBatch(NamedTuple):
    """A batch and its number, counted over the whole run."""

    number: int
    batch: Any


def batches(stage: Stage, run: RunSettings, mine: range, first_step: int) -> Iterator[list[MicroBatch]]:
    """For each step from ``first_step`` on, its micro-batches ``mine``."""

    def make(step: int) -> list[MicroBatch]:
        numbers = [step * run.accumulate + micro for micro in mine]
        return [MicroBatch(number, stage.batch(number)) for number in numbers]

    if not run.prefetch:
        for step in range(first_step, run.steps):
            yield make(step)
        return
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting: list[Future[list[MicroBatch]]] = []
        for step in range(first_step, run.steps):
            while len(waiting) <= run.prefetch and step + len(waiting) < run.steps:
                waiting.append(pool.submit(make, step + len(waiting)))
            yield waiting.pop(0).result()
