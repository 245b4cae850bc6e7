"""Conditions: how media become one vector, when it is moved towards the visual cache, which token sees it.

There is one rule, in two steps: :func:`mix` the embeddings of a condition, then
:func:`move_towards_cache`. ``generate``, the assistant's perception and evaluation all use it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.media.batch import check_total
from imagebind_llm.model.parts import moved, vectors

if TYPE_CHECKING:
    from imagebind_llm.media.batch import MediaBatch

_EPSILON = 1e-6
"""Added to the sum of weights, as the reference does (it keeps a sum of zero finite)."""

_SHORTEST = 1e-6
"""A mixture of smaller length has no direction."""


def mix(embeddings: Tensor, weights: Tensor, index: Tensor, count: int) -> Tensor:
    """Weighted sums of unit embeddings.

    ``out[n] = Σ wᵢ eᵢ / (Σ |wᵢ| + 1e-6)`` over all ``i`` with ``index[i] == n``.

    The sum is not renormalised (the reference's behaviour); the visual cache, when used, renormalises.
    Negative weights subtract ("king - man + woman").

    Args:
        embeddings: ``[M, D]`` unit rows; or ``[M, 1 + G, D]`` with groups of tokens, which are summed each
            with its like: two pictures lie on top of each other.
        weights: ``[M]``, any sign.
        index: ``[M]`` int64 in ``0 … count-1``, the condition each row belongs to.
        count: number of conditions ``N``.

    Returns:
        ``[N, D]`` (``[N, 1 + G, D]``) in the dtype of ``embeddings``.
    """
    weights = weights.to(embeddings)
    total = torch.zeros(count, dtype=embeddings.dtype, device=embeddings.device)
    total = total.index_add(0, index, weights.abs())
    share = weights / (total[index] + _EPSILON)
    rest = embeddings.shape[1:]
    mixed = torch.zeros(count, *rest, dtype=embeddings.dtype, device=embeddings.device)
    return mixed.index_add(0, index, embeddings * share.view(-1, *[1] * len(rest)))


def mixtures(conditions: Sequence[Sequence[tuple[Tensor, float]]]) -> Tensor:
    """Mix the (unit row, weight) pairs of each condition: ``[N, D]`` (``[N, 1 + G, D]``, see :func:`mix`).

    Raises:
        UserError: a condition whose weights are all (next to) 0, or whose media cancel each other out.
    """
    for pairs in conditions:
        check_total(weight for _, weight in pairs)
    rows = torch.stack([row for pairs in conditions for row, _ in pairs])
    weights = torch.tensor([weight for pairs in conditions for _, weight in pairs])
    index = torch.tensor([number for number, pairs in enumerate(conditions) for _ in pairs])
    mixed = mix(rows, weights, index, len(conditions))
    check_direction(mixed)
    return mixed


def check_direction(mixed: Tensor) -> None:
    """Refuse mixtures ``[N, D]`` that point nowhere: nothing could be said, or looked up, about them. Of
    ``[N, 1 + G, D]`` only the vectors count.

    Raises:
        UserError: the media of one cancel each other out.
    """
    if bool((torch.linalg.vector_norm(vectors(mixed).float(), dim=1) < _SHORTEST).any()):
        raise UserError("the media cancel each other out, so nothing is left to see; change a weight")


class Enhancer(Protocol):
    """What a visual cache does to embeddings (see :class:`imagebind_llm.cache.VisualCache`).

    One that holds few pictures also has ``size``, their number.
    """

    def enhance(
        self, embeddings: Tensor, k: int = ..., temperature: float = ..., weight: float = ...
    ) -> Tensor:
        """``[B, D]`` → ``[B, D]``."""
        ...


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


def cache_settings(
    defaults: Mapping[str, Any],
    size: int | None,
    k: int | None = None,
    temperature: float | None = None,
    weight: float | None = None,
) -> dict[str, Any]:
    """What was asked for, else the model's own, whose ``k`` makes do with a smaller cache.

    Args:
        defaults: the configuration's ``cache`` group.
        size: number of pictures in the cache, if it says.
        k: number of pictures to blend; more than ``size`` is refused by the cache.
        temperature: factor on their similarities.
        weight: share of the pictures, 0 … 1.

    Returns:
        ``k``, ``temperature`` and ``weight`` for the cache.
    """
    asked = {"k": k, "temperature": temperature, "weight": weight}
    own = {**defaults, "k": defaults["k"] if size is None else min(defaults["k"], size)}
    return {name: own[name] if value is None else value for name, value in asked.items()}


def move_towards_cache(
    conditions: Tensor, chosen: Sequence[bool], cache: Enhancer, settings: Mapping[str, Any]
) -> Tensor:
    """Move mixtures towards cached pictures. Groups of tokens, of which the cache has none, go along: they
    are moved by the same difference, so a vector that stands in for them is the moved one.

    Args:
        conditions: ``[N, D]`` mixtures (or ``[N, 1 + G, D]``).
        chosen: which of them, ``N`` values; the others stay as they are.
        cache: the visual cache.
        settings: of :func:`cache_settings`.

    Returns:
        Their shape, dtype and device.

    Raises:
        UserError: the media of a chosen one cancel each other out.
    """
    if not any(chosen):
        return conditions
    rows = torch.tensor(list(chosen), device=conditions.device)
    before = vectors(conditions[rows])
    check_direction(before)
    after = cache.enhance(before.float(), **settings).to(conditions)
    result = conditions.clone()
    result[rows] = after if conditions.ndim == 2 else moved(conditions[rows], after)
    return result


def enhance_conditions(
    conditions: Tensor,
    media: "MediaBatch | None",
    cache: Enhancer,
    defaults: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Tensor:
    """Move conditions towards pictures, as the ``cache_options`` of ``generate`` say.

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
        UserError: as :func:`move_towards_cache`.
    """
    known = ("enabled", "k", "temperature", "weight")
    for key in options:
        if key not in known:
            raise ConfigError(f"unknown cache option {key!r}; expected one of {', '.join(known)}")
    asked = {key: value for key, value in options.items() if key != "enabled"}
    chosen = _enabled(options.get("enabled"), len(conditions), media, defaults)
    settings = cache_settings(defaults, getattr(cache, "size", None), **asked)
    return move_towards_cache(conditions, chosen, cache, settings)


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
