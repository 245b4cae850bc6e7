"""A model divided over processes (FSDP2), and whole tensors out of it and back into it."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


class Shards(NamedTuple):
    """How a stage can be divided.

    ``root`` is the module that training and evaluation call; of it, ``units`` are collected one at a time
    when they are computed, the rest when the root is. ``whole`` stays a copy in each process (the frozen
    encoder, which is not called through the root).
    """

    root: nn.Module
    units: list[nn.Module]
    whole: nn.Module | None


def shard(parts: Shards, device: torch.device, count: int) -> None:
    """Divide ``parts`` over ``count`` processes, in place; parameters become ``DTensor``."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (count,))
    ignored: set[nn.Parameter] = set()
    if parts.whole is not None:
        parts.whole.to(device)
        ignored = set(parts.whole.parameters())
    for unit in parts.units:
        fully_shard(unit, mesh=mesh)
    fully_shard(parts.root, mesh=mesh, ignored_params=ignored)


def full(tensor: Tensor) -> Tensor:
    """The whole of a divided tensor (all processes must ask); any other tensor as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """This process's part of a divided tensor, sharing its memory; any other tensor as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def divided_like(tensor: Tensor, whole: Tensor) -> Tensor:
    """``whole`` laid out over processes as ``tensor`` is; on its device in any case."""
    moved = whole.to(tensor.device)
    if not isinstance(tensor, DTensor):
        return moved
    return distribute_tensor(moved, tensor.device_mesh, tensor.placements, src_data_rank=None)


def undivide(module: nn.Module, keep: bool) -> None:
    """End the division of ``module`` for good: plain whole parameters and the classes from before.

    All processes must call it; those with ``keep=False`` are left with empty parameters.
    """
    from torch.distributed.fsdp import FSDPModule

    divided: list[Any] = [part for part in module.modules() if isinstance(part, FSDPModule)]
    for part in divided:
        part.reshard()
    known: dict[int, nn.Parameter] = {}
    for part in module.modules():
        for name, parameter in list(part._parameters.items()):
            if isinstance(parameter, DTensor):
                if id(parameter) not in known:
                    value = parameter.full_tensor().detach()
                    known[id(parameter)] = nn.Parameter(
                        value if keep else value.new_empty(0), requires_grad=parameter.requires_grad
                    )
                part._parameters[name] = known[id(parameter)]
    for part in divided:
        _, _, before, *_ = type(part).__mro__  # ``fully_shard`` made a class of FSDPModule and this one
        part.__class__ = before
