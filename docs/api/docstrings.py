"""Docstrings for the API pages: the roles in them (``:class:`~a.b.C```) become links."""

import re
from typing import Any

from griffe import Extension, Object

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):`(~?)([\w.]+)`")


def _linked(role: re.Match[str]) -> str:
    """A link where the name has a page, else the name alone."""
    short, name = role.groups()
    shown = name.rpartition(".")[2] if short else name
    return f'<autoref identifier="{name}" optional><code>{shown}</code></autoref>'


def as_markdown(docstring: str) -> str:
    """The docstring with links for roles, and ``text::`` before a block of code as ``text:``."""
    return re.sub(r"::$", ":", _ROLE.sub(_linked, docstring), flags=re.MULTILINE)


class Roles(Extension):
    """Loaded by the ``extensions`` option in ``mkdocs.yml``."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called for every module, class, function and attribute that was read."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
