"""Configurations of transformers as plain values: what a model computes, not how it was stored."""

from collections.abc import Mapping
from typing import Any

_LEFT_OUT = frozenset(
    {"transformers_version", "dtype", "torch_dtype", "_name_or_path", "architectures", "_attn_implementation"}
)
"""What says where or how weights were stored, not what they compute."""


def without_storage(value: Any, also: frozenset[str] = frozenset()) -> Any:
    """Plain values without :data:`_LEFT_OUT` and the keys ``also``, at any depth; tuples become lists."""
    if isinstance(value, Mapping):
        left_out = _LEFT_OUT | also
        return {str(key): without_storage(item, also) for key, item in value.items() if key not in left_out}
    if isinstance(value, list | tuple):
        return [without_storage(item, also) for item in value]
    return value
