"""The two stages that teach the language model to see: captions first, then instructions. Images only."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.locate import locate_folder
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.bank import EmbeddingBank, open_or_build_bank
from imagebind_llm.data.packing import Example
from imagebind_llm.data.pool import ImagePool
from imagebind_llm.data.records import pick_kind, to_example
from imagebind_llm.data.world import DialogWorld, Phrasing, PictureWorld
from imagebind_llm.encoders.imagebind import ImageBindModel
from imagebind_llm.training.adapters import prepare_adapters
from imagebind_llm.training.bind_sense import image_bank
from imagebind_llm.training.condition_stage import ConditionStage
from imagebind_llm.training.recipe import AlignSettings, FinetuneRecipe, PretrainRecipe
from imagebind_llm.training.towers import vision_fingerprint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from imagebind_llm.media.base import MediaReader
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

_TEST_IMAGES = 2000


class ImageConditions:
    """Precomputed embeddings of training and test images, and the variety that training adds to them."""

    def __init__(
        self, settings: AlignSettings, encoder: ImageBindModel, world: PictureWorld, seed: int
    ) -> None:
        self.settings = settings
        self.pool = world.images("train", settings.limit)
        assert settings.bank is not None, "the recipe has checked it"
        self.bank = image_bank(Path(settings.bank), encoder, world, self.pool, settings.views, seed)
        self.test_pool = _subset(world.images("test"), _TEST_IMAGES)
        self.test_bank = _test_bank(Path(settings.bank) / "test", encoder, world, self.test_pool)

    def rows(self, rng: np.random.Generator, held_out: bool) -> Any:
        """A function from a label to a random row that shows it."""
        by_label = (self.test_pool if held_out else self.pool).rows_by_label
        return lambda label: int(rng.choice(by_label[label]))

    def embed(self, rng: np.random.Generator, rows: np.ndarray, held_out: bool) -> Tensor:
        """Unit rows ``[M, D]``; training ones are moved a random step on the sphere."""
        if held_out:
            return self.test_bank.take(rng, rows)
        vectors = self.bank.take(rng, rows)
        if not self.settings.embedding_noise:
            return vectors
        step = F.normalize(torch.from_numpy(rng.standard_normal(vectors.shape, dtype=np.float32)), dim=-1)
        length = torch.from_numpy(rng.uniform(0, self.settings.embedding_noise, len(rows)).astype(np.float32))
        return F.normalize(vectors + length[:, None] * step, dim=-1)


class Align(ConditionStage):
    """Dialogs about images of a world."""

    images: ImageConditions
    dialogs: DialogWorld

    def look_at(self, world: PictureWorld) -> None:
        """Prepare the conditions."""
        self.images = ImageConditions(self.recipe.data, _eyes(self.model), world, self.recipe.data.seed)

    def _example(
        self,
        messages: list[dict[str, Any]],
        rng: np.random.Generator,
        held_out: bool,
        unit_share: float = 0.0,
    ) -> Example:
        """Look up the images of a dialog; ``unit_share`` of its conditions are scaled to length 1."""
        example = to_example(
            messages, self.tokenizer, lambda rows: self.images.embed(rng, np.array(rows), held_out)
        )
        if example.conditions is None or not unit_share:
            return example
        chosen = torch.from_numpy(rng.random(len(example.conditions)) < unit_share)[:, None]
        units = F.normalize(example.conditions, dim=-1)
        return replace(example, conditions=torch.where(chosen, units, example.conditions))

    def _caption(self, rng: np.random.Generator, split: Phrasing, held_out: bool) -> Example:
        pool = self.images.test_pool if held_out else self.images.pool
        row = int(pool.draw(rng, 1, self.images.settings.shares)[0])
        return self._example(self.dialogs.caption(rng, split, int(pool.labels[row]), row), rng, held_out)


class Pretrain(Align):
    """Image-caption pairs; the bind network and the gates learn."""

    name = "pretrain"

    def __init__(
        self, recipe: PretrainRecipe, world: PictureWorld, dialogs: DialogWorld, media: "MediaReader | None"
    ) -> None:
        super().__init__()
        self.recipe, self.dialogs = recipe, dialogs
        self.model, self.tokenizer, self.media = _untrained(recipe, media)
        self.look_at(world)

    def trainable(self) -> dict[str, nn.Parameter]:
        from imagebind_llm.model.adaptation import set_stage

        return {f"model.{name}": parameter for name, parameter in set_stage(self.model, "pretrain").items()}

    def draw(self, rng: np.random.Generator, split: Phrasing, held_out: bool) -> Example:
        return self._caption(rng, split, held_out)


class Finetune(Align):
    """Instructions with and without images; low-rank updates, biases and norms learn."""

    name = "finetune"

    def __init__(
        self, recipe: FinetuneRecipe, world: PictureWorld, dialogs: DialogWorld, media: "MediaReader | None"
    ) -> None:
        super().__init__()
        self.recipe, self.dialogs = recipe, dialogs
        self.model, self.tokenizer, own_media = _opened(recipe.model)
        self.media = media or own_media
        prepare_adapters(self.model, recipe.adapters, recipe.run.seed)
        self.look_at(world)

    def trainable(self) -> dict[str, nn.Parameter]:
        from imagebind_llm.model.adaptation import set_stage

        stages = ("pretrain", "finetune") if self.recipe.train_bind else ("finetune",)
        return {f"model.{name}": parameter for name, parameter in set_stage(self.model, stages).items()}

    def draw(self, rng: np.random.Generator, split: Phrasing, held_out: bool) -> Example:
        kind = pick_kind(rng, self.recipe.mixture, self.dialogs.kinds)
        if kind == "caption":
            return self._caption(rng, split, held_out)
        row_of = self.images.rows(rng, held_out)
        messages = self.dialogs.dialog(kind, rng, split, row_of, self.recipe.mixture_weights)
        return self._example(messages, rng, held_out, 0.0 if held_out else self.recipe.mixture_units)


def _opened(
    name: str,
) -> "tuple[ImageBindLLMForConditionalGeneration, PreTrainedTokenizerBase, MediaReader]":
    """A model, its tokenizer, and how its media are opened.

    The encoder is taken out of the half precision it may be stored in: it sees every picture, its batch norms
    do not mix precisions, and autocast makes it cheaper where that is asked for.
    """
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
    from imagebind_llm.model.processing import ImageBindLLMProcessor

    folder = locate_folder(name)
    model = ImageBindLLMForConditionalGeneration.from_pretrained(folder)
    if model.encoder is not None:
        model.encoder.float()
    processor = ImageBindLLMProcessor.from_pretrained(folder)
    return model, processor.tokenizer, processor.media


def _untrained(
    recipe: PretrainRecipe, media: "MediaReader | None"
) -> "tuple[ImageBindLLMForConditionalGeneration, PreTrainedTokenizerBase, MediaReader]":
    """The recipe's model, or a new one of its two parts; its tokenizer; how its media are opened."""
    if recipe.model is not None:
        return _opened(recipe.model)
    from imagebind_llm.encoders import load_encoder
    from imagebind_llm.encoders.registry import media_of_encoder
    from imagebind_llm.model.assembly import assemble, open_language_model, open_tokenizer

    assert recipe.encoder is not None, "the recipe has checked it"
    assert recipe.language_model is not None, "the recipe has checked it"
    encoder = load_encoder(recipe.encoder)
    media = media or media_of_encoder(recipe.encoder, encoder)
    language_model = open_language_model(recipe.language_model)
    tokenizer, _ = open_tokenizer(recipe.language_model)
    fresh = assemble(language_model, encoder, media, recipe.bind, recipe.injection, recipe.run.seed)
    return fresh, tokenizer, media


def _eyes(model: "ImageBindLLMForConditionalGeneration") -> ImageBindModel:
    """The encoder, which must read pictures as this world prepares them."""
    if not isinstance(model.encoder, ImageBindModel):
        kind = (model.config.encoder_config or {}).get("type")
        raise ConfigError(
            f"the model's encoder is {kind}, but these pictures are prepared for encoders of type imagebind; "
            "train on embeddings made with its own encoder"
        )
    return model.encoder


def _subset(pool: ImagePool, count: int) -> ImagePool:
    """The same share of each domain of ``pool``, about ``count`` images."""
    share = min(1.0, count / len(pool))
    domains = {name: rows[: max(1, round(share * len(rows)))] for name, rows in pool.domains.items()}
    kept = np.sort(np.concatenate(list(domains.values())))
    return ImagePool(
        pool.pixels[kept], pool.labels[kept], {n: np.searchsorted(kept, rows) for n, rows in domains.items()}
    )


def _test_bank(folder: Path, encoder: ImageBindModel, world: PictureWorld, pool: ImagePool) -> EmbeddingBank:
    encoder.eval()
    with torch.no_grad():
        return open_or_build_bank(
            folder,
            pool,
            lambda images: encoder.encode(Modality.IMAGE, images),
            lambda pixels, labels, rng: world.plain(pixels),
            vision_fingerprint(encoder),
            views=1,
        )
