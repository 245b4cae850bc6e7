"""The network: diffusers' ``UNet2DModel`` whose class embedding is a projection of the joint embedding.

Flow matching (Lipman et al. 2023) on straight paths (Liu et al. 2023): at level ``t`` in 0 … 1 the picture is
``(1 - t) · picture + t · noise``, and the network says the velocity ``noise - picture``. With a share of the
conditions left out in training, guidance without a classifier works (Ho and Salimans 2022).
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imagebind_llm.common.errors import ConfigError, require
from imagebind_llm.common.settings import check_numbers

TIMESTEPS = 1000
"""What the network is told at level 1, as diffusers' flow-matching schedulers count."""
FEATURE = "imagining pictures"


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of a decoder.

    Attributes:
        embedding_dim: ``D`` of the joint space.
        size: side of the pictures, pixels.
        patch: squares of so many pixels a side are one place of the network (space to depth): with 2 a step
            costs a quarter.
        channels: of each resolution, which halves from one to the next.
        layers: residual blocks at each resolution.
        attention: at which resolutions places attend to each other.
        heads_dim: channels of an attention head.
        groups: of the group norms.
    """

    embedding_dim: int
    size: int = 32
    patch: int = 2
    channels: tuple[int, ...] = (64, 96, 128)
    layers: int = 1
    attention: tuple[bool, ...] = (False, True, False)
    heads_dim: int = 32
    groups: int = 16

    def __post_init__(self) -> None:
        least = dict.fromkeys(
            ("embedding_dim", "size", "patch", "channels", "layers", "heads_dim", "groups"), 1
        )
        check_numbers(self, "config", least=least)
        if len(self.channels) != len(self.attention) or not self.channels:
            raise ConfigError(
                f"config.channels has {len(self.channels)} numbers, config.attention {len(self.attention)}; "
                "give one of each for every resolution"
            )
        smallest = self.patch * 2 ** (len(self.channels) - 1)
        if self.size % smallest:
            raise ConfigError(f"config.size is {self.size}; expected a multiple of {smallest}")
        wrong = [number for number in self.channels if number % self.groups or number % self.heads_dim]
        if wrong:
            raise ConfigError(
                f"config.channels has {wrong[0]}; expected multiples of groups ({self.groups}) and "
                f"heads_dim ({self.heads_dim})"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


class EmbeddingDecoder(nn.Module):
    """Noisy pictures, their level and embeddings → velocities."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        diffusers = require("diffusers", "generate", FEATURE)
        self.config = config
        width = 4 * config.channels[0]  # of UNet2DModel's time embedding
        inner = 3 * config.patch**2
        down = ["AttnDownBlock2D" if attends else "DownBlock2D" for attends in config.attention]
        up = ["AttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(config.attention)]
        self.unet = diffusers.UNet2DModel(
            sample_size=config.size // config.patch,
            in_channels=inner,
            out_channels=inner,
            block_out_channels=config.channels,
            down_block_types=tuple(down),
            up_block_types=tuple(up),
            layers_per_block=config.layers,
            attention_head_dim=config.heads_dim,
            norm_num_groups=config.groups,
            class_embed_type="identity",
        )
        self.condition = nn.Sequential(
            nn.Linear(config.embedding_dim, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.nothing = nn.Parameter(torch.zeros(width))

    def forward(self, pictures: Tensor, levels: Tensor, embeddings: Tensor, given: Tensor) -> Tensor:
        """Velocities ``[B, 3, H, W]``.

        Args:
            pictures: ``[B, 3, H, W]``, noisy, in about -1 … 1 without the noise.
            levels: ``[B]``, 0 (the picture) … 1 (noise alone).
            embeddings: ``[B, D]`` unit rows.
            given: ``[B]`` bool: False hides the embedding.
        """
        scaled = embeddings * self.config.embedding_dim**0.5  # unit rows, at unit variance
        condition = torch.where(given[:, None], self.condition(scaled), self.nothing)
        places = F.pixel_unshuffle(pictures, self.config.patch)
        found = self.unet(places, levels * TIMESTEPS, class_labels=condition).sample
        return F.pixel_shuffle(found, self.config.patch)


def flow_loss(
    decoder: nn.Module, pictures: Tensor, embeddings: Tensor, given: Tensor, levels: Tensor, noise: Tensor
) -> Tensor:
    """The mean squared error of the velocity, a scalar.

    Args:
        decoder: an :class:`EmbeddingDecoder`.
        pictures: ``[B, 3, H, W]`` in -1 … 1.
        embeddings: ``[B, D]`` unit rows.
        given: ``[B]`` bool.
        levels: ``[B]`` in 0 … 1.
        noise: ``[B, 3, H, W]``, standard normal.
    """
    share = levels[:, None, None, None]
    noisy = torch.lerp(pictures, noise, share)
    return F.mse_loss(decoder(noisy, levels, embeddings, given), noise - pictures)


def draw_levels(count: int, generator: torch.Generator) -> Tensor:
    """Levels ``[count]`` for training: the logistic of a standard normal number, which prefers the middle,
    where the velocity is hardest to tell (Esser et al. 2024)."""
    return torch.sigmoid(torch.randn(count, generator=generator))
