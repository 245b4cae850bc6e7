"""Time and memory of one question of each modality on this machine, in a process of its own each."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from imagebind_llm.common.errors import UserError, one_line
from mini_lab.measures.animals import clips
from mini_lab.measures.context import Context
from mini_lab.measures.furniture import TABLE, read_models
from mini_lab.measures.tables import Part, Row, table

PRECISIONS: Mapping[str, str | None] = {"float32": None, "int8": "int8"}
"""How a row is called → what ``--quantize`` says."""
COLUMNS = {
    "load, s": "points", "first token, s": "points", "answer, s": "points", "tokens": "points",
    "peak, MB": "points",
}  # fmt: skip
_QUESTION = "What is this?"
_SECONDS = 900


def measure(context: Context) -> Part:
    """Start a process for each precision and modality, one after another."""
    from tqdm import tqdm

    rows: list[Row] = []
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        media = _media(context, Path(name))
        ways = [(precision, modality) for precision in PRECISIONS for modality in media]
        for precision, modality in tqdm(
            ways, unit="process", desc="cost", disable=None if context.progress else True
        ):
            if precision in failed:
                continue
            try:
                found = _asked(context.folder, PRECISIONS[precision], media[modality])
            except UserError as error:
                failed[precision] = one_line(error, 200)
                continue
            rows.append(_row(f"{modality}, {precision}", found))
    if not rows:
        raise UserError(f"no question could be asked: {next(iter(failed.values()))}")
    return {
        "title": "Time and memory",
        "notes": [
            f"One question (“{_QUESTION}”) on this machine ({_machine()}), each row in a process of its own: "
            "seconds to load, then the median of five questions after a first one, media opened anew each "
            "time; the peak is the process's resident memory. One process, so there are no intervals.",
            *(f"Not measured, {precision}: {reason}" for precision, reason in failed.items()),
        ],
        "tables": [table("One question", COLUMNS, rows, "questions")],
        "goals": [],
    }


def _media(context: Context, place: Path) -> dict[str, dict[str, str]]:
    """What is asked about, by how the row is called."""
    found: dict[str, dict[str, str]] = {"words only": {}}
    if context.has("image"):
        file = place / "picture.jpg"
        file.write_bytes(context.rows("flickr8k")[0]["image"]["bytes"])
        found["image"] = {"image": str(file)}
    if context.has("audio"):
        file = place / "sound.flac"
        file.write_bytes(clips(context)[0].file)
        found["audio"] = {"audio": str(file)}
    if context.has("text"):
        found["text as a medium"] = {"text": "a dog runs through the grass"}
    furniture = context.work / TABLE
    if context.has("point") and furniture.is_file():
        found["point"] = {"point": read_models(furniture)[0].point}
    return found


def _asked(folder: Path, quantize: str | None, media: Mapping[str, str]) -> dict[str, Any]:
    """What the process says.

    Raises:
        UserError: it failed; the message is its own.
    """
    command = [sys.executable, "-m", "mini_lab.measures.asked_once", str(folder), "--question", _QUESTION]
    command += ["--quantize", quantize] if quantize is not None else []
    for modality, source in media.items():
        command += [f"--{modality}", source]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"one question took more than {_SECONDS} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise UserError(lines[-1].removeprefix("error: "))
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _row(name: str, found: Mapping[str, Any]) -> Row:
    values = {
        "load, s": found["load"],
        "first token, s": found["first_token"],
        "answer, s": found["answer"],
        "tokens": found["tokens"],
        "peak, MB": found["peak_bytes"] / 1e6,
    }
    metrics = {
        key: {"value": round(float(value), 3), "low": None, "high": None} for key, value in values.items()
    }
    return {"name": name, "n": 5, "units": 5, "metrics": metrics}


def _machine() -> str:
    """The processor's family, its cores and the threads that are used; no name of a machine."""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}"
    )
