"""The two stages on data sets of one's own: captions, dialogs, text; embedded before or encoded here."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import Tensor

from imagebind_llm.data.packing import Example, PackedBatch
from imagebind_llm.data.records import RecordReader
from imagebind_llm.data.world import Phrasing, PictureWorld
from imagebind_llm.training.align import Align, Finetune, Pretrain
from imagebind_llm.training.source_mixture import described, open_mixtures
from imagebind_llm.training.stage import step_rng

if TYPE_CHECKING:
    from imagebind_llm.training.recipe import AlignSettings, FinetuneRecipe, PretrainRecipe

logger = logging.getLogger(__name__)

_BLIND_FOR = 256
"""Examples of a process without any medium, after which it is said."""
_NO_WORLD = cast(Any, None)


class _OnSources(Align):
    """Draws from the recipe's ``data.sources`` and tests on its ``data.test_sources``."""

    def look_at(self, world: PictureWorld) -> None:
        """Open the sources; there is no world."""
        settings: AlignSettings = self.recipe.data
        self._augment = settings.augment
        self._training, self._testing = open_mixtures(settings, self.recipe.run, self.model.encoder)
        self.phrasings = ("train",) if self._testing else ()
        self._reader = RecordReader(
            self.tokenizer,
            self.media,
            self.model.config.embedding_dim,
            min(settings.max_tokens or self.recipe.row_length, self.recipe.row_length),
        )

    def batch(self, index: int) -> PackedBatch:
        """The next samples of the sources, in the order of :mod:`imagebind_llm.data.order`."""
        assert self._training is not None, "the recipe has sources"
        rng = step_rng(self.recipe.run.seed, index)
        crops = rng if self._augment else None
        size = self.recipe.run.batch_size
        numbers = range(index * size, (index + 1) * size)
        return self._packed(
            [
                self._training.numbered(n, rng, lambda record: self._reader.read(record, crops))
                for n in numbers
            ]
        )

    def draw(self, rng: np.random.Generator, split: Phrasing, held_out: bool) -> Example:
        mixture = self._testing if held_out else self._training
        assert mixture is not None, "held-out batches are made only if there are test sources"
        crops = rng if self._augment and not held_out else None
        return mixture.draw_as(rng, lambda record: self._reader.read(record, crops))

    def data_fingerprints(self) -> dict[str, str]:
        return self._training.fingerprints if self._training else {}

    def extra_metadata(self) -> dict[str, Any]:
        return {**super().extra_metadata(), **described(self._training, self.recipe.run)}


class PretrainOnSources(_OnSources, Pretrain):
    """:class:`~imagebind_llm.training.align.Pretrain` on ``data.sources``."""

    def __init__(self, recipe: "PretrainRecipe") -> None:
        Pretrain.__init__(self, recipe, _NO_WORLD, _NO_WORLD, None)
        self._sees = self._warned = False
        self._learnt_from = 0

    def loss(self, batch: PackedBatch) -> tuple[Tensor, dict[str, Tensor]]:
        if not self._sees:
            self._sees = batch.conditions is not None
            self._learnt_from += int(batch.owner.max()) + 1
            if self._learnt_from >= _BLIND_FOR:
                self._warn_if_blind()
        return super().loss(batch)

    def export(self, folder: Path) -> None:
        self._warn_if_blind()
        super().export(folder)

    def _warn_if_blind(self) -> None:
        """Text alone moves neither the bind network nor the gates, and a loss that falls does not show it."""
        if self._sees or self._warned or not self._learnt_from:
            return
        self._warned = True
        logger.warning(
            "none of the first %d examples shows a picture or another medium, so nothing is learnt about "
            "seeing; check data.sources (alpaca is text only, llava needs image fields)",
            self._learnt_from,
        )


class FinetuneOnSources(_OnSources, Finetune):
    """:class:`~imagebind_llm.training.align.Finetune` on ``data.sources``."""

    def __init__(self, recipe: "FinetuneRecipe") -> None:
        Finetune.__init__(self, recipe, _NO_WORLD, _NO_WORLD, None)
