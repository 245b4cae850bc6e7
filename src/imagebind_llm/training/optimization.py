"""What happens to the weights in a step: learning rate, decay groups, the running average."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from imagebind_llm.training.parallel import full, local
from imagebind_llm.training.settings import OptimizerSettings

_LEAST_NORM = 1e-6
"""Keeps the limit finite where the gradient is 0 (as torch's ``clip_grad_norm_`` has it)."""


def learning_rate(settings: OptimizerSettings, peak: float, step: int, steps: int) -> float:
    """The rate of optimizer step ``step`` (0-based) of ``steps``: linear rise, then half a cosine."""
    warmup = settings.warmup(steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return peak * (settings.final_ratio + (1 - settings.final_ratio) * cosine)


def parameter_groups(parameters: dict[str, nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; tensors of fewer than two dimensions and anything called bias do not."""
    plain = [n for n, p in parameters.items() if p.ndim < 2 or n.rpartition(".")[2].endswith("bias")]
    decayed = [name for name in parameters if name not in set(plain)]
    groups = [
        {"params": [parameters[name] for name in decayed], "weight_decay": weight_decay},
        {"params": [parameters[name] for name in plain], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


@torch.no_grad()
def scale_and_clip(parameters: Iterable[nn.Parameter], scale: Tensor, largest: float | None) -> Tensor:
    """Multiply all gradients by ``scale`` (a number, on their device) and then down to a norm of ``largest``.

    Nothing waits for the device.

    Returns:
        The norm of the scaled gradients, before it was limited.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = full(nn.utils.get_total_norm(gradients)) * scale
    if largest is not None:
        scale = scale * (largest / (norm + _LEAST_NORM)).clamp(max=1.0)
    torch._foreach_mul_([local(gradient) for gradient in gradients], scale.float())
    return norm


def start_average(live: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of the tensors of ``live``, by name, to average over the steps.

    Give it parameters only: batch statistics start far from anything true (a variance of 1), and an average
    over steps would remember that longer than a short run lasts.
    """
    return {name: tensor.detach().clone() for name, tensor in live.items()}


@torch.no_grad()
def update_average(average: Mapping[str, Tensor], live: Mapping[str, Tensor], decay: float) -> None:
    """``average ← decay · average + (1 - decay) · live``, in place."""
    torch._foreach_lerp_(
        [local(tensor) for tensor in average.values()],
        [local(live[name].detach()) for name in average],
        1 - decay,
    )


@contextmanager
def averaged(average: Mapping[str, Tensor], live: Mapping[str, Tensor]) -> Iterator[None]:
    """The averages in place of the live tensors; those are put back in the end."""
    kept = {name: live[name].detach().clone() for name in average}
    with torch.no_grad():
        try:
            for name, tensor in average.items():
                live[name].copy_(tensor)
            yield
        finally:
            for name, tensor in kept.items():
                live[name].copy_(tensor)
