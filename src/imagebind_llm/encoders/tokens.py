"""What an encoder may tell beyond one vector for a medium: tokens, that is vectors of its parts.

A :class:`~imagebind_llm.encoders.base.JointEncoder` that has ``token_modalities`` and ``tokens`` is a
:class:`TokenEncoder`. Both are optional: nothing but the setting ``bind.encoder_tokens`` of a model asks for
them.
"""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality


class EncodedTokens(NamedTuple):
    """Media of one modality, as a whole and in parts; unit rows, float32."""

    vectors: Tensor
    """``[B, D]``, as ``encode`` gives them, but for rounding."""
    tokens: Tensor
    """``[B, T, D]`` in order of time (sounds) or ``[B, H, W, D]`` by place (pictures), in the joint space."""


@runtime_checkable
class TokenEncoder(Protocol):
    """The optional part of the contract of encoders."""

    @property
    def token_modalities(self) -> frozenset[Modality]:
        """What ``tokens`` accepts."""
        ...

    def tokens(self, modality: Modality, batch: Tensor) -> EncodedTokens:
        """``[B, …]`` media of one modality, as ``encode`` takes them, in one pass.

        Raises:
            UserError: the encoder has no tokens of the modality, or the shape does not fit.
        """
        ...


def cells(count: int) -> tuple[int, int]:
    """Rows and columns of ``count`` equal fields of a picture, as near to a square as their number allows."""
    rows = next(number for number in range(math.isqrt(count), 0, -1) if count % number == 0)
    return rows, count // rows


def grouped(tokens: Tensor, count: int) -> Tensor:
    """The directions of the means of ``count`` groups: stretches of time, or fields of a picture row by row.

    Where ``count`` does not divide the tokens, groups share those at their borders.

    Args:
        tokens: ``[B, T, D]`` or ``[B, H, W, D]``.
        count: number of groups ``G``.

    Returns:
        ``[B, G, D]`` unit rows.

    Raises:
        UserError: there are fewer tokens than groups, along one of the sides.
    """
    shape = tokens.shape[1:-1]
    wanted = (count,) if len(shape) == 1 else cells(count)
    if any(group > found for group, found in zip(wanted, shape, strict=True)):
        raise UserError(
            f"{count} groups of tokens were asked for ({_by(wanted)}), but the encoder gives {_by(shape)}; "
            "set bind.encoder_tokens to fewer"
        )
    first = tokens.movedim(-1, 1)
    if len(shape) == 1:
        means = F.adaptive_avg_pool1d(first, count)
    else:
        means = F.adaptive_avg_pool2d(first, cells(count))
    return F.normalize(means.flatten(2).transpose(1, 2), dim=-1)


def with_groups(encoder: TokenEncoder, modality: Modality, batch: Tensor, count: int) -> Tensor:
    """Media as a whole, and in ``count`` groups of tokens: ``[B, 1 + count, D]`` unit rows, float32."""
    found = encoder.tokens(modality, batch)
    return torch.cat((found.vectors[:, None], grouped(found.tokens, count)), dim=1)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
