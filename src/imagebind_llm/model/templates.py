"""Rendering chat templates as transformers does, within limits of time and size.

A chat template is a program that comes with a tokenizer. It runs in jinja's sandbox, which keeps it from
files and from Python's inside, but lets it loop and grow strings without end. Here every step that can
repeat (a loop's turn, a call, a filter) looks at the time, and everything that can grow is measured: what
multiplies (``*``, ``**``, ``join``, ``replace``, padding, formats) before it is done, what adds afterwards.
No single step can then take much longer than the limits allow.

The names that templates find are transformers': the filter ``tojson``, ``raise_exception``,
``strftime_now``, ``namespace``, ``break``, ``continue`` and the block ``generation``.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

SECONDS = 5.0
"""Processor time for all renders of one dialog, which is rendered once for each of its turns."""
MOST = 1_000_000
"""Characters of one value, and of the text, on top of twice those of the messages."""
_ENTRY = 8
"""Characters that an entry of a list counts for."""
_MOST_SOURCE = 500_000
"""Characters of a template. The longest of published models have some 30,000."""
_MOST_WRITTEN = 8
"""Characters written into variables and macros in all, as a multiple of the size allowed for one value."""
_MOST_CONSTANT = 100_000_000
"""Characters of the template's own text that loops and macros may repeat."""
_MOST_BITS = 10_000
"""Bits of a whole number."""


class TemplateLimitError(Exception):
    """A template takes too long or builds too much."""


class Budget:
    """What is left for the renders of one dialog.

    Args:
        data: what the template is given, which decides how much it may write.
        seconds: processor time.
        most: size of a value on top of twice the size of ``data``.
    """

    def __init__(self, data: Any, seconds: float = SECONDS, most: int = MOST) -> None:
        self.most = most + 2 * _size(data, 1 << 62)
        self._left = seconds
        self._until = 0.0
        self.written = self.constant = 0

    def start(self) -> None:
        """Begin a render."""
        self._until = time.thread_time() + self._left
        self.written = self.constant = 0

    def stop(self) -> None:
        """End a render."""
        self._left = self._until - time.thread_time()

    def tick(self) -> None:
        """Look at the time."""
        if time.thread_time() > self._until:
            raise TemplateLimitError("it takes too long to render")

    def check(self, size: int) -> None:
        """Refuse to build something of this size."""
        if size > self.most:
            raise TemplateLimitError(f"it builds something of more than {self.most:,} characters")

    def write(self, size: int) -> None:
        """Count text that is written, perhaps into a variable."""
        self.written += size
        if self.written > _MOST_WRITTEN * self.most:
            raise TemplateLimitError(f"it writes more than {_MOST_WRITTEN * self.most:,} characters")

    def repeat(self, size: int) -> None:
        """Count text of the template itself that is written again."""
        self.constant += size
        if self.constant > _MOST_CONSTANT:
            raise TemplateLimitError(f"it repeats more than {_MOST_CONSTANT:,} characters of its own")


_ACTIVE = threading.local()


def _budget() -> Budget:
    found: Budget | None = getattr(_ACTIVE, "budget", None)
    if found is None:  # jinja computes what is constant when it compiles
        found = Budget(None)
        found.start()
    return found


def render(template: str, variables: Mapping[str, Any], budget: Budget) -> str:
    """``template`` with ``variables``: the text that transformers would give.

    Raises:
        TemplateLimitError: it takes too long or builds too much.
        Exception: whatever the template raises; a :class:`jinja2.TemplateError` where it refuses.
    """
    pieces: list[str] = []
    length = 0
    before = getattr(_ACTIVE, "budget", None)
    _ACTIVE.budget = budget
    budget.start()
    try:
        for piece in _compiled(template).generate(**variables):
            budget.tick()
            length += len(piece)
            budget.check(length)
            pieces.append(piece)
    finally:
        budget.stop()
        _ACTIVE.budget = before
    return "".join(pieces)


def _parsed(template: str) -> nodes.Template:
    if len(template) > _MOST_SOURCE:
        raise TemplateLimitError(f"it has {len(template):,} characters; at most {_MOST_SOURCE:,} are read")
    return _ENVIRONMENT.parse(template)


@lru_cache(maxsize=64)
def names_read(template: str) -> frozenset[str]:
    """Names of variables that ``template`` looks at and does not make itself.

    Raises:
        jinja2.TemplateError: it is no template.
        TemplateLimitError: it is too long.
    """
    return frozenset(meta.find_undeclared_variables(_parsed(template))) - _ENVIRONMENT.globals.keys()


@lru_cache(maxsize=64)
def own_words(template: str) -> tuple[str, ...]:
    """All text that stands in ``template``, outside of its statements and in their strings.

    Raises:
        jinja2.TemplateError: it is no template.
        TemplateLimitError: it is too long.
    """
    tree = _parsed(template)
    plain = [node.data for node in tree.find_all(nodes.TemplateData)]
    return (*plain, *(node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)))


@lru_cache(maxsize=64)
def _compiled(template: str) -> jinja2.Template:
    tree = _measured(_parsed(template))
    assert isinstance(tree, nodes.Template)
    return jinja2.Template.from_code(
        _ENVIRONMENT, _ENVIRONMENT.compile(tree), _ENVIRONMENT.make_globals(None)
    )


# --- what repeats and what grows


def _measured(node: Any) -> Any:
    """``node`` with its loops and macros counted, and its lists and joined strings measured."""
    own = _own_length(node)
    for field, value in node.iter_fields():
        if isinstance(value, list):
            value[:] = [_measured(item) if isinstance(item, nodes.Node) else item for item in value]
        elif isinstance(value, nodes.Node):
            setattr(node, field, _measured(value))
    if isinstance(node, nodes.For):
        node.iter = _filtered(node.iter, "counted", own)
    elif isinstance(node, nodes.Macro | nodes.CallBlock | nodes.Block):
        node.body.insert(0, nodes.ExprStmt(_filtered(nodes.Const(own), "repeated")))
    elif isinstance(node, nodes.Concat | nodes.List | nodes.Dict) or (
        isinstance(node, nodes.Tuple) and node.ctx == "load"
    ):
        return _filtered(node, "measured")
    return node


def _filtered(node: Any, name: str, *values: int) -> nodes.Filter:
    found = nodes.Filter(node, name, [nodes.Const(value) for value in values], [], None, None)
    found.set_lineno(getattr(node, "lineno", None) or 1)
    return found


def _own_length(node: nodes.Node) -> int:
    return sum(len(data.data) for data in node.find_all(nodes.TemplateData))


def _size(value: Any, most: int) -> int:
    """Characters of a value, and 8 for each entry, however often they occur in it.

    It stops counting at ``most``.
    """
    if isinstance(value, str | bytes):
        return len(value)
    total, waiting = 0, [value]
    while waiting and total <= most:
        item = waiting.pop()
        total += _ENTRY
        if isinstance(item, str | bytes):
            total += len(item)
        elif isinstance(item, list | tuple | set | frozenset):
            total += len(item)
            waiting.extend(item)
        elif isinstance(item, dict):
            total += len(item)
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, Namespace):
            waiting.extend(object.__getattribute__(item, "_Namespace__attrs").values())
    return total


def _checked(value: Any) -> Any:
    """``value`` if it is not too large."""
    budget = _budget()
    budget.tick()
    budget.check(_size(value, budget.most))
    return value


@jinja2.pass_context
def _counted(_: Any, values: Any, length: int) -> Iterator[Any]:
    """The turns of a loop whose body holds ``length`` characters."""
    budget = _budget()
    for value in values:
        budget.tick()
        budget.repeat(length)
        yield value


@jinja2.pass_context
def _repeated(_: Any, length: int) -> str:
    budget = _budget()
    budget.tick()
    budget.repeat(length)
    return ""


def _written(value: Any) -> str:
    """What is written for a value."""
    text = value if isinstance(value, str) else str(value)
    _budget().write(len(text))
    return text


def _check_product(count: int, size: Any) -> None:
    """Refuse ``count`` copies of a text, or of a padding of so many characters."""
    length = abs(size) if isinstance(size, int) else _size(size, 1 << 62) if size is not None else 0
    _budget().check(count * length)


def _check_format(pattern: Any, values: Any) -> None:
    """Refuse formats that pad, or repeat, without end."""
    budget = _budget()
    text = pattern if isinstance(pattern, str) else str(pattern)
    if any(len(digits) > 4 for digits in _digits(text)) or "*" in text or _nested(text):
        raise TemplateLimitError("it pads a text to a length that only its values or many digits say")
    places = text.count("%") + text.count("{")
    budget.check(len(text) + places * _size(values, budget.most))


def _digits(text: str) -> list[str]:
    return "".join(letter if letter.isdecimal() else " " for letter in text).split()


def _nested(text: str) -> bool:
    """Whether a replacement field holds another one."""
    bare = text.replace("{{", "").replace("}}", "")
    return any("{" in field.partition("}")[0] for field in bare.split("{")[1:] if not field) or any(
        "}" not in field for field in bare.split("{")[1:-1]
    )


_PADDING = ("center", "ljust", "rjust", "zfill", "expandtabs", "to_bytes")


def _check_method(owner: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse a call of ``owner.name`` that would give something too large."""
    if name in _PADDING:
        for value in (*args, *kwargs.values()):
            if isinstance(value, int):
                _check_product(len(owner) if name == "expandtabs" else 1, value)
    elif name == "join" and args:
        _check_joined(args[0], owner)
    elif name == "replace" and len(args) > 1:
        _check_replaced(owner, *args[:2])
    elif name in ("format", "format_map"):
        _check_format(owner, [*args, kwargs])
    elif name == "translate" and args:
        _check_product(len(owner), args[0])


def _check_joined(values: Any, separator: Any) -> None:
    budget = _budget()
    budget.check(_size(values, budget.most))
    _check_product(len(values), separator)


def _listed(values: Any) -> Any:
    """``values`` as something that can be looked through twice."""
    return values if isinstance(values, str | Mapping) else list(values)


def _check_replaced(text: Any, old: Any, new: Any) -> None:
    text, old, new = str(text), str(old), str(new)
    _check_product(text.count(old), max(0, len(new) - len(old)))


def _check_filter(name: str, value: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse a filter that would give something too large."""
    given = [*args, *kwargs.values()]
    if name == "join":
        _check_joined(value, given[0] if given else "")
    elif name == "replace" and len(given) > 1:
        _check_replaced(value, *given[:2])
    elif name == "format":
        _check_format(value, given)
    elif name in ("indent", "tojson", "center", "wordwrap", "batch", "slice", "urlize", "xmlattr"):
        count = 1
        if name == "tojson":
            count = _size(value, _budget().most)
        elif name in ("indent", "wordwrap", "urlize") and isinstance(value, str):
            count = len(value) if name == "wordwrap" else 1 + value.count("\n" if name == "indent" else ".")
        for size in given:
            if not isinstance(size, bool) and not (name == "wordwrap" and isinstance(size, int)):
                _check_product(count, size)
    elif name == "sum" and any(isinstance(start, list | tuple) for start in given):
        _check_product(_size(value, _budget().most), _size(value, _budget().most))


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that is measured before and after; it keeps jinja's marks (what it is passed)."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if name in ("join", "sum") and len(args) > first:
            args = (*args[:first], _listed(args[first]), *args[first + 1 :])
        if len(args) > first:
            _check_filter(name, args[first], args[first + 1 :], kwargs)
        return _checked(function(*args, **kwargs))

    return guarded


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """An operation whose result may be larger than what it is given."""
        if operator == "*":
            for values, count in ((left, right), (right, left)):
                if isinstance(values, str | bytes | list | tuple) and isinstance(count, int):
                    _check_product(max(count, 0), values)
        elif operator == "%" and isinstance(left, str | bytes):
            _check_format(left, right)
        if operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * (max(right, 0) if operator == "**" else 1)
            if bits + (right.bit_length() if operator == "*" else 0) > _MOST_BITS:
                raise TemplateLimitError(f"it computes a number of more than {_MOST_BITS:,} bits")
        return _checked(super().call_binop(context, operator, left, right))

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """A call from the template. The names are jinja's, so that no keyword can clash with them."""
        _budget().tick()
        method = getattr(__obj, "__wrapped__", __obj)
        owner = getattr(method, "__self__", None)
        if isinstance(owner, str | bytes | int):
            if method.__name__ == "join" and args:
                args = (_listed(args[0]), *args[1:])
            _check_method(owner, method.__name__, args, kwargs)
        found = ImmutableSandboxedEnvironment.call(__self, __context, __obj, *args, **kwargs)
        return found if isinstance(__obj, Macro) else _checked(found)


# --- what transformers' templates find


class _Generation(Extension):
    """``{% generation %}`` … ``{% endgeneration %}``: the block as it stands."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> nodes.CallBlock:
        """A block that is called where it stands, in a scope of its own, as transformers has it."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        block = nodes.CallBlock(self.call_method("_as_it_stands"), [], [], body)
        block.set_lineno(line)
        return block

    @staticmethod
    def _as_it_stands(caller: Callable[[], str]) -> str:
        return caller()


class _Namespace(Namespace):
    """Takes no name that begins with ``_``."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, values = args[0], dict(*args[1:], **kwargs)
        for name in values:
            _Namespace._check(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _Namespace._check(name)
        Namespace.__setitem__(self, name, value)

    @staticmethod
    def _check(name: object) -> None:
        if str(name).startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a namespace takes no name such as {name!r}")


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _make_environment() -> _Environment:
    made = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols], finalize=_written
    )
    made.filters["tojson"] = _to_json
    made.filters = {name: _guarded(name, function) for name, function in made.filters.items()}
    made.filters |= {"counted": _counted, "repeated": _repeated, "measured": _checked}
    del made.globals["lipsum"]  # text by the paragraph, which no prompt needs
    made.globals |= {
        "raise_exception": _raise_exception,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "namespace": _Namespace,
        "dict": lambda *args, **kwargs: dict(*args, **kwargs),
    }
    return made


_ENVIRONMENT = _make_environment()
