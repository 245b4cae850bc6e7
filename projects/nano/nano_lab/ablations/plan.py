"""Which choices are compared. Only data: a variant overrides settings of a recipe, or of the visual cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from imagebind_llm.common.errors import UserError

Kind = Literal["pretrain", "finetune", "cache"]


@dataclass(frozen=True)
class Variant:
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
        """What tells variants of one kind apart. Those with equal recipes are trained once for all groups."""
        return "_".join(self.overrides).translate(str.maketrans("", "", "[]'\" ")) or "published"


@dataclass(frozen=True)
class Group:
    """A choice and its alternatives; the others are compared with the first."""

    key: str
    title: str
    kind: Kind
    variants: tuple[Variant, ...]


CACHE = {"k": 10, "temperature": 20.0, "weight": 0.5}
"""The published settings."""


def groups(layers: int) -> tuple[Group, ...]:
    """All comparisons, for a language model of this many decoder layers."""
    half = max(1, layers // 2)
    return (
        Group("gates", "gates at the start", "pretrain",
              (Variant("zero"), Variant("random, spread 1", ("injection.gate_std=1.0",)))),
        Group("depth", "blocks of the bind network", "pretrain",
              (Variant("3"), Variant("1", ("bind.depth=1",)),
               Variant("0 (a linear layer)", ("bind.depth=0",)))),
        Group("style", "style of injection", "pretrain",
              (Variant("residual"), Variant("value", ("injection.style=value",)))),
        Group("tokens", "vectors per condition", "pretrain",
              (Variant("1"), Variant("1, style value", ("injection.style=value",)),
               *(Variant(f"{count}, style value", (f"bind.tokens={count}", "injection.style=value"))
                 for count in (2, 4, 8)),
               *(Variant(f"1 and {count} of the encoder",
                         (f"bind.encoder_tokens={count}", "injection.style=value"))
                 for count in (4, 16)))),
        Group("layers", "injected layers", "pretrain",
              (Variant("all"), Variant(f"upper half ({half})", (f"injection.layers={half}",)),
               Variant("first only", ("injection.layers=[0]",)))),
        Group("adapters", "what fine-tuning trains", "finetune",
              (Variant("low-rank updates, biases, norms"),
               Variant("low-rank updates only", ("adapters.biases=[]", "adapters.norms=false")),
               Variant("biases and norms only", ("adapters.rank=0",)))),
        Group("cache", "visual cache", "cache", (Variant("off"), Variant("on", cache=dict(CACHE)))),
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


def _sweep(setting: str, values: Sequence[float]) -> tuple[Variant, ...]:
    """One setting of the cache varied around the published ones, which come first to be compared with."""
    variants = [Variant(f"{value:g}", cache={**CACHE, setting: value}) for value in values]
    published = [
        replace(variant, name=f"{variant.name} (published)") for variant in variants if variant.cache == CACHE
    ]
    return (*published, *(variant for variant in variants if variant.cache != CACHE))
