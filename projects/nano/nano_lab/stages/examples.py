"""Nano's examples: dialogs of its grammar about pictures of its world, embedded once."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.packing import Example
from imagebind_llm.data.records import pick_kind, to_example
from imagebind_llm.encoders.imagebind import ImageBindModel
from imagebind_llm.training.align import ModelParts
from imagebind_llm.training.towers import vision_fingerprint
from nano_lab.data.bank import EmbeddingBank, open_or_build_bank
from nano_lab.data.pool import ImagePool
from nano_lab.data.worlds import DialogWorld, Phrasing, PictureWorld
from nano_lab.recipes import ImageData, LanguageRecipe, NanoFinetuneRecipe, NanoPretrainRecipe
from nano_lab.stages.bind_modality import image_bank

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

_TEST_IMAGES = 2000
PHRASINGS: dict[str, Phrasing] = {"": "train", "_new": "heldout"}
"""Held-out sets by their suffix: known phrasings, and phrasings that training never shows. Training draws
``wide``."""


def _phrasing(test_set: str | None) -> Phrasing:
    return "wide" if test_set is None else PHRASINGS[test_set]


class GrammarExamples:
    """What all of nano's examples have in common: two held-out sets, and data that need no fingerprint."""

    test_sets = tuple(PHRASINGS)

    def fingerprints(self) -> dict[str, str]:
        """None: the grammar is code."""
        return {}

    def metadata(self) -> dict[str, Any]:
        """Nothing beyond the recipe."""
        return {}


class TextExamples(GrammarExamples):
    """Text-only dialogs for a language model from scratch."""

    def __init__(
        self, recipe: LanguageRecipe, dialogs: DialogWorld, tokenizer: "PreTrainedTokenizerBase"
    ) -> None:
        self.recipe, self.dialogs, self.tokenizer = recipe, dialogs, tokenizer

    def draw(
        self, rng: np.random.Generator, test_set: str | None = None, number: int | None = None
    ) -> Example:
        """A dialog of one of the mixture's kinds."""
        kind = pick_kind(rng, self.recipe.mixture, self.dialogs.kinds)
        messages = self.dialogs.dialog(kind, rng, _phrasing(test_set))
        learn_all = not self.recipe.mask_prompts and test_set is None
        return to_example(messages, self.tokenizer, learn_all=learn_all)


class ImageExamples(GrammarExamples):
    """Dialogs about images of a world; subclasses say which.

    Raises:
        ConfigError: the model's encoder is no ImageBind, for which these pictures are prepared.
    """

    def __init__(
        self,
        recipe: NanoPretrainRecipe | NanoFinetuneRecipe,
        parts: ModelParts,
        world: PictureWorld,
        dialogs: DialogWorld,
    ) -> None:
        self.tokenizer, self.dialogs = parts.tokenizer, dialogs
        _check_encoder(parts.model)
        self.images = ImageConditions(recipe.data, parts.model, world, recipe.data.seed)

    def example(
        self,
        messages: list[dict[str, Any]],
        rng: np.random.Generator,
        held_out: bool,
        unit_share: float = 0.0,
    ) -> Example:
        """Look up the images of a dialog; ``unit_share`` of its conditions are scaled to length 1."""
        found = to_example(
            messages, self.tokenizer, lambda rows: self.images.embed(rng, np.array(rows), held_out)
        )
        if found.conditions is None or not unit_share:
            return found
        chosen = torch.from_numpy(rng.random(len(found.conditions)) < unit_share)
        chosen = chosen.view(-1, *[1] * (found.conditions.ndim - 1))
        units = F.normalize(found.conditions, dim=-1)
        return replace(found, conditions=torch.where(chosen, units, found.conditions))

    def caption(self, rng: np.random.Generator, test_set: str | None) -> Example:
        """A request for a caption, and its answer."""
        held_out = test_set is not None
        pool = self.images.test_pool if held_out else self.images.pool
        row = int(pool.draw(rng, 1, self.images.settings.shares)[0])
        messages = self.dialogs.caption(rng, _phrasing(test_set), int(pool.labels[row]), row)
        return self.example(messages, rng, held_out)


class CaptionExamples(ImageExamples):
    """Captions alone, for pre-training."""

    def draw(
        self, rng: np.random.Generator, test_set: str | None = None, number: int | None = None
    ) -> Example:
        """A caption of a random image."""
        return self.caption(rng, test_set)


class InstructionExamples(ImageExamples):
    """Instructions with and without images, and captions, for fine-tuning."""

    def __init__(
        self, recipe: NanoFinetuneRecipe, parts: ModelParts, world: PictureWorld, dialogs: DialogWorld
    ) -> None:
        super().__init__(recipe, parts, world, dialogs)
        self.recipe = recipe

    def draw(
        self, rng: np.random.Generator, test_set: str | None = None, number: int | None = None
    ) -> Example:
        """A dialog of one of the mixture's kinds."""
        recipe, held_out = self.recipe, test_set is not None
        kind = pick_kind(rng, recipe.mixture, self.dialogs.kinds)
        if kind == "caption":
            return self.caption(rng, test_set)
        # A check asks about what the picture is taken for, so that yes and no agree with the name.
        row_of = self.images.rows(rng, held_out, clear=kind == "check")
        messages = self.dialogs.dialog(kind, rng, _phrasing(test_set), row_of, recipe.mixture_weights)
        return self.example(messages, rng, held_out, 0.0 if held_out else recipe.mixture_units)


class ImageConditions:
    """Precomputed embeddings of training and test images, and the variety that training adds to them.

    Those of a model that asks for the encoder's tokens have them too, and lie in a folder of the bank's.
    """

    def __init__(
        self,
        settings: ImageData,
        model: "ImageBindLLMForConditionalGeneration",
        world: PictureWorld,
        seed: int,
    ) -> None:
        self.settings = settings
        self.pool = world.images("train", settings.limit)
        assert settings.bank is not None, "the recipe has checked it"
        folder, groups = Path(settings.bank), model.bind.encoder_tokens
        if groups:
            folder = folder / f"tokens-{groups}"
        encode = partial(model.encode_media, Modality.IMAGE)
        encoder: Any = model.encoder
        self.bank = image_bank(folder, encoder, world, self.pool, settings.views, seed, encode, groups)
        self.test_pool = _subset(world.images("test"), _TEST_IMAGES)
        self.test_bank = _test_bank(folder / "test", encoder, world, self.test_pool, encode, groups)

    @cached_property
    def _clear_rows(self) -> Mapping[int, np.ndarray]:
        return self.bank.clear_rows(int(self.pool.labels.max()) + 1)

    def rows(self, rng: np.random.Generator, held_out: bool, clear: bool = False) -> Any:
        """A function from a label to a random row that shows it; ``clear``: in training only one that is
        nearest to the mean of its label."""
        if held_out:
            by_label: Mapping[int, np.ndarray] = self.test_pool.rows_by_label
        else:
            by_label = self._clear_rows if clear else self.pool.rows_by_label
        return lambda label: int(rng.choice(by_label[label]))

    def embed(self, rng: np.random.Generator, rows: np.ndarray, held_out: bool) -> Tensor:
        """Unit rows ``[M, D]`` (``[M, 1 + G, D]``); training ones are moved a random step on the sphere, all
        of an image by the same one."""
        if held_out:
            return self.test_bank.take(rng, rows)
        vectors = self.bank.take(rng, rows)
        if not self.settings.embedding_noise:
            return vectors
        shape = len(rows), vectors.shape[-1]
        step = F.normalize(torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)), dim=-1)
        length = torch.from_numpy(rng.uniform(0, self.settings.embedding_noise, len(rows)).astype(np.float32))
        way = length[:, None] * step
        return F.normalize(vectors + (way if vectors.ndim == 2 else way[:, None]), dim=-1)


def _check_encoder(model: "ImageBindLLMForConditionalGeneration") -> None:
    """Refuse an encoder that does not read pictures as this world prepares them."""
    if not isinstance(model.encoder, ImageBindModel):
        kind = (model.config.encoder_config or {}).get("type")
        raise ConfigError(
            f"the model's encoder is {kind}, but these pictures are prepared for encoders of type imagebind; "
            "train on embeddings made with its own encoder"
        )


def _subset(pool: ImagePool, count: int) -> ImagePool:
    """The same share of each domain of ``pool``, about ``count`` images."""
    share = min(1.0, count / len(pool))
    domains = {name: rows[: max(1, round(share * len(rows)))] for name, rows in pool.domains.items()}
    kept = np.sort(np.concatenate(list(domains.values())))
    return ImagePool(
        pool.pixels[kept], pool.labels[kept], {n: np.searchsorted(kept, rows) for n, rows in domains.items()}
    )


def _test_bank(
    folder: Path,
    encoder: ImageBindModel,
    world: PictureWorld,
    pool: ImagePool,
    encode: Callable[[Tensor], Tensor],
    groups: int,
) -> EmbeddingBank:
    encoder.eval()
    with torch.no_grad():
        return open_or_build_bank(
            folder,
            pool,
            encode,
            lambda pixels, labels, rng: world.plain(pixels),
            vision_fingerprint(encoder),
            views=1,
            groups=groups,
        )
