"""The data sources of a recipe, opened for one of the processes of a run."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.data.mixture import SourceMixture
from imagebind_llm.data.quarantine import Quarantine
from imagebind_llm.data.sources import SourceSettings, open_source
from imagebind_llm.training.checkpoint import list_checkpoints
from imagebind_llm.training.settings import RunSettings, SourcesData

logger = logging.getLogger(__name__)

TRAINING_REPORT = "quarantine"
TEST_REPORT = "quarantine-test"
"""Names of the lists of bad samples in a run's folder, without suffix."""


def open_mixtures(
    data: SourcesData, run: RunSettings, encoder: Any
) -> tuple[SourceMixture | None, SourceMixture | None]:
    """The mixtures of ``data.sources`` and ``data.test_sources``; None where there are none.

    Args:
        run: in whose folder each process keeps its own lists of bad samples. A run that does not go on from a
            checkpoint begins new ones.
        encoder: whose embeddings embedded sources must be; None: not compared.

    Raises:
        ConfigError: embeddings by another encoder, or sources that do not go together.
        TrainingDataError: a source cannot be opened.
    """
    if data.sources and not data.test_sources:
        logger.info(
            "no data.test_sources: nothing is evaluated and no sample is answered; list held-out data there"
        )
    return (
        _open_mixture(data.sources, data.max_bad_share, run, TRAINING_REPORT, encoder),
        _open_mixture(data.test_sources, data.max_bad_share, run, TEST_REPORT, encoder),
    )


def _open_mixture(
    sources: Sequence[SourceSettings], max_bad_share: float, run: RunSettings, report: str, encoder: Any
) -> SourceMixture | None:
    if not sources:
        return None
    opened = [open_source(source) for source in sources]
    for source in opened:
        made_by = getattr(source, "encoder_fingerprint", None)
        if made_by is not None and encoder is not None and made_by != encoder.fingerprint:
            raise ConfigError(
                f"the embeddings of source {source.name!r} were made by an encoder with fingerprint "
                f"{made_by}, this model's has {encoder.fingerprint}; embed the data with this encoder"
            )
    quarantine = Quarantine(_report_path(run, report), max_rate=max_bad_share)
    return SourceMixture(opened, [source.weight for source in sources], quarantine, seed=run.seed)


def _report_path(run: RunSettings, report: str) -> Path:
    """This process's list of bad samples; what an earlier run left there is removed unless this one goes on
    from it."""
    folder, rank = Path(run.folder), int(os.environ.get("RANK", "0"))
    own = folder / (f"{report}.jsonl" if rank == 0 else f"{report}-{rank}.jsonl")
    if run.resume == "never" or not list_checkpoints(folder / "checkpoints"):
        own.unlink(missing_ok=True)
        if rank == 0:  # nobody writes those of processes that there are no longer
            for path in _other_reports(folder, report):
                if int(path.stem.rpartition("-")[2]) >= int(os.environ.get("WORLD_SIZE", "1")):
                    path.unlink(missing_ok=True)
    return own


def _other_reports(folder: Path, report: str) -> list[Path]:
    """The lists of the processes but the first."""
    found = folder.glob(f"{report}-*.jsonl")
    return [path for path in found if path.stem.removeprefix(f"{report}-").isdecimal()]


def described(mixture: SourceMixture | None, run: RunSettings) -> dict[str, Any]:
    """What a reader of a finished run should know of its training data; asked of the first process."""
    if mixture is None:
        return {}
    others = _other_reports(Path(run.folder), TRAINING_REPORT)
    return {"data": mixture.fingerprints, "bad_samples": mixture.quarantine.counts_with(others)}
