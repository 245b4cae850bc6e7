"""The joint encoder: any modality in, one space out."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.common.modality import Modality, trunk_name
from imagebind_llm.imagebind.config import (
    GridConfig,
    ImageBindConfig,
    ImuConfig,
    Part,
    PointConfig,
    TextConfig,
)
from imagebind_llm.imagebind.fingerprint import FingerprintCache
from imagebind_llm.imagebind.heads import make_head, make_postprocessor, unit_rows
from imagebind_llm.imagebind.inputs import fold_clips
from imagebind_llm.imagebind.point_encoder import PointTrunk
from imagebind_llm.imagebind.tokens import GridTokens, ImuTokens, TextTokens, Tokens
from imagebind_llm.imagebind.transformer import Trunk

_STEM_NAMES = {"vision": "rgbt_stem", "audio": "rgbt_stem", "depth": "depth_stem", "thermal": "rgbt_stem"}
"""The published names; "rgbt" is what the original calls its colour and thermal stem.
Sensors have a plain ``stem``."""


class EncoderOutput(NamedTuple):
    """What ``ImageBindModel.features`` gives, both ``[B, D]``."""

    embedding: Tensor
    """Unit vector times the modality's logit scale, averaged over clips (so clips that disagree make it
    shorter). float32."""
    prenorm: Tensor
    """The head's raw output, averaged over clips."""


class ImageBindModel(nn.Module):
    """ImageBind's encoders, and Point-Bind's, as ``config`` says. The state dict has the original key layout.

    The model is built in training mode, as any module; call ``eval()`` (or load it with ``load_imagebind``)
    for use, or dropped paths and batch statistics make embeddings random.
    """

    def __init__(self, config: ImageBindConfig) -> None:
        super().__init__()
        self.config = config
        self.modality_preprocessors = nn.ModuleDict()
        self.modality_trunks = nn.ModuleDict()
        self.modality_heads = nn.ModuleDict()
        self.modality_postprocessors = nn.ModuleDict()
        for name, part in config.parts():
            width = part.trunk.width
            if hasattr(nn.ModuleDict, name):
                raise ConfigError(
                    f"a sensor cannot be called {name!r}, as torch has that word; choose another"
                )
            if isinstance(part, GridConfig):
                self.modality_preprocessors[name] = GridTokens(part, _STEM_NAMES.get(name, "stem"))
            elif isinstance(part, TextConfig):
                self.modality_preprocessors[name] = TextTokens(part)
            elif isinstance(part, ImuConfig):
                self.modality_preprocessors[name] = ImuTokens(part)
            if not isinstance(part, PointConfig):
                self.modality_trunks[name] = Trunk(part.trunk)
            else:
                width = part.out_width
                if name == "point":  # Point-Bind keeps its trunk apart from the others
                    self.point_trunk = PointTrunk(part)
                else:
                    self.modality_trunks[name] = PointTrunk(part)
            self.modality_heads[name] = make_head(name, width, config.embedding_dim, part.head)
            self.modality_postprocessors[name] = make_postprocessor(part.head)
        self._fingerprint = FingerprintCache()

    @property
    def modalities(self) -> frozenset[Modality]:
        """What this model can encode."""
        names = {name for name, _ in self.config.parts()}
        return frozenset(modality for modality in Modality.known() if trunk_name(modality) in names)

    @property
    def embedding_dim(self) -> int:
        """``D``, the size of the joint space."""
        return self.config.embedding_dim

    @property
    def fingerprint(self) -> str:
        """16 hex digits over the configuration and the weights (see ``fingerprint.py`` for what counts)."""
        return self._fingerprint.get(self.config, self)

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration with the name of its type, as a model's ``encoder_config`` holds it."""
        return {"type": "imagebind", **self.config.to_dict()}

    def remember_fingerprint(self, value: str) -> None:
        """Take ``value`` as the fingerprint of the present weights: for a loader that rounds them."""
        self._fingerprint.put(value, self)

    def encode(self, modality: Modality, batch: Tensor) -> Tensor:
        """Unit embeddings ``[B, D]``, float32, of media of one modality.

        Shapes (``S`` = clips or crops, averaged): image ``[B, 3, H, W]``; video ``[B, 3, T, H, W]`` or
        ``[B, S, 3, T, H, W]``; audio ``[B, 1, mel, frames]`` or ``[B, S, 1, mel, frames]``; text
        ``[B, context]`` int64; point ``[B, N, 3]``; depth and thermal ``[B, 1, H, W]``; imu
        ``[B, 6, samples]``; a sensor ``[B, …]`` as its configuration says. The batch is moved to the
        model's device and precision. Everything runs at once: the caller chooses the batch size, and whether
        gradients are recorded.

        Raises:
            UserError: the model lacks the modality, or the shape does not fit the configuration.
        """
        return unit_rows(self.features(modality, batch).embedding)

    def features(self, modality: Modality, batch: Tensor) -> EncoderOutput:
        """As ``encode``, but as the reference returns it: scaled, not renormalised after averaging clips."""
        modality = Modality.parse(modality)
        name = trunk_name(modality)
        part = dict(self.config.parts()).get(name)
        if part is None:
            known = ", ".join(sorted(self.modalities))
            raise UserError(f"this encoder has no {modality.value}; it knows {known}")
        batch, clips = fold_clips(modality, part, batch)
        prenorm = self.modality_heads[name](self._pooled(name, part, self._placed(name, part, batch)))
        embedding = self.modality_postprocessors[name](prenorm)
        if clips is not None:
            embedding = embedding.unflatten(0, (-1, clips)).mean(dim=1)
            prenorm = prenorm.unflatten(0, (-1, clips)).mean(dim=1)
        return EncoderOutput(embedding, prenorm)

    def forward(self, modality: Modality, batch: Tensor) -> Tensor:
        """``encode``, for wrappers that call modules (``torch.compile``, data parallelism)."""
        return self.encode(modality, batch)

    def _pooled(self, name: str, part: Part, batch: Tensor) -> Tensor:
        """The trunk's vector for each row, before the head."""
        if isinstance(part, PointConfig):
            trunk = self.point_trunk if name == "point" else self.modality_trunks[name]
            return cast(Tensor, trunk(batch))
        tokens: Tokens = self.modality_preprocessors[name](batch)
        stream = self.modality_trunks[name](tokens.values, causal=tokens.causal)
        if tokens.readout is None:
            return cast(Tensor, stream[:, 0])
        rows = tokens.readout.view(-1, 1, 1).expand(-1, 1, stream.shape[2])
        return cast(Tensor, stream.gather(1, rows)[:, 0])

    def _placed(self, name: str, part: Part, batch: Tensor) -> Tensor:
        """``batch`` on the model's device, and in its precision where it is not ids or coordinates."""
        weight = next(self.modality_heads[name].parameters())
        if isinstance(part, TextConfig):
            return batch.to(weight.device)
        if isinstance(part, PointConfig):  # distances are measured in float32 whatever the weights are
            return batch.to(weight.device, torch.float32)
        return batch.to(weight.device, weight.dtype)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "ImageBindModel":
        """Moving or casting the model changes no weight, so a fingerprint already known stays valid."""
        with self._fingerprint.kept(self):
            return super()._apply(fn, recurse)
