"""Point-Bind's encoder: groups of neighbouring points become tokens of the shared trunk.

Choosing and grouping the points are pure functions on batches.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imagebind_llm.encoders.imagebind.config import PointConfig
from imagebind_llm.encoders.imagebind.tokens import with_first
from imagebind_llm.encoders.imagebind.transformer import PointBlock, Trunk


@torch.no_grad()
def farthest_points(points: Tensor, count: int, start: torch.Generator | None = None) -> Tensor:
    """Indices of ``count`` well-spread points: each next one is the farthest from all chosen so far.

    Args:
        points: ``[B, N, 3]`` float, ``N >= count``.
        count: how many to choose.
        start: draws the first point of each cloud; ``None`` = always index 0, so the result depends on the
            points alone.

    Returns:
        ``[B, count]`` int64, in the order chosen. Ties go to the lower index.
    """
    batch, total, _ = points.shape
    planes = points.detach().float().transpose(1, 2).contiguous()  # [B, 3, N]: sums over axes read in order
    if start is None:
        current = torch.zeros(batch, dtype=torch.int64, device=points.device)
    else:
        current = torch.randint(total, (batch,), generator=start, device=start.device).to(points.device)
    chosen = torch.empty(batch, count, dtype=torch.int64, device=points.device)
    nearest = torch.full((batch, total), float("inf"), device=points.device)
    # Buffers that every round reuses: 512 rounds over 8192 points would else allocate for most of their time.
    offset, distance = torch.empty_like(planes), torch.empty_like(nearest)
    for i in range(count):
        chosen[:, i] = current
        centre = planes.gather(2, current.view(batch, 1, 1).expand(-1, 3, 1))
        torch.sub(planes, centre, out=offset)
        torch.sum(offset.mul_(offset), dim=1, out=distance)
        torch.minimum(nearest, distance, out=nearest)
        torch.argmax(nearest, dim=1, out=current)
    return chosen


@torch.no_grad()
def nearest_points(points: Tensor, centres: Tensor, count: int) -> Tensor:
    """The ``count`` points of ``[B, N, 3]`` nearest to each of ``centres [B, G, 3]``, as ``[B, G, count]``.

    A centre that is a point is its own neighbour. The order within a group is not defined. Squared distances
    come from the expanded form ``|a|² - 2ab + |b|²``, as in the reference.
    """
    cloud, targets = points.detach().float(), centres.detach().float()
    square = targets.square().sum(-1)[:, :, None] + cloud.square().sum(-1)[:, None, :]
    with torch.autocast(points.device.type, enabled=False):  # half precision would pick other neighbours
        distance = torch.baddbmm(square, targets, cloud.transpose(1, 2), alpha=-2.0)
    return distance.topk(count, dim=-1, largest=False, sorted=False).indices


def take_points(points: Tensor, index: Tensor) -> Tensor:
    """``points[b, index[b, …]]``: ``[B, N, 3]`` and ``[B, …]`` give ``[B, …, 3]``."""
    flat = index.flatten(1)
    taken = points.gather(1, flat[:, :, None].expand(-1, -1, points.shape[2]))
    return taken.view(*index.shape, points.shape[2])


class GroupFeatures(nn.Module):
    """A small PointNet: the relative coordinates of groups ``[B, G, K, 3]`` → features ``[B, G, width]``."""

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
        # Convolution of kernel 1: a linear layer of each point. On rows of channels it needs no transpose.
        enter, first_norm, _, lift = self.first_conv
        mix, second_norm, _, leave = self.second_conv
        local = _linear(F.relu(first_norm(_linear(groups.reshape(-1, 3), enter))), lift)  # [B·G·K, 2h]
        whole = local.unflatten(0, (batch * count, size)).amax(dim=1)
        # The published layer reads (group maximum, point) side by side. Its left half gives the same for all
        # points of a group, so it is applied once to the group.
        both, bias = _as_linear(mix)
        left, right = both.chunk(2, dim=1)
        shared = F.linear(whole, left, bias)
        mixed = F.linear(local, right).unflatten(0, (batch * count, size)) + shared[:, None]
        features = _linear(F.relu(second_norm(mixed.flatten(0, 1))), leave)
        return features.unflatten(0, (batch, count, size)).amax(dim=2)


def _linear(rows: Tensor, conv: nn.Module) -> Tensor:
    """``conv``, of kernel 1, on ``[M, in]`` rows."""
    return F.linear(rows, *_as_linear(conv))


def _as_linear(conv: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weight ``[out, in]`` and bias of a convolution of kernel 1."""
    assert isinstance(conv, nn.Conv1d)
    return conv.weight[:, :, 0], conv.bias


class PointTransformer(nn.Module):
    """``[B, N, 3]`` → class token beside the groups' maximum, ``[B, 2 · trunk width]``.

    ``start``: a generator that draws the first centre of each cloud (an augmentation in training);
    ``None``, the default, starts at point 0, so equal clouds give equal embeddings.
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
        tokens = with_first(self.cls_token, features)
        stream = self.norm(self.blocks(tokens, position=with_first(self.cls_pos, position)))
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
