"""Plain data (JSON, YAML, ``key=value``) into frozen dataclasses and back, refusing what they do not know.

The only reader of settings: recipes, sources, cleaning, media, encoders and models are all read here.
"""

import dataclasses
import difflib
import math
import operator
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from imagebind_llm.common.errors import ConfigError, one_line, short

T = TypeVar("T")

MOST_AT_ONCE = 4096
"""Media or prompts that are held decoded and computed at once; more only takes memory."""


def build(kind: type[T], values: Mapping[str, Any], path: str = "") -> T:
    """An instance of the dataclass ``kind`` from ``values``.

    Nested dataclasses, ``X | None``, ``tuple[X, …]``, ``dict[str, X]`` and ``Literal`` fields are followed;
    whole numbers are accepted where a float is declared, which must be finite, and null for a whole group
    that has a default; nothing else is converted.

    Args:
        kind: a dataclass.
        values: its fields by name; an instance of ``kind`` may stand for a nested group.
        path: how messages call it; empty for settings that are also given as ``key=value``.

    Raises:
        ConfigError: a key that does not exist (naming the nearest one), a missing key or a value of another
        type.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{path or 'the recipe'} is {short(values)}; "
            f"expected a mapping of settings, not {type(values).__name__}"
        )
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            name = one_line(key, 80)
            raise ConfigError(f"unknown setting {_join(path, name)!r}; {_nearest(name, fields, path)}")
    arguments = {}
    for name, field in fields.items():
        default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if default and values.get(name) is None and _is_group(hints[name]):
            continue
        if name in values:
            arguments[name] = _convert(hints[name], values[name], _join(path, name))
        elif not default:
            way = "" if path else f" to the recipe or give {name}=VALUE"
            raise ConfigError(f"{_join(path, name)} is missing; add it{way}")
    return kind(**arguments)


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of ``values`` with dotted ``key=value`` pairs set; values are read as YAML (``3e-4``, ``[a,
    b]``, ``null``). A member of a list has its number for a name, from 0: ``data.sources.0.weight=2`` or
    ``data.sources[0].weight=2``.

    Raises:
        ConfigError: a pair without ``=``, a key that goes through a plain value, or a member that a list does
        not have.
    """
    merged: dict[str, Any] = _copy(values)
    for pair in overrides:
        key, found, text = pair.partition("=")
        if not found or not key:
            raise ConfigError(
                f"override {pair!r} is not of the form key=value, for example optimizer.lr=3e-4"
            )
        *parents, last = re.sub(r"\[(\d+)\]", r".\1", key.strip()).split(".")
        node: Any = merged
        for depth, parent in enumerate(parents):
            node = _step(node, parent, {}, pair)
            if not isinstance(node, dict | list):
                raise ConfigError(
                    f"override {pair!r}: {'.'.join(parents[: depth + 1])!r} is {short(node)}, not a group"
                )
        if isinstance(node, list):
            _step(node, last, None, pair)
            node[int(last)] = parse_scalar(text)
        else:
            node[last] = parse_scalar(text)
    return merged


def _step(node: dict[str, Any] | list[Any], name: str, default: Any, pair: str) -> Any:
    """The member ``name`` of a group (made if it is not there) or list."""
    if isinstance(node, dict):
        return node.setdefault(name, default)
    if not name.isdecimal() or int(name) >= len(node):
        raise ConfigError(
            f"override {pair!r}: {name!r} is no member of a list of {len(node)} (they count from 0)"
        )
    return node[int(name)]


def check_numbers(
    settings: Any,
    group: str = "",
    *,
    least: Mapping[str, float] | None = None,
    above: Mapping[str, float] | None = None,
    most: Mapping[str, float] | None = None,
) -> None:
    """Limits of numeric settings by name; None and numbers in tuples are followed.

    Raises:
        ConfigError: a number below ``least``, not ``above``, over ``most``, infinite or not a number.
    """
    rules: list[tuple[Mapping[str, float] | None, str, Callable[[float, float], bool]]] = [
        (least, "at least", operator.ge),
        (above, "more than", operator.gt),
        (most, "at most", operator.le),
    ]
    for limits, words, holds in rules:
        for name, limit in (limits or {}).items():
            value = getattr(settings, name)
            for number in value if isinstance(value, tuple) else (value,):
                if number is not None and not (_is_finite(number) and holds(number, limit)):
                    wanted = f"{words} {limit:g}" if math.isfinite(limit) else "a finite number"
                    shown = value if isinstance(number, float) else short(value)
                    raise ConfigError(f"{_join(group, name)} is {shown}; expected {wanted}")


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number of hundreds of digits
        return False


class Checked:
    """Base of frozen dataclasses whose numbers are all finite and, if not said otherwise, positive.

    Values are checked and converted as in :func:`build`, also where an instance is made in Python.

    Raises:
        ConfigError: a value of another type, or a number that cannot be.
    """

    _may_be_zero_or_less: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        group, hints = type(self).__name__, typing.get_type_hints(type(self))
        numbers = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = _convert(hints[field.name], getattr(self, field.name), _join(group, field.name))
            object.__setattr__(self, field.name, value)
            if all(isinstance(v, int | float) for v in (value if isinstance(value, tuple) else (value,))):
                numbers.append(field.name)
        free = [name for name in numbers if name in self._may_be_zero_or_less or hints[name] is bool]
        check_numbers(self, group, least=dict.fromkeys(free, -math.inf))
        check_numbers(self, group, above={name: 0 for name in numbers if name not in free})


def overlay(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``, group by group, so that one setting is changed without losing the others."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = overlay(merged[key], value) if both else value
    return merged


def parse_scalar(text: str) -> Any:
    """A YAML value, with ``3e-4`` read as the number it looks like (YAML 1.1 would keep it a string)."""
    from imagebind_llm.common.yaml_text import NotYaml, parse_yaml

    try:
        value = parse_yaml(text)
    except NotYaml:
        raise ConfigError(
            f"cannot read {one_line(text, 80)!r} as a value; quote it or write it as YAML"
        ) from None
    return value


def to_plain(settings: Any) -> dict[str, Any]:
    """The nested dict of a settings dataclass, with lists for tuples (what YAML and JSON can hold)."""
    plain = _listed(dataclasses.asdict(settings))
    assert isinstance(plain, dict)
    return plain


def flatten(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, _join(path, key)))
        else:
            flat[_join(path, key)] = value
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of :func:`flatten`; empty groups are gone."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return nested


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, value, path, hint)
    if origin is typing.Literal:
        if value is False and "no" in arguments and False not in arguments:
            return "no"  # what YAML 1.1 makes of a bare no
        if not any(type(value) is type(item) and value == item for item in arguments):  # True is not 1
            raise ConfigError(
                f"{path} is {short(value)}; use one of {', '.join(repr(item) for item in arguments)}"
            )
        return value
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else build(hint, value, path)  # type: ignore[arg-type]
    if origin is tuple:
        return _convert_tuple(arguments, value, path)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} is {short(value)}; expected a mapping")
        return {key: _convert(arguments[1], item, _join(path, str(key))) for key, item in value.items()}
    if hint is float and isinstance(value, str):
        value = _number(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return _finite(value, path)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{path} is {short(value)}; expected {hint.__name__}")
    return value


def _finite(value: int | float, path: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        raise ConfigError(
            f"{path} is a whole number of {len(hex(int(value))) - 2} hex digits, more than a float can hold"
        ) from None
    if not math.isfinite(number):
        raise ConfigError(f"{path} is {value}; expected a finite number")
    return number


def _number(text: str) -> Any:
    """YAML 1.1 leaves ``3e-4`` (no point) a string; where a float is declared it is meant as a number."""
    try:
        return float(text)
    except ValueError:
        return text


def _convert_union(options: tuple[Any, ...], value: Any, path: str, hint: Any) -> Any:
    if value is None and type(None) in options:
        return None
    errors = []
    for option in options:
        if option is not type(None):
            try:
                return _convert(option, value, path)
            except ConfigError as error:
                errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    raise ConfigError(f"{path} is {short(value)}; expected {hint}")


def _convert_tuple(arguments: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{path} is {short(value)}; expected a list")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_convert(arguments[0], item, f"{path}[{place}]") for place, item in enumerate(value))
    if len(value) != len(arguments):
        raise ConfigError(f"{path} is {short(value)}; expected {len(arguments)} values")
    return tuple(
        _convert(kind, item, f"{path}[{place}]")
        for place, (kind, item) in enumerate(zip(arguments, value, strict=True))
    )


def _is_group(hint: Any) -> bool:
    return dataclasses.is_dataclass(hint) or typing.get_origin(hint) is dict


def _nearest(key: str, known: Mapping[str, Any], path: str) -> str:
    close = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    if close:
        return f"did you mean {_join(path, close[0])!r}?"
    return f"known are {', '.join(sorted(known))}"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _copy(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _copy(value) for key, value in values.items()}
    return [_copy(value) for value in values] if isinstance(values, list) else values


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    return value
