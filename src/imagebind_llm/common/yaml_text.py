"""YAML that somebody else wrote: read safely, within limits."""

import re
from collections.abc import Iterable
from typing import Any

import yaml

DEEPEST = 32
"""Lists and mappings inside of each other, also through aliases."""
MOST_VALUES = 100_000
"""Values, each counted as often as an alias repeats it."""
MOST_CHARACTERS = 512 * 1024
"""The reader is slow: a second for each 100,000 or so."""


class NotYaml(ValueError):  # noqa: N818 - it says what the text is not
    """Text that is no YAML, or more than is read; the message is one line that says what was found."""


def parse_yaml(text: str) -> Any:
    """What a YAML text says: plain values, lists and mappings.

    Raises:
        NotYaml: it is no YAML, is too large or too deep (also with its aliases written out), an alias holds
            itself, or a key stands twice in a mapping.
    """
    if len(text) > MOST_CHARACTERS:
        raise NotYaml(f"{len(text):,} characters, {MOST_CHARACTERS:,} are read at most")
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _Measured().check(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except NotYaml:
        raise
    except yaml.YAMLError as error:
        raise NotYaml(_in_one_line(error)) from None
    except RecursionError:
        raise NotYaml(f"nested more than {DEEPEST} deep") from None
    except Exception as error:  # its constructors raise what int(), float() and date() raise, and others
        raise NotYaml(f"a value that cannot be read ({_in_one_line(error)})") from None


class _Loader(yaml.SafeLoader):
    """Stops where a text is nested too deeply."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        try:
            if self._depth > DEEPEST + 1:
                raise NotYaml(f"nested more than {DEEPEST} deep")
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


class _Measured:
    """Size and height of nodes, with all aliases written out."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, int]] = {}
        self._open: set[int] = set()

    def check(self, node: yaml.Node) -> tuple[int, int]:
        if id(node) in self._open:
            raise NotYaml("an alias that holds itself")
        if id(node) not in self._known:
            self._open.add(id(node))
            inner = [self.check(child) for child in _children(node)]
            size = 1 + sum(count for count, _ in inner)
            height = 1 + max((high for _, high in inner), default=-1)
            if size > MOST_VALUES:
                raise NotYaml(f"more than {MOST_VALUES:,} values, with what its aliases repeat")
            if height > DEEPEST:
                raise NotYaml(f"nested more than {DEEPEST} deep")
            self._open.remove(id(node))
            self._known[id(node)] = size, height
        return self._known[id(node)]


def _children(node: yaml.Node) -> Iterable[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name in seen and key.value != "<<":
                raise NotYaml(f"the key {key.value[:40]!r} stands twice in one mapping")
            if name is not None:
                seen.add(name)
        return [part for pair in node.value for part in pair]
    return []


def _in_one_line(error: Exception) -> str:
    text = " ".join((str(error).strip() or type(error).__name__).split())
    text = re.sub(r'in "<unicode string>", ', "", text)
    return text if len(text) <= 200 else f"{text[:199]}…"
