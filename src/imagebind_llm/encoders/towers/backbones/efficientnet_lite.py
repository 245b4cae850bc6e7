"""EfficientNet-lite in plain PyTorch: lite0 to lite4, without squeeze-and-excitation, with ReLU6.

Sizes are those of the original TensorFlow code (efficientnet/lite/efficientnet_lite_builder.py): stem and
head keep their widths, the first and the last stage are not repeated more. The names of the tensors are those
of the PyPI package efficientnet-lite-pytorch 0.1.0, so its weight files load as they are.
"""

import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.common.settings import Checked

Variant = Literal["lite0", "lite1", "lite2", "lite3", "lite4"]

VARIANTS: dict[str, tuple[float, float, int]] = {
    "lite0": (1.0, 1.0, 224),
    "lite1": (1.0, 1.1, 240),
    "lite2": (1.1, 1.2, 260),
    "lite3": (1.2, 1.4, 280),
    "lite4": (1.4, 1.8, 300),
}
"""Factor of the widths, factor of the depths, side of the pictures in pixels (the same source)."""

WIDTH = 1280
"""Channels of the head, and so the length of a feature vector, in all variants."""

_STEM = 32
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Repeats, kernel, stride of the first block, expansion, channels of each stage (the same source)."""
_DIVISOR = 8
"""Channels are rounded to a multiple of this."""
_MOMENTUM, _EPS = 0.01, 1e-3
"""Of the batch norms: TensorFlow's momentum 0.99 is torch's 0.01."""


@dataclass(frozen=True)
class EfficientNetLiteConfig(Checked):
    """What an EfficientNet-lite is.

    Raises:
        ConfigError: no such variant, or a number that is not positive.
    """

    variant: Variant
    image_size: int = 0
    """Side of the pictures, which fixes the padding of its convolutions; 0: that of the variant."""
    num_classes: int = 1000

    _may_be_zero_or_less = ("image_size",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_size < 0:
            raise ConfigError(f"image_size is {self.image_size}; expected at least 1, or 0 for the variant's")
        if not self.image_size:
            object.__setattr__(self, "image_size", VARIANTS[self.variant][2])


class SameConv2d(nn.Conv2d):
    """A convolution without bias with TensorFlow's ``SAME`` padding for pictures of one size.

    The output has ``ceil(size / stride)`` cells each way; of an odd number of padded cells the larger part
    is at the right and the bottom.

    Args:
        size: side of the input, in cells.
    """

    def __init__(
        self, channels: int, out_channels: int, kernel: int, size: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(channels, out_channels, kernel, stride, groups=groups, bias=False)
        missing = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        self._pad = (missing // 2, missing - missing // 2) * 2

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, size, size]`` → ``[B, D, ceil(size / stride), ceil(size / stride)]``."""
        return super().forward(F.pad(x, self._pad) if any(self._pad) else x)


class Block(nn.Module):
    """An inverted bottleneck: widen, filter each channel, narrow; with a way around where sizes allow."""

    def __init__(
        self, channels: int, out_channels: int, kernel: int, stride: int, expand: int, size: int
    ) -> None:
        super().__init__()
        inner = channels * expand
        self.expands, self.around = expand != 1, stride == 1 and channels == out_channels
        if self.expands:
            self._expand_conv = SameConv2d(channels, inner, 1, size)
            self._bn0 = _norm(inner)
        self._depthwise_conv = SameConv2d(inner, inner, kernel, size, stride, groups=inner)
        self._bn1 = _norm(inner)
        self._project_conv = SameConv2d(inner, out_channels, 1, math.ceil(size / stride))
        self._bn2 = _norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` → ``[B, D, H', W']``."""
        inner = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        inner = F.relu6(self._bn1(self._depthwise_conv(inner)))
        inner = self._bn2(self._project_conv(inner))
        return inner + x if self.around else inner


class EfficientNetLite(nn.Module):
    """The network of one variant; its weights are random until they are loaded."""

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__()
        self.config = config
        width, depth, _ = VARIANTS[config.variant]
        size = config.image_size
        self._conv_stem = SameConv2d(3, _STEM, 3, size, 2)
        self._bn0 = _norm(_STEM)
        size, channels = math.ceil(size / 2), _STEM
        self._blocks = nn.ModuleList()
        for number, (repeats, kernel, first_stride, expand, out) in enumerate(_STAGES):
            inside = 0 < number < len(_STAGES) - 1
            for repeat in range(math.ceil(depth * repeats) if inside else repeats):
                stride = first_stride if repeat == 0 else 1
                self._blocks.append(Block(channels, _rounded(out * width), kernel, stride, expand, size))
                size, channels = math.ceil(size / stride), _rounded(out * width)
        self._conv_head = SameConv2d(channels, WIDTH, 1, size)
        self._bn1 = _norm(WIDTH)
        self._fc = nn.Linear(WIDTH, config.num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    @property
    def width(self) -> int:
        """Length of a feature vector."""
        return WIDTH

    gives_parts = True

    def forward(self, pictures: Tensor) -> Tensor:
        """Features ``[B, 1280]`` of pictures ``[B, 3, S, S]``: the mean of the head over all places.

        Raises:
            UserError: pictures of another size.
        """
        return self._map(pictures).mean((2, 3))

    def in_parts(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """The features, and ``[B, H, W, 1280]``: those of each place, whose mean they are."""
        found = self._map(pictures)
        return found.mean((2, 3)), found.permute(0, 2, 3, 1)

    def _map(self, pictures: Tensor) -> Tensor:
        size, weight = self.config.image_size, self._conv_stem.weight
        if pictures.shape[1:] != (3, size, size):
            raise UserError(
                f"image batch has shape {list(pictures.shape)}; this EfficientNet-lite expects "
                f"[B, 3, {size}, {size}]"
            )
        # Colours last: filters of single channels are then nearly twice as fast on a CPU.
        pictures = pictures.to(weight.device, weight.dtype).contiguous(memory_format=torch.channels_last)
        x = F.relu6(self._bn0(self._conv_stem(pictures)))
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x)))

    def logits(self, pictures: Tensor) -> Tensor:
        """Logits ``[B, num_classes]`` of the classes it was trained on."""
        return cast(Tensor, self._fc(self(pictures)))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, momentum=_MOMENTUM, eps=_EPS)


def _rounded(channels: float) -> int:
    """The nearest multiple of 8, and the next if that takes away more than a tenth."""
    found = max(_DIVISOR, int(channels + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
    return found + _DIVISOR if found < 0.9 * channels else found
