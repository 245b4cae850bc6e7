"""The folder of embeddings: who may write, what is done already, and what it says about itself.

``manifest.json``        what was embedded by what; when complete also every shard with its SHA-256 sums
``shard-000000.jsonl``   samples: key and messages; a medium is a row number
``shard-000000.npy``     ``[views, media, D]`` float16
``quarantine.jsonl``     bad samples: source, key, reason

Until the job is complete, ``shard-000000.json``, written last, says that both files of a shard are whole.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagebind_llm.common.errors import TrainingDataError
from imagebind_llm.common.files import atomic_write, held, sha256
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
        return f"shard-{self.number:06d}"


class EmbeddingStore:
    """A folder that one process writes. Use :func:`open_store`."""

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder = folder
        self.identity = identity
        self.done: dict[int, ShardFacts] = {}
        for stale in folder.glob(".[mqs]*"):  # half-written files of a killed process
            if stale.name.startswith((".shard-", ".manifest", ".quarantine")):
                stale.unlink()
        manifest = _read_json(folder / MANIFEST)
        if manifest is None:
            if any(not path.name.startswith(".") for path in folder.iterdir()):
                raise TrainingDataError(
                    f"the folder {str(folder)!r} holds other files; give a new or empty one"
                )
            self._write_manifest({"complete": False})
            manifest = {**identity, "complete": False}
        for name, value in identity.items():
            if manifest.get(name) != value:
                raise TrainingDataError(
                    f"the embeddings in {str(folder)!r} were begun with {name} {manifest.get(name)!r}, this "
                    f"run has {value!r}; delete the folder to start again, or give another"
                )
        self.complete = bool(manifest["complete"])
        if self.complete:
            self._forget_marks()
            return
        for path in sorted(folder.glob("shard-*.json")):
            facts = _facts(_read_json(path))
            if facts is not None and _whole(folder, facts):
                self.done[facts.number] = facts
            else:
                path.unlink()

    def write(self, result: ShardResult) -> ShardFacts:
        """Keep a shard."""
        task = result.task
        assert result.rows + len(result.bad) == task.stop - task.start, "every sample is good or bad"
        stem = self.folder / f"shard-{task.number:06d}"
        with atomic_write(stem.with_suffix(".jsonl")) as temporary:
            temporary.write_bytes(result.lines)
        with atomic_write(stem.with_suffix(".npy")) as temporary, temporary.open("wb") as file:
            np.save(file, result.vectors)
        facts = ShardFacts(
            number=task.number,
            source=result.source,
            start=task.start,
            stop=task.stop,
            rows=result.rows,
            media=result.vectors.shape[1],
            lines_sha256=hashlib.sha256(result.lines).hexdigest(),
            vectors_sha256=sha256(stem.with_suffix(".npy")),
            bad=tuple(result.bad),
        )
        with atomic_write(stem.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(vars(facts)), encoding="utf-8", errors="backslashreplace")
        self.done[task.number] = facts
        return facts

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
        manifest = self._write_manifest(
            {
                "complete": True,
                "rows": rows,
                "bad": bad,
                "media": sum(shard["media"] for shard in shards),
                "shards": shards,
            }
        )
        self._forget_marks()
        self.complete = True
        return manifest

    def _write_manifest(self, more: dict[str, Any]) -> dict[str, Any]:
        manifest = {**self.identity, **more}
        with atomic_write(self.folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        return manifest

    def _forget_marks(self) -> None:
        for path in self.folder.glob("shard-*.json"):
            path.unlink()


@contextmanager
def open_store(folder: Path, identity: dict[str, Any]) -> Iterator[EmbeddingStore]:
    """The store in ``folder``, new or to be gone on with, for this process alone.

    Raises:
        TrainingDataError: it belongs to another job, or another process is writing it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    refusal = TrainingDataError(
        f"another process is writing {str(folder)!r}; wait for it, or give another folder"
    )
    with held(folder / _LOCK, refusal):
        yield EmbeddingStore(folder, json.loads(json.dumps({"format": FORMAT, **identity})))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a complete folder.

    Raises:
        TrainingDataError: it is none, or not complete.
    """
    manifest = _read_json(folder / MANIFEST)
    if manifest is None or manifest.get("format") != FORMAT:
        raise TrainingDataError(
            f"{str(folder)!r} holds no embeddings of format {FORMAT}; make some: imagebind-llm data embed"
        )
    if not manifest.get("complete"):
        raise TrainingDataError(
            f"the embeddings in {str(folder)!r} are not complete; run the same imagebind-llm data embed again"
        )
    return manifest


def _whole(folder: Path, facts: ShardFacts) -> bool:
    lines, vectors = (folder / f"{facts.name}{suffix}" for suffix in (".jsonl", ".npy"))
    return (
        lines.is_file()
        and vectors.is_file()
        and sha256(lines) == facts.lines_sha256
        and sha256(vectors) == facts.vectors_sha256
    )


def _facts(values: Any) -> ShardFacts | None:
    try:
        return ShardFacts(**{**values, "bad": tuple((key, reason) for key, reason in values["bad"])})
    except (TypeError, KeyError, ValueError):
        return None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
