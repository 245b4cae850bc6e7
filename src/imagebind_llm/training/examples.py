"""Where a stage that trains on packed rows gets its examples from. A recipe's data sources are one way."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.data.mixture import SourceMixture
from imagebind_llm.data.packing import Example
from imagebind_llm.data.quarantine import Quarantine
from imagebind_llm.data.records import RecordReader
from imagebind_llm.data.sources import Record, SourceSettings, open_source
from imagebind_llm.training.checkpoint import claim_run_folder, list_checkpoints
from imagebind_llm.training.settings import RunSettings, SourcesData

if TYPE_CHECKING:
    from imagebind_llm.training.align import ModelParts
    from imagebind_llm.training.recipe import FinetuneRecipe, PretrainRecipe

logger = logging.getLogger(__name__)

TRAINING_REPORT = "quarantine"
TEST_REPORT = "quarantine-test"
"""Names of the lists of bad samples in a run's folder, without suffix."""


class ExampleSource(Protocol):
    """What :class:`~imagebind_llm.training.align.Align` and other stages on packed rows learn from."""

    @property
    def test_sets(self) -> Sequence[str]:
        """Held-out sets that are evaluated, each by the suffix of its measures: ``""`` gives ``loss``,
        ``"_new"`` gives ``loss_new``. Answers to look at are given to the set ``""``. May be empty."""
        ...

    def draw(
        self, rng: np.random.Generator, test_set: str | None = None, number: int | None = None
    ) -> Example:
        """One example, a pure function of its arguments: for training, or of a held-out set.

        Args:
            rng: random numbers.
            test_set: one of :attr:`test_sets`; None: for training.
            number: which example of the run this is, from 0, in training. Data of a known length can so be
                gone through in an order; others are drawn at random.
        """
        ...

    def fingerprints(self) -> dict[str, str]:
        """What the data are, by source: a run does not go on with others."""
        ...

    def metadata(self) -> dict[str, Any]:
        """What a reader of a finished run should know of the data."""
        ...


class SourceExamples:
    """An :class:`ExampleSource` over the recipe's ``data.sources`` and ``data.test_sources``.

    Raises:
        ConfigError: embeddings by another encoder, or sources that do not go together.
        TrainingDataError: a source cannot be opened.
    """

    def __init__(self, recipe: "PretrainRecipe | FinetuneRecipe", parts: "ModelParts") -> None:
        settings = recipe.data
        self._run, self._augment = recipe.run, settings.augment
        self._training, self._testing = open_mixtures(settings, recipe.run, parts.model.encoder)
        self.test_sets = ("",) if self._testing else ()
        self._reader = RecordReader(
            parts.tokenizer,
            parts.media,
            parts.model.config.embedding_dim,
            min(settings.max_tokens or recipe.row_length, recipe.row_length),
        )

    def draw(
        self, rng: np.random.Generator, test_set: str | None = None, number: int | None = None
    ) -> Example:
        """A record of a source by the sources' weights: the next ones in training, in the order of
        :mod:`imagebind_llm.data.order`; held-out ones at random."""
        mixture = self._training if test_set is None else self._testing
        assert mixture is not None, "held-out batches are made only if there are test sources"
        crops = rng if self._augment and test_set is None else None

        def read(record: Record) -> Example:
            return self._reader.read(record, crops)

        return mixture.draw_as(rng, read) if number is None else mixture.numbered(number, rng, read)

    def fingerprints(self) -> dict[str, str]:
        """Of the training sources."""
        return self._training.fingerprints if self._training else {}

    def metadata(self) -> dict[str, Any]:
        """The sources, and samples that could not be read."""
        return described(self._training, self._run)


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
    claim_run_folder(Path(run.folder))
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
