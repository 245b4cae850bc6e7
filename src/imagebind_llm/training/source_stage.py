"""The two stages on data sets of one's own: captions, dialogs, text; embedded before or encoded here."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from imagebind_llm.data.errors import BadSample
from imagebind_llm.data.mixture import SourceMixture
from imagebind_llm.data.packing import Example
from imagebind_llm.data.quarantine import Quarantine
from imagebind_llm.data.records import RecordReader
from imagebind_llm.data.sources import SourceSettings, open_source
from imagebind_llm.data.world import Phrasing, PictureWorld
from imagebind_llm.errors import ConfigError, UserError
from imagebind_llm.training.align import Align, Finetune, Pretrain

if TYPE_CHECKING:
    from imagebind_llm.training.recipe import AlignSettings, FinetuneRecipe, PretrainRecipe

_NO_WORLD = cast(Any, None)


class _OnSources(Align):
    """Draws from the recipe's ``data.sources`` and tests on its ``data.test_sources``."""

    def look_at(self, world: PictureWorld) -> None:
        """Open the sources; there is no world."""
        settings: AlignSettings = self.recipe.data
        self._augment = settings.augment
        self._training = self._open(settings.sources, settings.max_bad_share, "quarantine")
        self._testing = self._open(settings.test_sources, settings.max_bad_share, "quarantine-test")
        self.phrasings = ("train",) if self._testing else ()
        self._reader = RecordReader(
            self.tokenizer,
            self.media,
            self.model.config.embedding_dim,
            min(settings.max_tokens or self.recipe.row_length, self.recipe.row_length),
        )

    def _open(self, sources: tuple[SourceSettings, ...], share: float, report: str) -> SourceMixture | None:
        if not sources:
            return None
        rank = int(os.environ.get("RANK", "0"))  # each process keeps its own list
        name = f"{report}.jsonl" if rank == 0 else f"{report}-{rank}.jsonl"
        opened = [open_source(source) for source in sources]
        encoder: Any = self.model.encoder
        for source in opened:
            made_by = getattr(source, "encoder_fingerprint", None)
            if made_by is not None and encoder is not None and made_by != encoder.fingerprint:
                raise ConfigError(
                    f"the embeddings of source {source.name!r} were made by an encoder with fingerprint "
                    f"{made_by}, this model's has {encoder.fingerprint}; embed the data with this encoder"
                )
        return SourceMixture(
            opened,
            [source.weight for source in sources],
            Quarantine(Path(self.recipe.run.folder) / name, max_rate=share),
        )

    def draw(self, rng: np.random.Generator, split: Phrasing, held_out: bool) -> Example:
        mixture = self._testing if held_out else self._training
        assert mixture is not None, "held-out batches are made only if there are test sources"
        while True:
            record = mixture.draw(rng)
            try:
                return self._reader.read(record, rng if self._augment and not held_out else None)
            except UserError as error:
                mixture.quarantine.report(record.source, BadSample(record.key, str(error)))

    def data_fingerprints(self) -> dict[str, str]:
        return self._training.fingerprints if self._training else {}

    def extra_metadata(self) -> dict[str, Any]:
        quarantine = self._training.quarantine if self._training else Quarantine()
        return {
            **super().extra_metadata(),
            "data": self.data_fingerprints(),
            "bad_samples": dict(sorted(quarantine.counts.items())),
        }


class PretrainOnSources(_OnSources, Pretrain):
    """:class:`~imagebind_llm.training.align.Pretrain` on ``data.sources``."""

    def __init__(self, recipe: "PretrainRecipe") -> None:
        Pretrain.__init__(self, recipe, _NO_WORLD, _NO_WORLD, None)


class FinetuneOnSources(_OnSources, Finetune):
    """:class:`~imagebind_llm.training.align.Finetune` on ``data.sources``."""

    def __init__(self, recipe: "FinetuneRecipe") -> None:
        Finetune.__init__(self, recipe, _NO_WORLD, _NO_WORLD, None)
