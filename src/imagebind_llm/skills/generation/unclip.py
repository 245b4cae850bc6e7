"""Pictures by Stable unCLIP (diffusers), which takes an image embedding: ImageBind's vision tower shares the
space of the CLIP ViT-H that it was trained with (1024 numbers).

It wants the feature as long as the encoder makes it, not the unit vector: :attr:`Wish.feature`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.skills.generation.contract import (
    Kind,
    Made,
    Part,
    Pictures,
    Settings,
    Wish,
    require_kind,
)
from imagebind_llm.skills.generation.pipelines import open_pipeline, options, seeded, show_progress
from imagebind_llm.skills.generation.registry import GeneratorKind
from imagebind_llm.skills.generation.wishes import each


class UnclipGenerator:
    """A ``StableUnCLIPImg2ImgPipeline`` as a generator.

    Args:
        pipeline: the pipeline.
        weights: where it came from, for metadata.
    """

    kinds: Sequence[Kind] = ("picture",)
    reads: Sequence[Part] = ("feature",)
    encoder_fingerprint: str | None = None
    shifts: Mapping[str, Tensor] = {}

    def __init__(self, pipeline: Any, weights: str) -> None:
        self.pipeline = pipeline
        self.about: Mapping[str, str] = {"generator": "unclip", "weights": weights}

    def make(self, kind: Kind, wishes: Sequence[Wish], settings: Settings) -> Made:
        """Pictures; the description, where there is one, is the prompt beside the feature.

        Raises:
            UserError: another kind is asked for, or a wish has no feature of the pipeline's size.
        """
        require_kind(self, kind)
        dim = int(self.pipeline.image_normalizer.config.embedding_dim)
        show_progress(self.pipeline, settings)
        made = []
        for wish, thing in each(wishes, settings.count):
            made.append(self._picture(wishes[wish], dim, settings, thing))
        return Pictures(np.stack(made))

    def _picture(self, wish: Wish, dim: int, settings: Settings, thing: int) -> np.ndarray:
        if wish.feature is None or wish.feature.shape != (dim,):
            shape = None if wish.feature is None else list(wish.feature.shape)
            raise UserError(
                f"Stable unCLIP takes features of shape [{dim}], this model's are {shape}; use a model with "
                "ImageBind-Huge as its encoder (nano has its own generator)"
            )
        unet = self.pipeline.unet
        with torch.no_grad():
            images = self.pipeline(
                prompt=wish.description,
                negative_prompt=wish.negative or None,
                image_embeds=wish.feature[None].to(unet.device, unet.dtype),
                generator=seeded(self.pipeline, [settings.seed + thing])[0],
                output_type="np",
                **options(settings),
            ).images
        return (np.asarray(images[0]).clip(0, 1) * 255).round().astype(np.uint8)


def _open(weights: str | None, device: str) -> UnclipGenerator:
    pipeline = open_pipeline("StableUnCLIPImg2ImgPipeline", "unclip", weights, device)
    return UnclipGenerator(pipeline, str(weights))


UNCLIP = GeneratorKind(_open, ("picture",), "Stable unCLIP: pictures from ImageBind's own features.")
