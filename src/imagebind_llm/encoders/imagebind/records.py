"""Frozen dataclasses from plain dictionaries and back, with errors that name the field."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from imagebind_llm.common.errors import ConfigError

Record = TypeVar("Record")


def to_plain(value: Any) -> Any:
    """``value`` as what JSON knows: dataclasses become dictionaries, tuples become lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return value


def from_plain(kind: type[Record], values: Mapping[str, Any], path: str) -> Record:
    """Build the dataclass ``kind`` from ``values``; ``path`` is how the caller calls it in messages.

    Raises:
        ConfigError: an unknown or missing key, or a value of the wrong type.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path} is {values!r}; expected a table of settings")
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, kind))}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ConfigError(f"{path} has unknown setting {', '.join(unknown)}; known are {', '.join(fields)}")
    hints = typing.get_type_hints(kind)
    arguments = {}
    for name, field in fields.items():
        if name in values:
            arguments[name] = _convert(hints[name], values[name], f"{path}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{path}.{name} is missing; add it")
    return kind(**arguments)


def _convert(hint: Any, value: Any, path: str) -> Any:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        if value is None:
            return None
        (hint,) = [option for option in typing.get_args(hint) if option is not type(None)]
    if dataclasses.is_dataclass(hint):
        return from_plain(typing.cast(type, hint), value, path)
    if typing.get_origin(hint) is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} is {value!r}; expected a table of settings")
        item = typing.get_args(hint)[1]
        return {str(key): _convert(item, entry, f"{path}.{key}") for key, entry in value.items()}
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{path} is {value!r}; expected a list")
        item = typing.get_args(hint)[0]
        return tuple(_convert(item, entry, f"{path}[{i}]") for i, entry in enumerate(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{path} is {value!r}; expected {hint.__name__}")
    return value
