"""Convolutions that turn a grid of pixels or mel bins into a grid of tokens."""

from collections import OrderedDict
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imagebind_llm.encoders.imagebind.config import ConvLayer, GridConfig


class PatchConv(nn.Module):
    """The first convolution, over (height, width): ``[B, C, H, W]`` → ``[B, 1, out, h, w]``. No bias."""

    def __init__(self, config: GridConfig) -> None:
        super().__init__()
        stem = config.stem
        self.stride, self.padding = stem.stride, stem.padding
        self.weight = nn.Parameter(torch.empty(stem.channels, config.channels, *stem.kernel))
        nn.init.xavier_uniform_(self.weight.view(stem.channels, -1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, stride=self.stride, padding=self.padding)[:, None]


class TubeletConv(PatchConv):
    """The first convolution, over (time, height, width), done as 2-D convolutions, which are faster on a CPU.

    A clip ``[B, C, T, H, W]`` is cut into ``T'`` windows of time whose frames become channels:
    → ``[B, T', out, h, w]``. A still image ``[B, C, H, W]`` stands for ``frames`` equal frames; it needs only
    one convolution, with the kernel summed over time.
    """

    def __init__(self, config: GridConfig) -> None:
        super().__init__(config)
        self.windows = config.grid[0]

    def forward(self, x: Tensor) -> Tensor:
        step, *stride = self.stride
        padding = self.padding[1:]
        if x.dim() == 5 and x.shape[2] == 1:
            x = x[:, :, 0]
        if x.dim() == 4:
            out = F.conv2d(x, self.weight.sum(dim=2), stride=stride, padding=padding)
            return out[:, None].expand(-1, self.windows, -1, -1, -1)
        span = self.weight.shape[2]
        # [B, C, T', H, W, span] -> [B·T', C·span, H, W], channel-major like the kernel's axes
        windows = x.unfold(2, span, step).permute(0, 2, 1, 5, 3, 4)
        merged = windows.flatten(2, 3).flatten(0, 1)
        out = F.conv2d(merged, self.weight.flatten(1, 2), stride=stride, padding=padding)
        return out.unflatten(0, (windows.shape[0], windows.shape[1]))


class Refine(nn.Module):
    """One ``ConvLayer``: conv → pool → BatchNorm → GELU, and perhaps a residual convolution."""

    def __init__(self, channels: int, layer: ConvLayer) -> None:
        super().__init__()
        self.pool = layer.pool
        self.conv = _convolution(channels, layer.channels, layer.kernel, layer.stride)
        self.norm = nn.BatchNorm2d(layer.channels)
        if layer.residual:
            self.residual_conv = _convolution(layer.channels, layer.channels, layer.kernel, 1)
            self.residual_norm = nn.BatchNorm2d(layer.channels)
        self.residual = layer.residual

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.pool > 1:
            x = F.max_pool2d(x, self.pool)
        x = F.gelu(self.norm(x))
        if self.residual:
            x = x + F.gelu(self.residual_norm(self.residual_conv(x)))
        return x


class GridStem(nn.Module):
    """Input grid → tokens ``[B, time·height·width, W]``, flattened in that order."""

    def __init__(self, config: GridConfig) -> None:
        super().__init__()
        stem = config.stem
        self.proj: nn.Module
        if config.frames:
            # Published as index 1 of a sequence whose index 0 repeats an image; here the convolution does so.
            self.proj = nn.Sequential(OrderedDict([("1", TubeletConv(config))]))
        else:
            self.proj = PatchConv(config)
        self.refined = bool(stem.convs)
        if stem.convs:
            self.first_norm = nn.BatchNorm2d(stem.channels)
            widths = [stem.channels, *(layer.channels for layer in stem.convs)]
            self.convs = nn.Sequential(
                *(Refine(width, layer) for width, layer in zip(widths[:-1], stem.convs, strict=True))
            )
        self.norm_layer = nn.LayerNorm(stem.out_channels, eps=1e-5) if stem.norm else None

    def forward(self, x: Tensor) -> Tensor:
        if self.refined and x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        grid = self.proj(x)
        if self.refined:
            batch, time = grid.shape[:2]
            frames = grid.reshape(batch * time, *grid.shape[2:]).contiguous(memory_format=torch.channels_last)
            frames = self.convs(F.gelu(self.first_norm(frames)))
            grid = frames.unflatten(0, (batch, time))
        tokens = grid.permute(0, 1, 3, 4, 2).flatten(1, 3)
        return tokens if self.norm_layer is None else cast(Tensor, self.norm_layer(tokens))


class ImuStem(nn.Module):
    """``[B, channels, samples]`` → one token for each window of samples, ``[B, windows, W]``."""

    def __init__(self, channels: int, kernel_size: int, width: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.proj = nn.Linear(channels * kernel_size, width, bias=False)
        self.norm_layer = nn.LayerNorm(width, eps=1e-5)
        nn.init.xavier_uniform_(self.proj.weight)

    def forward(self, x: Tensor) -> Tensor:
        windows = x.unfold(2, self.kernel_size, self.kernel_size)  # [B, C, windows, kernel]
        return cast(Tensor, self.norm_layer(self.proj(windows.transpose(1, 2).flatten(2))))


def _convolution(channels: int, out: int, kernel: int, stride: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv
