"""Carrying out a plan: a staging folder beside the result, finished shards kept, one rename at the end."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from imagebind_llm import __version__
from imagebind_llm.checkpoints.convert.plan import Plan
from imagebind_llm.checkpoints.convert.shards import Shard, index_of, split, write_safetensors
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.files import (
    alone,
    atomic_write,
    gigabytes,
    is_full_disk,
    require_space,
    sync,
)
from imagebind_llm.common.folders import atomic_directory, claim, foreign_file, mark, require_claimable
from imagebind_llm.common.work_folder import WorkFolder

SHARD_BYTES = 2 * 10**9
RECORD_FILE = "conversion.json"
"""In the result: what was made from what. In the staging folder: also which shards are finished."""
_RELEASE_BYTES = 512 * 10**6
"""Mapped pages that have been read are let go whenever this much was written."""


@dataclass(frozen=True)
class Converted:
    """What was written: the folder, its size, and how many shards an earlier run had finished."""

    folder: Path
    tensors: int
    bytes: int
    files: int
    resumed: int


def convert(
    plan: Plan,
    out: Path,
    shard_bytes: int = SHARD_BYTES,
    progress: bool = False,
    describe: Callable[[Path], None] = lambda _: None,
) -> Converted:
    """Write the result of ``plan`` to the folder ``out``; it appears whole or not at all.

    ``describe`` is called with the folder when all else is in it, right before it appears.

    Interrupted (even killed), it goes on when called again with the same sources and options: finished shards
    lie in ``.NAME.converting`` beside ``out`` and are used again if their SHA-256 is still right.

    Raises:
        CheckpointError: ``out`` exists, another conversion to it is running, or the disk is too full.
    """
    check_target(out)
    shards = split(plan.tensors, plan.stem, None if plan.single else shard_bytes)
    with staging(out) as stage, disk_errors(stage):
        work = WorkFolder(stage, {"job": _job(plan, shards)}, file=RECORD_FILE, fresh=True)
        finished = work.steps()
        sums = {name: digest for files, _ in finished.values() for name, digest in files.items()}
        missing = [shard for shard in shards if shard.step not in finished]
        need = sum(shard.bytes for shard in missing)
        require_space(out.parent, need, "the result")
        with tqdm(
            total=plan.bytes, initial=plan.bytes - need, unit="B", unit_scale=True, disable=not progress
        ) as bar:
            for shard in missing:
                with atomic_write(stage / shard.name) as temporary:
                    digest = write_safetensors(
                        temporary, shard.tensors, plan.metadata, _releasing(plan, bar.update)
                    )
                plan.release()
                sums |= work.finish(shard.step, {shard.name: digest}, {})
        if len(shards) > 1:
            (stage / f"{plan.stem}.safetensors.index.json").write_text(index_of(shards), encoding="utf-8")
        plan.finish(stage)
        work.note({"shards": dict(sorted(sums.items()))})
        work.forget_steps(shard.step for shard in shards)
        describe(stage)
        publish(stage, out)
    return Converted(out, len(plan.tensors), plan.bytes, len(shards), len(finished))


def check_target(out: Path) -> None:
    """Refuse to write over anything.

    Raises:
        CheckpointError: ``out`` is a file, or a folder that is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"{str(out)!r} already exists; give a new folder, or delete that one first")


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """The staging folder of ``out``, for one process at a time. It stays if something goes wrong inside.

    Raises:
        CheckpointError: another process uses it.
    """
    stage = out.parent / f".{out.name}.converting"
    require_claimable(stage, error=CheckpointError)
    with alone(out, CheckpointError(f"another conversion to {str(out)!r} is running; wait for it")):
        claim(stage, error=CheckpointError)
        try:
            yield stage
        finally:
            if stage.is_dir() and foreign_file(stage) is None:  # nothing but our mark
                shutil.rmtree(stage)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write into that becomes ``out`` when all went well, and is removed if not.

    Raises:
        CheckpointError: ``out`` is in use, or the disk is full.
    """
    check_target(out)
    with atomic_directory(out, CheckpointError) as stage:
        yield stage
        check_target(out)  # another process may have been quicker


@contextmanager
def disk_errors(stage: Path) -> Iterator[None]:
    """A full disk in one line.

    Raises:
        CheckpointError: there was no room; what is finished stays.
    """
    try:
        yield
    except Exception as error:
        if not is_full_disk(error):
            raise
        kept = sum(file.stat().st_size for file in stage.iterdir()) if stage.is_dir() else 0
        raise CheckpointError(
            f"the disk of {str(stage.parent)!r} is full; make room and run the same command again: "
            f"{gigabytes(kept)} finished are kept in {stage.name!r} (delete it to give up)"
        ) from None


def publish(stage: Path, out: Path) -> None:
    """Force the files to disk and put the folder in its place."""
    mark(stage)
    stage.chmod(0o755)
    for file in stage.rglob("*"):
        sync(file)
    if out.is_dir():
        out.rmdir()  # it is empty
    os.replace(stage, out)
    sync(out.parent)


def _releasing(plan: Plan, advance: Callable[[int], object]) -> Callable[[int], None]:
    """``advance``, and now and then ``plan.release``."""
    read = 0

    def call(count: int) -> None:
        nonlocal read
        advance(count)
        read += count
        if read >= _RELEASE_BYTES:
            read = 0
            plan.release()

    return call


def _job(plan: Plan, shards: Sequence[Shard]) -> dict[str, Any]:
    """What must be the same for a shard to be used again."""
    listing = [[shard.name, [tensor.to_dict() for tensor in shard.tensors]] for shard in shards]
    files = [file for source in plan.sources for file in source.files]
    return {
        "kind": plan.kind,
        "created_by": f"imagebind-llm {__version__}",
        "files": [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files],
        "tensors": hashlib.sha256(json.dumps([listing, dict(plan.metadata)]).encode()).hexdigest(),
    }
