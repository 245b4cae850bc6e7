"""Choosing and grouping points of a cloud. Pure functions on batches."""

import torch
from torch import Tensor


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
