"""Folders of embeddings that ``imagebind-llm data embed`` could have written, with dialogs of our own."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imagebind_llm.data.embed.shard import DTYPE, ShardResult, Task
from imagebind_llm.data.embed.store import open_store, read_manifest

Dialog = tuple[int, str, str]
"""The row of the picture, what is asked (may be empty), what is answered."""


def line(key: str, dialog: Dialog) -> str:
    """A dialog about one picture as a line of a shard."""
    row, question, answer = dialog
    asked: list[dict[str, Any]] = [{"type": "image", "image": row}]
    if question:
        asked.append({"type": "text", "text": question})
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return json.dumps({"key": key, "messages": messages}, ensure_ascii=False) + "\n"


def write_store(
    out: Path,
    made_by: Mapping[str, Any],
    source: str,
    shards: Iterable[tuple[np.ndarray, Sequence[str]]],
) -> int:
    """Write a folder, unless it is complete; returns how many dialogs it holds.

    Args:
        out: the folder.
        made_by: ``encoder_fingerprint``, ``dim`` and ``views``.
        source: its name in reports.
        shards: vectors ``[views, media, D]`` and the lines about them.

    Raises:
        TrainingDataError: the folder was made by another encoder.
    """
    identity = {
        **made_by,
        "dtype": np.dtype(DTYPE).name,
        "seed": 0,
        "sources": [{"name": source, "kind": "made"}],
    }
    with open_store(out, identity) as store:
        start = 0
        if not store.complete:
            for number, (vectors, lines) in enumerate(shards):
                task = Task(number, 0, start, start + len(lines))
                text = "".join(lines).encode()
                store.write(ShardResult(task, source, len(lines), text, vectors.astype(DTYPE), []))
                start = task.stop
            store.finish()
    return int(read_manifest(out)["rows"])
