"""What a run leaves to read: metrics.jsonl, TensorBoard events, sample answers and loss.png."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import MissingExtraError, require
from imagebind_llm.common.files import atomic_write
from imagebind_llm.training.stage import SampleAnswer

logger = logging.getLogger(__name__)


class MetricsLog:
    """``metrics.jsonl``: one JSON object a line, each with its ``step``.

    On resuming, lines after the checkpoint's step are dropped, so the file reads as if the run had never
    stopped.
    """

    def __init__(self, path: Path, resumed_at: int) -> None:
        self._path = path
        kept = [line for line in read_metrics(path) if line["step"] <= resumed_at] if resumed_at else []
        with atomic_write(path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Append one line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")


class Events:
    """TensorBoard events in ``folder``; after a resume, those past the checkpoint's step are hidden.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, resumed_at: int) -> None:
        require("tensorboard", "train", "run.tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=resumed_at + 1 if resumed_at else None)

    def write(self, step: int, values: dict[str, Any]) -> None:
        """One point for each number."""
        for key, value in values.items():
            self._writer.add_scalar(key if "/" in key else f"train/{key}", value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def write_samples(folder: Path, step: int, samples: Sequence[SampleAnswer]) -> None:
    """``folder/step-XXXXXXXX.md``: held-out questions, what was expected and what the model says now."""
    lines = [f"# Step {step}", ""]
    for number, sample in enumerate(samples, 1):
        lines += [f"## {number}: {sample.about}" if sample.about else f"## {number}", ""]
        for place, turn in enumerate(sample.turns, 1):
            for title, text in zip(("question", "expected", "answer"), turn, strict=True):
                heading = title if place == 1 else f"{title} {place}"
                lines += [f"**{heading}**", "", *(f"    {line}" for line in text.split("\n")), ""]
    with atomic_write(folder / f"step-{step:08d}.md") as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; those that are none (half-written, after a crash) are left out."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_bytes().splitlines():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict) and type(line.get("step")) is int:
            lines.append(line)
    return lines


def can_plot() -> bool:
    """Whether the loss can be drawn; if not, one line says why."""
    try:
        require("matplotlib", "train", "drawing loss.png")
    except MissingExtraError as error:
        logger.warning("%s", error)
        return False
    return True


def plot_loss(metrics: Path, picture: Path) -> None:
    """Draw the loss and the evaluations over the steps.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", "train", "drawing loss.png")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = read_metrics(metrics)
    figure, axes = pyplot.subplots(figsize=(7, 4))
    losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    axes.plot(*zip(*losses, strict=True), linewidth=0.8, label="loss") if losses else None
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.legend(loc="upper center")
    measured = sorted({key for line in lines for key in line if key.startswith("eval/")})
    if measured:
        right = axes.twinx()
        for key in measured:
            points = [(line["step"], line[key]) for line in lines if key in line]
            right.plot(
                *zip(*points, strict=True), linestyle="--", marker=".", label=key.removeprefix("eval/")
            )
        right.set_ylabel("held out")
        right.legend(loc="center right", fontsize=7)
    figure.tight_layout()
    with atomic_write(picture) as temporary:
        figure.savefig(temporary, dpi=110)
    pyplot.close(figure)
