"""What other packages bring: objects found by name through entry points.

A package offers one with a table in its ``pyproject.toml``::

    [project.entry-points."imagebind_llm.stages"]
    my-stage = "my_package.stages:MY_STAGE"

What this package has itself is listed in the same form, so that both are found and loaded in one way.
"""

import difflib
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from imagebind_llm.common.errors import UserError


class Plugins:
    """The objects of one entry-point group.

    Args:
        group: name of the group, for example ``imagebind_llm.stages``.
        what: what one of them is called in messages, for example ``stage``.
        built_in: name → ``module:attribute`` of those that this package has itself.
    """

    def __init__(self, group: str, what: str, built_in: Mapping[str, str] | None = None) -> None:
        self.group, self.what = group, what
        self._built_in = [EntryPoint(name, value, group) for name, value in (built_in or {}).items()]

    def names(self) -> list[str]:
        """All names: our own in their order, then those of other packages by the alphabet."""
        own = [point.name for point in self._built_in]
        return own + sorted({point.name for point in _offered(self.group, tuple(sys.path))} - set(own))

    def load(self, name: str) -> Any:
        """The object called ``name``.

        Raises:
            UserError: there is none (naming the nearest), several packages offer it, or it cannot be
                imported.
        """
        own = [point for point in self._built_in if point.name == name]
        others = [point for point in _offered(self.group, tuple(sys.path)) if point.name == name]
        offers = {point.value: point for point in (*own, *others)}
        if not offers:
            raise self.unknown(name, self.names())
        if len(offers) > 1:
            raise UserError(
                f"the {self.what} {name!r} is offered {len(offers)} times, as "
                f"{' and '.join(sorted(offers))}; uninstall all packages but one of these"
            )
        (point,) = offers.values()
        try:
            return point.load()
        except Exception as error:  # whatever a stranger's module does must not break the lists
            reason = f"{type(error).__name__}: {error}" if not isinstance(error, ImportError) else error
            raise UserError(
                f"the {self.what} {name!r} cannot be imported from {point.value} ({reason}); "
                "install its package again"
            ) from error

    def unknown(self, name: str, known: Iterable[str]) -> UserError:
        """What to say of a name that is none of ``known``."""
        names = list(known)
        hint = f"; {nearest(name, names)}" if names else ""
        return UserError(
            f"there is no {self.what} {name!r}{hint} (other packages bring more: nano's with pip install -e "
            "projects/nano, in a clone)"
        )


def nearest(name: str, known: Iterable[str]) -> str:
    """What to try instead of ``name``: the most similar of ``known``, or all of them."""
    names = list(known)
    last = [known for known in names if known.rpartition(".")[2] == name]
    close = last or difflib.get_close_matches(name, names, 1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(names) or 'none'}"


@lru_cache
def _offered(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """What the packages on ``path`` offer. To look for it takes a tenth of a second, so it is done once."""
    return tuple(entry_points(group=group))
