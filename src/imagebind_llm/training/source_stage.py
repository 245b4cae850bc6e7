"""The two stages on data sets of one's own: captions, dialogs, text; embedded before or encoded here."""

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from imagebind_llm.data.packing import Example
from imagebind_llm.data.records import RecordReader
from imagebind_llm.data.world import Phrasing, PictureWorld
from imagebind_llm.training.align import Align, Finetune, Pretrain
from imagebind_llm.training.source_mixture import described, open_mixtures

if TYPE_CHECKING:
    from imagebind_llm.training.recipe import AlignSettings, FinetuneRecipe, PretrainRecipe

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


class FinetuneOnSources(_OnSources, Finetune):
    """:class:`~imagebind_llm.training.align.Finetune` on ``data.sources``."""

    def __init__(self, recipe: "FinetuneRecipe") -> None:
        Finetune.__init__(self, recipe, _NO_WORLD, _NO_WORLD, None)
