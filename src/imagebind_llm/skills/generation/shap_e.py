"""Shapes by Shap-E, which reads words: the model's own description of the media, or the user's."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.skills.generation.contract import (
    Kind,
    Made,
    Mesh,
    Part,
    Settings,
    Shapes,
    Wish,
    require_kind,
)
from imagebind_llm.skills.generation.pipelines import (
    descriptions,
    open_pipeline,
    options,
    seeded,
    show_progress,
)
from imagebind_llm.skills.generation.registry import GeneratorKind
from imagebind_llm.skills.generation.wishes import each


class ShapEGenerator:
    """A ``ShapEPipeline`` as a generator.

    Args:
        pipeline: the pipeline.
        weights: where it came from, for metadata.
        grid: cells a side in which the surface is looked for (128: diffusers' own number).
    """

    kinds: Sequence[Kind] = ("shape",)
    reads: Sequence[Part] = ("description",)
    encoder_fingerprint: str | None = None
    shifts: Mapping[str, Tensor] = {}

    def __init__(self, pipeline: Any, weights: str, grid: int = 128) -> None:
        self.pipeline, self.grid = pipeline, grid
        self.about: Mapping[str, str] = {"generator": "shap-e", "weights": weights}

    def make(self, kind: Kind, wishes: Sequence[Wish], settings: Settings) -> Made:
        """Meshes with a colour at each vertex.

        Raises:
            UserError: another kind is asked for, a wish has no description or has a negative one (Shap-E
                takes none), or a shape came out empty.
        """
        require_kind(self, kind)
        words = descriptions(wishes)
        if any(wish.negative for wish in wishes):
            raise UserError("Shap-E takes no negative words; drop --negative")
        show_progress(self.pipeline, settings)
        made = []
        for wish, thing in each(wishes, settings.count):
            with torch.no_grad():
                latents = self.pipeline(
                    words[wish],
                    generator=seeded(self.pipeline, [settings.seed + thing])[0],
                    output_type="latent",
                    **options(settings),
                ).images
            made.append(self._mesh(latents[:1]))
        return Shapes(tuple(made))

    def _mesh(self, latents: Tensor) -> Mesh:
        """The surface of one shape ``[1, …]``.

        Raises:
            UserError: there is none.
        """
        try:
            with torch.no_grad():
                found = self.pipeline.shap_e_renderer.decode_to_mesh(
                    latents, latents.device, grid_size=self.grid
                )
        except (ValueError, RuntimeError) as error:
            if "non-empty list" not in str(error):  # what torch says of the colours of no vertices
                raise
            raise UserError(_EMPTY) from error
        return mesh_of(found)


_EMPTY = "the shape came out empty; try another --seed or --description"


def mesh_of(found: Any) -> Mesh:
    """diffusers' ``MeshDecoderOutput`` with y up: Shap-E's z points up.

    Raises:
        UserError: it has no faces.
    """
    x, y, z = found.verts.detach().float().cpu().numpy().T
    faces = found.faces.cpu().numpy().astype(np.int64)
    if not len(faces):
        raise UserError(_EMPTY)
    channels = [found.vertex_channels[name].detach().float().cpu().numpy() for name in "RGB"]
    colours = (np.stack(channels, 1).clip(0, 1) * 255).round().astype(np.uint8)
    return Mesh(np.stack([x, z, -y], 1).astype(np.float32), faces, colours)


def _open(weights: str | None, device: str) -> ShapEGenerator:
    return ShapEGenerator(open_pipeline("ShapEPipeline", "shap-e", weights, device), str(weights))


SHAP_E = GeneratorKind(_open, ("shape",), "Shap-E: shapes from a description.")
