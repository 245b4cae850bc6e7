"""Which token sees which condition, and which conditions the visual cache moves."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from imagebind_llm.common.errors import ConfigError, UserError

if TYPE_CHECKING:
    from imagebind_llm.media.batch import MediaBatch


class Enhancer(Protocol):
    """What a visual cache does to embeddings (see :class:`imagebind_llm.cache.VisualCache`)."""

    def enhance(
        self, embeddings: Tensor, k: int = ..., temperature: float = ..., weight: float = ...
    ) -> Tensor:
        """``[B, D]`` → ``[B, D]``."""
        ...


def check_condition_ids(
    ids: Tensor | None, count: int, given: Tensor, wait_for_device: bool = False
) -> Tensor:
    """Condition ids ``[B, T]`` for the tokens (or token embeddings) ``given``.

    Left out, row ``b`` sees condition ``b``, or all rows see the only one.

    Args:
        ids: ``[B, T]`` int64, ``-1`` for no condition, or ``None``.
        count: number of conditions.
        given: ``[B, T, …]``.
        wait_for_device: also look at values that lie on an accelerator, which waits for it.

    Raises:
        UserError: ids of another shape or outside ``-1 … count - 1``, or none where they cannot be guessed.
    """
    rows, length = given.shape[:2]
    if ids is None:
        if count not in (1, rows):
            raise UserError(f"{count} conditions for {rows} rows; give condition_ids [{rows}, {length}]")
        seen = torch.arange(count, device=given.device)
        return seen[:, None].expand(rows, length)
    if ids.shape != (rows, length):
        raise UserError(
            f"condition_ids have shape {list(ids.shape)}; expected [{rows}, {length}] as the tokens"
        )
    looked_at = wait_for_device or (ids.device.type == "cpu" and length > 1)  # single steps: checked before
    if looked_at and ids.numel() and not torch.compiler.is_compiling():
        low, high = int(ids.min()), int(ids.max())
        if low < -1 or high >= count:
            raise UserError(
                f"condition_ids span {low} … {high}; expected -1 … {count - 1} for {count} conditions"
            )
    return ids


def cached_by_default(modalities: Sequence[str], defaults: Mapping[str, Any]) -> bool:
    """Whether a condition made of media of these modalities (one entry per medium) uses the visual cache.

    A cached picture shows one thing, so it can pull a mixture towards one part; a model may except them.

    Args:
        modalities: of the media in the condition.
        defaults: the configuration's ``cache`` group: ``modalities``, ``mixtures``.
    """
    if len(modalities) > 1 and not defaults["mixtures"]:
        return False
    return any(modality in defaults["modalities"] for modality in modalities)


def enhance_conditions(
    conditions: Tensor,
    media: "MediaBatch | None",
    cache: Enhancer,
    defaults: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Tensor:
    """Move conditions towards images.

    Args:
        conditions: ``[N, D]`` mixtures.
        media: what they were made of, if known.
        cache: the visual cache.
        defaults: the configuration's ``cache`` group.
        options: ``enabled`` (a bool, or one per condition; by default those of :func:`cached_by_default`, or
            all if ``media`` is not known), and others than the default ``k``, ``temperature``, ``weight``.

    Returns:
        ``[N, D]``; rows that are not enabled are unchanged.

    Raises:
        ConfigError: an unknown option, or another number of ``enabled`` than of conditions.
    """
    settings = {key: defaults[key] for key in ("k", "temperature", "weight")}
    for key in options:
        if key != "enabled" and key not in settings:
            raise ConfigError(f"unknown cache option {key!r}; expected one of enabled, {', '.join(settings)}")
    settings.update({key: value for key, value in options.items() if key in settings and value is not None})
    chosen = _enabled(options.get("enabled"), len(conditions), media, defaults)
    if not any(chosen):
        return conditions
    rows = torch.tensor(chosen, device=conditions.device)
    result = conditions.clone()
    result[rows] = cache.enhance(conditions[rows].float(), **settings).to(conditions)
    return result


def _enabled(
    choice: bool | Sequence[bool] | None, count: int, media: "MediaBatch | None", defaults: Mapping[str, Any]
) -> list[bool]:
    if choice is None:
        if media is None:
            return [True] * count
        return [cached_by_default(found, defaults) for found in media.modalities]
    if isinstance(choice, bool):
        return [choice] * count
    if len(choice) != count:
        raise ConfigError(f"cache option 'enabled' has {len(choice)} values for {count} conditions")
    return [bool(value) for value in choice]
