"""The folder of embeddings: who may write, what is done already, and what it says about itself.

``manifest.json``        what was embedded by what; when complete also every shard with its SHA-256 sums
``shard-000000.jsonl``   samples: key and messages; a medium is a row number
``shard-000000.npy``     ``[views, media, D]`` float16
``quarantine.jsonl``     bad samples: source, key, reason

Until the job is complete, ``shard-000000.json``, written last, says that both files of a shard are whole.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagebind_llm.common.errors import TrainingDataError
from imagebind_llm.common.files import atomic_write
from imagebind_llm.common.work_folder import WorkFolder, work_folder
from imagebind_llm.data.embed.shard import ShardResult

FORMAT = 1
MANIFEST = "manifest.json"
REPORT = "quarantine.jsonl"

_LOCK = ".lock"


@dataclass(frozen=True)
class ShardFacts:
    """What the manifest keeps of a shard.

    Attributes:
        source: name of the source.
        start: first sample in it.
        stop: first sample after the shard.
        rows: good samples.
        media: embeddings of one view.
        lines_sha256: of the ``.jsonl`` file.
        vectors_sha256: of the ``.npy`` file.
        bad: key and reason of each bad sample (in the report, not in the manifest).
    """

    number: int
    source: str
    start: int
    stop: int
    rows: int
    media: int
    lines_sha256: str
    vectors_sha256: str
    bad: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """Of its files, without suffix."""
        return shard_name(self.number)


class EmbeddingStore:
    """A folder that one process writes. Use :func:`open_store`."""

    def __init__(self, work: WorkFolder) -> None:
        self.folder = work.path
        self._work = work
        self.complete = bool(work.noted.get("complete"))
        self.done: dict[int, ShardFacts] = {}
        if self.complete:
            work.forget_steps(shard_name(shard["number"]) for shard in work.noted["shards"])
            return
        for files, facts in work.steps().values():
            shard = _facts(files, facts)
            self.done[shard.number] = shard

    def write(self, result: ShardResult) -> ShardFacts:
        """Keep a shard."""
        task = result.task
        assert result.rows + len(result.bad) == task.stop - task.start, "every sample is good or bad"
        name = shard_name(task.number)
        lines, vectors = f"{name}.jsonl", f"{name}.npy"
        with atomic_write(self.folder / lines) as temporary:
            temporary.write_bytes(result.lines)
        with atomic_write(self.folder / vectors) as temporary, temporary.open("wb") as file:
            np.save(file, result.vectors)
        facts = {
            "number": task.number,
            "source": result.source,
            "start": task.start,
            "stop": task.stop,
            "rows": result.rows,
            "media": result.vectors.shape[1],
            "bad": result.bad,
        }
        sums = self._work.finish(name, (lines, vectors), facts)
        self.done[task.number] = _facts(sums, facts)
        return self.done[task.number]

    def report(self) -> Path:
        """Write the list of bad samples found so far, in the order of the samples."""
        path = self.folder / REPORT
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            for number in sorted(self.done):
                facts = self.done[number]
                for key, reason in facts.bad:
                    line = json.dumps(
                        {"source": facts.source, "key": key, "reason": reason}, ensure_ascii=False
                    )
                    file.write(line.encode("utf-8", "backslashreplace") + b"\n")
        return path

    def finish(self) -> dict[str, Any]:
        """All shards are there: say so. Returns the manifest."""
        self.report()
        shards = []
        for number in sorted(self.done):
            values = {name: value for name, value in vars(self.done[number]).items() if name != "bad"}
            shards.append({**values, "bad": len(self.done[number].bad)})
        rows, bad = (sum(shard[name] for shard in shards) for name in ("rows", "bad"))
        manifest = self._work.note(
            {
                "complete": True,
                "rows": rows,
                "bad": bad,
                "media": sum(shard["media"] for shard in shards),
                "shards": shards,
            }
        )
        self._work.forget_steps(self.done[number].name for number in self.done)
        self.complete = True
        return manifest


@contextmanager
def open_store(folder: Path, identity: dict[str, Any]) -> Iterator[EmbeddingStore]:
    """The store in ``folder``, new or to be gone on with, for this process alone.

    Raises:
        TrainingDataError: it belongs to another job, or another process is writing it.
    """
    busy = f"another process is writing {str(folder)!r}; wait for it, or give another folder"
    identity = {"format": FORMAT, **identity}
    with work_folder(folder, identity, TrainingDataError, busy=busy, file=MANIFEST) as work:
        yield EmbeddingStore(work)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a complete folder.

    Raises:
        TrainingDataError: it is none, or not complete.
    """
    manifest = _read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise TrainingDataError(
            f"{str(folder)!r} holds no embeddings of format {FORMAT}; make some: imagebind-llm data embed"
        )
    if not manifest.get("complete"):
        raise TrainingDataError(
            f"the embeddings in {str(folder)!r} are not complete; run the same imagebind-llm data embed again"
        )
    return manifest


def shard_name(number: int) -> str:
    """Of a shard's files, without suffix."""
    return f"shard-{number:06d}"


def _facts(files: Mapping[str, str], facts: Mapping[str, Any]) -> ShardFacts:
    sums = {Path(name).suffix: digest for name, digest in files.items()}
    values = {**facts, "bad": tuple((key, reason) for key, reason in facts["bad"])}
    return ShardFacts(**values, lines_sha256=sums[".jsonl"], vectors_sha256=sums[".npy"])


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
