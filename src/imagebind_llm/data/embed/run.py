"""``data embed`` from beginning to end: cut sources into tasks, have them done, keep what comes.

On a Ray cluster a task is tried again elsewhere when its machine dies. The machines must see the data, the
encoder's folder and this package. Only this process writes, so the result is complete whatever happens.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import (
    BadSample,
    ConfigError,
    TrainingDataError,
    UserError,
    reason_of,
    require,
)
from imagebind_llm.data.embed.executors import Execute, in_this_process
from imagebind_llm.data.embed.shard import DTYPE, Job, ShardResult, ShardWorker, Task
from imagebind_llm.data.embed.store import REPORT, EmbeddingStore, ShardFacts, open_store
from imagebind_llm.data.quarantine import Quarantine
from imagebind_llm.data.sources.base import Source, StreamingSource


@dataclass(frozen=True)
class RunOutput:
    """What :func:`embed_sources` did.

    Attributes:
        rows: good samples in the folder.
        media: embeddings of one view.
        resumed: samples (good and bad) taken over from an earlier run.
        bad: bad samples by source.
        report: the list of bad samples.
        encoder: fingerprint.
        finished_before: all was there already.
    """

    folder: Path
    rows: int
    media: int
    resumed: int
    bad: dict[str, int]
    report: Path
    encoder: str
    finished_before: bool = False


def embed_sources(
    job: Job,
    folder: Path,
    execute: Execute = in_this_process,
    quarantine: Quarantine | None = None,
    progress: bool = True,
) -> RunOutput:
    """Embed all samples of the job's sources into ``folder``, from where an earlier run was stopped.

    The folder's files are the same, byte for byte, whoever does the work, in whatever order, and however
    often it is interrupted (on machines of one kind: other processors round otherwise).

    Args:
        quarantine: its limits are used; the report is ``quarantine.jsonl`` in ``folder``.

    Raises:
        TrainingDataError: too many bad samples; the folder belongs to another job; no sample is good.
        ConfigError: two sources have the same name.
    """
    from tqdm import tqdm

    sources = [job.open(number) for number in range(len(job.sources))]
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise ConfigError(f"two sources have the same name ({', '.join(sorted(names))}); set their name:")
    quarantine = quarantine or Quarantine()
    total = sum(len(source) for source in sources if isinstance(source, Source))
    with open_store(folder, _identity(job, sources)) as store:
        resumed = sum(facts.stop - facts.start for facts in store.done.values())
        finished_before = store.complete
        quiet = finished_before or not progress
        bar = tqdm(total=total or None, unit="sample", desc="embed", disable=quiet)
        try:
            if not finished_before:
                for number in sorted(store.done):
                    bar.update(_count(store.done[number], quarantine))
                for result in execute(job, _tasks(job, sources, store)):
                    bar.update(_count(store.write(result), quarantine))
                if any(facts.rows for facts in store.done.values()):  # else there is a clearer word for it
                    quarantine.judge()
        except TrainingDataError as error:
            raise TrainingDataError(f"{error}; bad samples are listed in {str(store.report())!r}") from None
        finally:
            bar.close()
        return _finish(store, resumed, finished_before)


def _identity(job: Job, sources: list[Source | StreamingSource]) -> dict[str, Any]:
    """What must be the same for a run to go on in a folder."""
    import numpy as np

    from imagebind_llm.encoders import load_encoder, media_of_encoder
    from imagebind_llm.inference.loading import choose_device, choose_dtype

    encoder: Any = load_encoder(job.encoder)
    return {
        "encoder_fingerprint": str(encoder.fingerprint),
        "dim": int(encoder.embedding_dim),
        "dtype": np.dtype(DTYPE).name,
        "computed_in": str(choose_dtype(job.dtype, choose_device(job.device))).removeprefix("torch."),
        "media_settings": media_of_encoder(job.encoder, encoder).to_dict(),
        "views": job.stored_views,
        "augmented": job.views > 0,
        "seed": job.seed,
        "shard_rows": job.shard_rows,
        "batch_size": job.batch_size,
        "sources": [
            {"name": source.name, "kind": settings.kind, "fingerprint": source.fingerprint}
            for source, settings in zip(sources, job.sources, strict=True)
        ],
    }


def _tasks(job: Job, sources: list[Source | StreamingSource], store: EmbeddingStore) -> Iterator[Task]:
    """What is not done yet. Shards are numbered through all sources; a stream's samples come along."""
    number = 0
    for place, source in enumerate(sources):
        if isinstance(source, Source):
            for start in range(0, len(source), job.shard_rows):
                if number not in store.done:
                    yield Task(number, place, start, min(start + job.shard_rows, len(source)))
                number += 1
            continue
        start = 0
        while number in store.done and store.done[number].source == source.name:
            start = store.done[number].stop
            number += 1
        stream = source.stream(start)
        while records := tuple(islice(stream, job.shard_rows)):
            if number not in store.done:
                yield Task(number, place, start, start + len(records), records)
            start += len(records)
            number += 1


def _count(facts: ShardFacts, quarantine: Quarantine) -> int:
    """Tell the quarantine about a shard; returns its samples."""
    quarantine.passed(facts.rows)
    for key, reason in facts.bad:
        quarantine.report(facts.source, BadSample(key, reason))
    return facts.rows + len(facts.bad)


def _finish(store: EmbeddingStore, resumed: int, finished_before: bool) -> RunOutput:
    from imagebind_llm.data.embed.store import read_manifest

    if not store.complete and not any(facts.rows for facts in store.done.values()):
        bad = sum(len(facts.bad) for facts in store.done.values())
        raise TrainingDataError(
            f"none of {bad} samples could be embedded; the reasons are listed in {str(store.report())!r}"
        )
    manifest = read_manifest(store.folder) if store.complete else store.finish()
    bad_by_source = {source["name"]: 0 for source in manifest["sources"]}
    for shard in manifest["shards"]:
        bad_by_source[shard["source"]] += shard["bad"]
    return RunOutput(
        store.folder,
        manifest["rows"],
        manifest["media"],
        resumed,
        bad_by_source,
        store.folder / REPORT,
        manifest["encoder_fingerprint"],
        finished_before,
    )


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
