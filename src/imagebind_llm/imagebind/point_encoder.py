"""Point-Bind's encoder: groups of neighbouring points become tokens of the shared trunk."""

from typing import cast

import torch
from torch import Tensor, nn

from imagebind_llm.imagebind.config import PointConfig
from imagebind_llm.imagebind.points import farthest_points, nearest_points, take_points
from imagebind_llm.imagebind.transformer import PointBlock, Trunk


class GroupFeatures(nn.Module):
    """A small PointNet: relative coordinates of each group ``[B, G, K, 3]`` → one feature ``[B, G, width]``."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(
            nn.Conv1d(3, hidden, 1), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Conv1d(hidden, 2 * hidden, 1)
        )
        self.second_conv = nn.Sequential(
            nn.Conv1d(4 * hidden, 4 * hidden, 1),
            nn.BatchNorm1d(4 * hidden),
            nn.ReLU(),
            nn.Conv1d(4 * hidden, width, 1),
        )

    def forward(self, groups: Tensor) -> Tensor:
        batch, count, size, _ = groups.shape
        local = self.first_conv(groups.flatten(0, 1).transpose(1, 2))  # [B·G, 2h, K]
        whole = local.amax(dim=2, keepdim=True).expand(-1, -1, size)
        features = self.second_conv(torch.cat([whole, local], dim=1))
        return cast(Tensor, features.amax(dim=2).view(batch, count, -1))


class PointTransformer(nn.Module):
    """``[B, N, 3]`` → class token beside the maximum over the groups, ``[B, 2 · trunk width]``.

    ``start``: a generator that draws the first centre of each cloud (an augmentation in training); ``None``, the
    default, starts at point 0, so equal clouds give equal embeddings.
    """

    def __init__(self, config: PointConfig) -> None:
        super().__init__()
        width = config.trunk.width
        self.groups, self.group_size = config.groups, config.group_size
        self.start: torch.Generator | None = None
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.cls_pos = nn.Parameter(torch.empty(1, 1, width))
        self.encoder = GroupFeatures(config.group_hidden, config.group_width)
        self.reduce_dim = nn.Linear(config.group_width, width)
        self.pos_embed = nn.Sequential(
            nn.Linear(3, config.position_hidden), nn.GELU(), nn.Linear(config.position_hidden, width)
        )
        self.blocks = Trunk(config.trunk, block=PointBlock)
        self.norm = nn.LayerNorm(width, eps=config.trunk.norm_eps)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.cls_pos, std=0.02)

    def forward(self, points: Tensor) -> Tensor:
        centres = take_points(points, farthest_points(points, self.groups, self.start))
        neighbours = take_points(points, nearest_points(points, centres, self.group_size))
        # Offsets are taken in the precision of the input: far from the origin half precision would lose them.
        dtype = self.cls_token.dtype
        features = self.reduce_dim(self.encoder((neighbours - centres[:, :, None]).to(dtype)))
        position = self.pos_embed(centres.to(dtype))
        tokens = torch.cat([self.cls_token.expand(points.shape[0], -1, -1).to(features.dtype), features], dim=1)
        position = torch.cat([self.cls_pos.expand(points.shape[0], -1, -1).to(position.dtype), position], dim=1)
        stream = self.norm(self.blocks(tokens, position=position))
        return torch.cat([stream[:, 0], stream[:, 1:].amax(dim=1)], dim=-1)


class PointTrunk(nn.Module):
    """The point transformer and its projection: ``[B, N, 3]`` → ``[B, out_width]``."""

    def __init__(self, config: PointConfig) -> None:
        super().__init__()
        self.point_encoder = PointTransformer(config)
        self.pc_projection = nn.Parameter(torch.empty(2 * config.trunk.width, config.out_width))
        nn.init.normal_(self.pc_projection, std=(2 * config.trunk.width) ** -0.5)

    def forward(self, points: Tensor) -> Tensor:
        return cast(Tensor, self.point_encoder(points) @ self.pc_projection)
