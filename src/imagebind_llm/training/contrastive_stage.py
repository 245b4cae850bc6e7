"""What all bind stages share: an encoder of which some towers learn, whole or by low-rank updates, and the
softmax temperature."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from imagebind_llm.common.modality import Modality, trunk_name
from imagebind_llm.encoders.imagebind import ImageBindModel, save_imagebind
from imagebind_llm.training.encoders import set_training, tower_blocks, tower_buffers, tower_parameters
from imagebind_llm.training.recipe import BindRecipe
from imagebind_llm.training.stage import Stage
from imagebind_llm.training.tower_lora import add_tower_lora, merged_encoder

_MAX_SCALE = 100.0
"""Upper limit of the learnt inverse temperature, as in CLIP."""
_ENCODED_AT_ONCE = 128


class ContrastiveStage(Stage):
    """Trains the towers of ``modalities``; everything else of the encoder stays as it is.

    With ``recipe.lora`` the towers stay too, batch statistics included, and low-rank updates of their linear
    maps learn; the export has them folded in.
    """

    name = "bind"

    def __init__(self, recipe: BindRecipe, encoder: ImageBindModel, modalities: Sequence[Modality]) -> None:
        super().__init__()
        self.recipe, self.encoder, self.modalities = recipe, encoder, tuple(modalities)
        self._trunks = {trunk_name(modality) for modality in modalities}
        self.log_scale = nn.Parameter(torch.tensor(1 / recipe.temperature).log())
        self._updates: dict[str, nn.Parameter] | None = None
        for modality in modalities:
            tower_parameters(encoder, modality)  # complains of a missing tower
        if recipe.lora is not None:
            self._updates = add_tower_lora(encoder, self._trunks, recipe.lora, recipe.run.seed)

    def trainable(self) -> dict[str, nn.Parameter]:
        learnt = self._updates
        if learnt is None:
            learnt = {}
            for modality in self.modalities:
                learnt |= tower_parameters(self.encoder, modality)
        found = {f"encoder.{name}": parameter for name, parameter in learnt.items()}
        if self.recipe.learn_temperature:
            found["log_scale"] = self.log_scale
        return found

    def moving_buffers(self) -> dict[str, Tensor]:
        if self._updates is not None:
            return {}
        return {
            f"encoder.{name}": buffer
            for modality in self.modalities
            for name, buffer in tower_buffers(self.encoder, modality).items()
        }

    def train(self, mode: bool = True) -> "ContrastiveStage":
        super().train(mode)
        set_training(self.encoder, set() if self._updates is not None else self._trunks, mode)
        return self

    def blocks(self) -> list[nn.Module]:
        return tower_blocks(self.encoder, self._trunks)

    def recompute_activations(self) -> bool:
        for block in self.blocks():
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        return True

    @property
    def scale(self) -> Tensor:
        """The inverse temperature, a number tensor."""
        return self.log_scale.exp().clamp(max=_MAX_SCALE)

    def embeddings(self, modality: Modality, media: Tensor) -> Tensor:
        """Unit rows ``[n, D]`` on the CPU of media ``[n, …]``."""
        device = self.log_scale.device
        parts = media.split(_ENCODED_AT_ONCE)
        return torch.cat([self.encoder.encode(modality, part.to(device)).float().cpu() for part in parts])

    def export(self, folder: Path) -> None:
        save_imagebind(self.encoder if self._updates is None else merged_encoder(self.encoder), folder)

    def extra_metadata(self) -> dict[str, Any]:
        return {"modalities": [modality.value for modality in self.modalities]}
