"""The joint encoder made of towers."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.base import FingerprintCache
from imagebind_llm.encoders.tokens import EncodedTokens
from imagebind_llm.encoders.towers.backbones.build import build_backbone
from imagebind_llm.encoders.towers.heads import Head
from imagebind_llm.encoders.towers.settings import TowersConfig


class Tower(nn.Module):
    """A backbone, whose weights stay as they are, and its head."""

    def __init__(self, backbone: nn.Module, head: Head) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    @property
    def width(self) -> int:
        """Length of a feature vector."""
        return int(self.backbone.width)  # type: ignore[arg-type]


class TowersEncoder(nn.Module):
    """A :class:`~imagebind_llm.encoders.base.JointEncoder` of any backbones with heads.

    The backbones are always in evaluation mode, whatever the encoder's mode is, and need no gradient.

    Raises:
        ConfigError: settings that contradict each other, or make no backbone.
    """

    def __init__(self, config: TowersConfig) -> None:
        super().__init__()
        self.config = config
        self.towers = nn.ModuleDict()
        for name, settings in config.towers.items():
            backbone = build_backbone(Modality.parse(name), settings.backbone).requires_grad_(False).eval()
            width = int(backbone.width)  # type: ignore[arg-type]
            self.towers[name] = Tower(backbone, Head(settings.head, width, config.embedding_dim))
        self._fingerprint = FingerprintCache()

    @property
    def modalities(self) -> frozenset[Modality]:
        """What ``encode`` accepts."""
        return self.config.modalities

    @property
    def embedding_dim(self) -> int:
        """``D``, the size of the joint space."""
        return self.config.embedding_dim

    @property
    def settings(self) -> dict[str, Any]:
        """As a model's ``encoder_config`` holds them."""
        return {"type": "towers", **self.config.to_dict()}

    @property
    def fingerprint(self) -> str:
        """16 hex digits over the configuration, media settings included, and the weights."""
        return self._fingerprint.get(self.config, self)

    def remember_fingerprint(self, value: str) -> None:
        """Take ``value`` as the fingerprint of the present weights: for a loader that rounds them."""
        self._fingerprint.put(value, self)

    def encode(self, modality: Modality, batch: Tensor) -> Tensor:
        """Unit embeddings ``[B, D]``, float32.

        Shapes: as :class:`~imagebind_llm.encoders.towers.media.TowersMedia` makes them, with a batch axis.

        Raises:
            UserError: a modality without tower, or a batch of another shape.
        """
        return self.project(modality, self.features(modality, batch))

    @property
    def token_modalities(self) -> frozenset[Modality]:
        """What ``tokens`` accepts: pictures, of a backbone that tells their parts apart."""
        found = {Modality.parse(name): cast(Tower, tower).backbone for name, tower in self.towers.items()}
        return frozenset(name for name, backbone in found.items() if getattr(backbone, "gives_parts", False))

    def tokens(self, modality: Modality, batch: Tensor) -> EncodedTokens:
        """Unit embeddings with those of their parts ``[B, H, W, D]``: what the head, which was trained on
        whole pictures, makes of the backbone's feature of each place.

        Raises:
            UserError: the backbone has none of the modality, or a batch of another shape.
        """
        tower = self.tower(modality)
        if modality not in self.token_modalities:
            known = ", ".join(sorted(self.token_modalities)) or "nothing"
            raise UserError(f"this encoder has no tokens of {modality}; it has of {known}")
        backbone: Any = tower.backbone
        whole, parts = backbone.in_parts(batch)
        return EncodedTokens(tower.head(whole), tower.head(parts))

    def features(self, modality: Modality, batch: Tensor) -> Tensor:
        """The backbone's features ``[B, width]``, before the head; of a video the mean over its frames.

        Raises:
            UserError: a modality without tower, or a batch of another shape.
        """
        modality = Modality.parse(modality)
        backbone = self.tower(modality).backbone
        if modality is not Modality.VIDEO:
            return cast(Tensor, backbone(batch))
        if batch.ndim != 5:
            raise UserError(f"video batch has shape {list(batch.shape)}; expected [B, frames, 3, H, W]")
        frames = backbone(batch.flatten(0, 1))
        return cast(Tensor, frames.unflatten(0, batch.shape[:2]).mean(1))

    def project(self, modality: Modality, features: Tensor) -> Tensor:
        """Unit embeddings ``[B, D]`` of features ``[B, width]``."""
        return cast(Tensor, self.tower(modality).head(features))

    def tower(self, modality: Modality) -> Tower:
        """The tower that reads ``modality``.

        Raises:
            UserError: there is none.
        """
        modality = Modality.parse(modality)
        name = self.config.tower_of(modality)
        if modality not in self.modalities:
            known = ", ".join(sorted(self.modalities))
            raise UserError(f"this encoder has no {modality.value}; it knows {known}")
        return cast(Tower, self.towers[name])

    def forward(self, modality: Modality, batch: Tensor) -> Tensor:
        """``encode``, for wrappers that call modules."""
        return self.encode(modality, batch)

    def train(self, mode: bool = True) -> "TowersEncoder":
        """Set the mode of the heads; backbones stay in evaluation mode."""
        super().train(mode)
        for tower in self.towers.values():
            cast(Tower, tower).backbone.eval()
        return self

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "TowersEncoder":
        """Moving or casting the model changes no weight, so a fingerprint already known stays valid."""
        with self._fingerprint.kept(self):
            return super()._apply(fn, recurse)


def head_parameters(encoder: TowersEncoder, modality: Modality) -> dict[str, torch.nn.Parameter]:
    """The trained tensors of a modality's head, by their names in the encoder."""
    name = encoder.config.tower_of(modality)
    head = encoder.tower(modality).head
    return {f"towers.{name}.head.{key}": parameter for key, parameter in head.named_parameters()}
