"""Which choices are compared. Only data: an arm is overrides of a recipe, or settings of the visual cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from imagebind_llm.common.errors import UserError

Kind = Literal["pretrain", "finetune", "cache"]


@dataclass(frozen=True)
class Arm:
    """One alternative of a choice.

    Attributes:
        name: in tables.
        overrides: ``key=value`` of its recipe (kinds ``pretrain`` and ``finetune``).
        cache: settings of the visual cache (kind ``cache``); None is without.
    """

    name: str
    overrides: tuple[str, ...] = ()
    cache: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        """What tells arms of one kind apart: arms of two groups with equal recipes are trained once."""
        return "_".join(self.overrides).translate(str.maketrans("", "", "[]'\" ")) or "published"


@dataclass(frozen=True)
class Group:
    """A choice and its alternatives; the others are compared with the first."""

    key: str
    title: str
    kind: Kind
    arms: tuple[Arm, ...]


CACHE = {"k": 10, "temperature": 20.0, "weight": 0.5}
"""The published settings."""


def groups(layers: int) -> tuple[Group, ...]:
    """All comparisons, for a language model of this many decoder layers."""
    half = max(1, layers // 2)
    return (
        Group("gates", "gates at the start", "pretrain",
              (Arm("zero"), Arm("random, spread 1", ("injection.gate_std=1.0",)))),
        Group("depth", "blocks of the bind network", "pretrain",
              (Arm("3"), Arm("1", ("bind.depth=1",)), Arm("0 (a linear map)", ("bind.depth=0",)))),
        Group("style", "style of injection", "pretrain",
              (Arm("residual"), Arm("value", ("injection.style=value",)))),
        Group("layers", "injected layers", "pretrain",
              (Arm("all"), Arm(f"upper half ({half})", (f"injection.layers={half}",)),
               Arm("first only", ("injection.layers=[0]",)))),
        Group("adapters", "what fine-tuning trains", "finetune",
              (Arm("low-rank updates, biases, norms"),
               Arm("low-rank updates only", ("adapters.biases=[]", "adapters.norms=false")),
               Arm("biases and norms only", ("adapters.rank=0",)))),
        Group("cache", "visual cache", "cache", (Arm("off"), Arm("on", cache=dict(CACHE)))),
        Group("cache-k", "cache: pictures k", "cache", _sweep("k", (1, 3, 10, 30, 100))),
        Group("cache-temperature", "cache: temperature t", "cache",
              _sweep("temperature", (1.0, 5.0, 20.0, 80.0))),
        Group("cache-weight", "cache: weight", "cache", _sweep("weight", (0.0, 0.25, 0.5, 0.75, 1.0))),
    )  # fmt: skip


def chosen(found: Sequence[Group], names: Sequence[str]) -> tuple[Group, ...]:
    """Those of ``names``, in order; all without names."""
    return tuple(group for group in found if not names or group.key in names)


def check_names(names: Sequence[str]) -> None:
    """Make sure that there are such comparisons, before anything is made for them.

    Raises:
        UserError: a name that no group has.
    """
    known = [group.key for group in groups(1)]
    for name in names:
        if name not in known:
            raise UserError(f"there is no comparison {name!r}; choose from {', '.join(known)}")


def _sweep(setting: str, values: Sequence[float]) -> tuple[Arm, ...]:
    """One setting of the cache varied around the published ones, which come first to be compared with."""
    arms = [Arm(f"{value:g}", cache={**CACHE, setting: value}) for value in values]
    published = [replace(arm, name=f"{arm.name} (published)") for arm in arms if arm.cache == CACHE]
    return (*published, *(arm for arm in arms if arm.cache != CACHE))
