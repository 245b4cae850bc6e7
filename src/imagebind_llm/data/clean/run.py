"""Cleaning a source from end to end.

``OUT/measured/`` keeps what was measured, so that other thresholds need no second look at the pictures.
``OUT/result/`` appears as a whole: an interrupted run leaves no half of it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import CleanError
from imagebind_llm.common.folders import atomic_directory
from imagebind_llm.common.work_folder import LOCK, work_folder
from imagebind_llm.data.clean.judge import Verdicts, judge
from imagebind_llm.data.clean.measure import Encoder, Measured, measure, open_encoder
from imagebind_llm.data.clean.report import render, text_summary
from imagebind_llm.data.clean.results import (
    summary,
    writable,
    write_cleaned,
    write_groups,
    write_lists,
    write_scores,
)
from imagebind_llm.data.clean.rules import read_lists
from imagebind_llm.data.clean.settings import CleanSettings, to_yaml
from imagebind_llm.data.sources import open_source
from imagebind_llm.data.sources.base import Source, SourceSettings, StreamingSource

FORMAT = 2
"""Of measured shards; another number measures again."""


@dataclass(frozen=True)
class Cleaned:
    """What :func:`clean` did.

    Attributes:
        folder: of the results.
        verdicts: the decisions.
        resumed: samples whose measures were there already.
        text: the counts, for a terminal.
    """

    folder: Path
    verdicts: Verdicts
    resumed: int
    text: str

    @property
    def summary(self) -> dict[str, Any]:
        """The counts, for programs."""
        return summary(self.verdicts)


def clean(
    source: SourceSettings,
    out: Path,
    settings: CleanSettings | None = None,
    *,
    opened: Source | StreamingSource | None = None,
    encoder: Encoder | None = None,
    dry_run: bool = False,
    progress: bool = False,
) -> Cleaned:
    """Measure, judge and write the results.

    Args:
        source: what to clean.
        out: folder for ``measured/`` and ``result/``. A run that was interrupted goes on in it.
        settings: rules and bounds; None = the defaults.
        opened: the source, if it is open already.
        encoder: instead of the one that ``settings`` name.
        dry_run: scores and report only: no lists and no cleaned source.
        progress: show progress bars.

    Raises:
        CleanError: ``out`` belongs to another run or is in use, or the source changed.
        TrainingDataError: no such data, or too many samples that cannot be read.
        ConfigError: settings that cannot be used.
    """
    settings = settings or CleanSettings()
    lists = read_lists(settings.rules)
    data = opened if opened is not None else open_source(source)
    if encoder is None and settings.needs_encoder:
        encoder = open_encoder(settings.encoder)
    _check_embedded(data, encoder)
    job = {
        "format": FORMAT,
        "source": data.fingerprint,
        "encoder": encoder.fingerprint if encoder is not None else None,
        "batch_size": encoder.batch_size if encoder is not None else None,
        "shard_rows": settings.shard_rows,
    }
    same_text = settings.duplicate_text == "same" or (
        settings.duplicate_text == "auto" and source.kind in ("llava", "alpaca")
    )
    busy = f"another run is cleaning into {str(out)!r}; wait for it or choose another"
    with work_folder(out / "measured", job, CleanError, busy=busy, lock=out / LOCK, begun="measured") as work:
        measured = Measured(work)
        resumed = measure(data, measured, encoder, settings.shard_rows, settings.max_unreadable, progress)
        with _stages(progress) as tell:
            verdicts = judge(measured, settings.rules, lists, same_text, tell)
            result = out / ("dry-run" if dry_run else "result")  # never over earlier lists
            tell("results")
            text = text_summary(data.name, verdicts)
            with atomic_directory(result, CleanError) as folder:
                write_scores(measured, verdicts, folder / "scores.parquet")
                write_groups(measured, verdicts, folder / "groups.jsonl")
                _write(folder / "settings.yaml", to_yaml(settings))
                if not dry_run:
                    write_lists(measured, verdicts, data.name, folder)
                    if writable(source.kind):
                        write_cleaned(data, source, measured, verdicts, folder, result.absolute())
                _write(folder / "report.html", render(data.name, measured, verdicts, settings))
                _write(folder / "summary.txt", text + "\n")
                _write(folder / "summary.json", json.dumps(summary(verdicts), indent=1) + "\n")
    return Cleaned(result, verdicts, resumed, text)


def _check_embedded(data: Source | StreamingSource, encoder: Encoder | None) -> None:
    """Refuse embeddings of another encoder, and those of several views, which are all near duplicates."""
    views, made_by = getattr(data, "views", 1), getattr(data, "encoder_fingerprint", None)
    if views > 1:
        raise CleanError(f"{data.name!r} holds {views} views of each sample; clean the data before embedding")
    if encoder is not None and made_by is not None and made_by != encoder.fingerprint:
        raise CleanError(
            f"{data.name!r} was embedded by the encoder {made_by}, but this one is {encoder.fingerprint}; "
            "name the other with encoder.model=…"
        )


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


@contextmanager
def _stages(progress: bool) -> Iterator[Any]:
    """A line that says what is being done."""
    from tqdm import tqdm

    with tqdm(bar_format="{desc} [{elapsed}]", disable=not progress) as bar:
        yield bar.set_description_str
