"""From a trunk's pooled token to the joint space, and the scale of the result."""

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imagebind_llm.imagebind.config import HeadConfig


def unit_rows(x: Tensor) -> Tensor:
    """``x`` in float32 with rows of length 1 (half precision would round the lengths)."""
    return F.normalize(x.float(), dim=-1)


class UnitNorm(nn.Module):
    """``unit_rows`` as a step of a sequence."""

    def forward(self, x: Tensor) -> Tensor:
        return unit_rows(x)


class LogitScale(nn.Module):
    """``x · min(exp(log_logit_scale), max_scale)``; the logarithm is stored, as published."""

    log_logit_scale: Tensor

    def __init__(self, initial: float, learn: bool, max_scale: float) -> None:
        super().__init__()
        self.max_scale = max_scale
        value = torch.tensor(math.log(initial))
        if learn:
            self.log_logit_scale = nn.Parameter(value)
        else:
            self.register_buffer("log_logit_scale", value)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale()

    def scale(self) -> Tensor:
        """The factor in force, a float32 scalar."""
        return self.log_logit_scale.float().exp().clamp(max=self.max_scale)


def make_head(name: str, width: int, embedding_dim: int, config: HeadConfig) -> nn.Sequential:
    """Layer norm → dropout → linear without bias, under the published index of each modality."""
    norm = nn.LayerNorm(width, eps=config.norm_eps)
    linear = nn.Linear(width, embedding_dim, bias=False)
    nn.init.normal_(linear.weight, std=width**-0.5)
    dropout = nn.Dropout(config.dropout)
    if name == "text":
        return nn.Sequential(OrderedDict(proj=nn.Sequential(norm, linear)))
    if name == "imu":  # the original has one more step without weights here, which counts in the key
        return nn.Sequential(norm, nn.Identity(), dropout, linear)
    return nn.Sequential(norm, dropout, linear)


def make_postprocessor(config: HeadConfig) -> nn.Sequential:
    """Unit norm, then the scale if there is one."""
    steps: list[nn.Module] = [UnitNorm()]
    if config.logit_scale is not None:
        steps.append(LogitScale(config.logit_scale, config.learn_scale, config.max_scale))
    return nn.Sequential(*steps)
