"""Checking a batch against the configuration, before it meets a weight."""

from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.imagebind.config import GridConfig, ImuConfig, Part, PointConfig, TextConfig


def item_shape(modality: Modality, part: Part) -> tuple[int | None, ...]:
    """The shape of one item (one clip) of ``modality``; ``None`` = any length."""
    if isinstance(part, GridConfig):
        time = (part.frames,) if modality is Modality.VIDEO else ()
        return (part.channels, *time, *part.size)
    if isinstance(part, TextConfig):
        return (part.context,)
    if isinstance(part, ImuConfig):
        return (part.channels, part.length)
    return (None, 3)


def fold_clips(modality: Modality, part: Part, batch: Tensor) -> tuple[Tensor, int | None]:
    """``[B, …]`` as it is, or ``[B, clips, …]`` as ``[B · clips, …]`` with the number of clips (grids only).

    Raises:
        UserError: the shape fits neither, the ids are not whole numbers, or a cloud has too few points.
    """
    expected = item_shape(modality, part)
    shape = tuple(batch.shape)
    clips = None
    if isinstance(part, GridConfig) and len(shape) == len(expected) + 2:
        clips = shape[1]
    item = shape[1:] if clips is None else shape[2:]
    fits = len(item) == len(expected) and all(
        length is None or found == length for found, length in zip(item, expected, strict=True)
    )
    if not fits or clips == 0:
        wanted = ", ".join("N" if length is None else str(length) for length in expected)
        several = f" or [B, clips, {wanted}]" if isinstance(part, GridConfig) else ""
        raise UserError(
            f"{modality.value} batch has shape {list(shape)}; this encoder expects [B, {wanted}]{several}"
        )
    if isinstance(part, TextConfig) and batch.is_floating_point():
        raise UserError(f"text batch has dtype {batch.dtype}; expected token ids as int64")
    if isinstance(part, PointConfig):
        least = max(part.groups, part.group_size)
        if item[0] < least:
            raise UserError(
                f"{modality.value} cloud has {item[0]} points; this encoder needs at least {least}"
            )
    return (batch if clips is None else batch.flatten(0, 1)), clips
