"""Generators by what they make, each opened when it is first needed."""

import os
import threading
from collections.abc import Sequence

from imagebind_llm.common.errors import UserError
from imagebind_llm.skills.generation.contract import KINDS, Generator, Kind
from imagebind_llm.skills.generation.registry import GENERATORS, GeneratorKind, generator_kind

NANO = "nano"


class Generators:
    """One or several generators. The first that makes a kind makes it.

    Args:
        given: ``NAME`` or ``NAME=WEIGHTS`` (``stable-audio=HUB_ID``), or a folder alone, with weights of
            nano's own generator.
        device: of their weights.

    Raises:
        UserError: there is no generator of a name.
    """

    def __init__(self, given: Sequence[str] = (NANO,), device: str = "auto") -> None:
        self._given = [_read(one) for one in given or (NANO,)]
        self._device = device
        self._opened: dict[int, Generator] = {}
        self._one = threading.Lock()

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What can be made. Nano's own generator counts only where its weights are."""
        there = [known for _, known, weights in self._given if _there(known, weights)]
        return tuple(kind for kind in KINDS if any(kind in known.kinds for known in there))

    def get(self, kind: Kind) -> Generator:
        """The generator of a kind, with its weights.

        Raises:
            UserError: none makes it, or its weights are not there.
        """
        for place, (_, known, weights) in enumerate(self._given):
            if kind in known.kinds:
                with self._one:
                    if place not in self._opened:
                        self._opened[place] = known.open(weights, self._device)
                    return self._opened[place]
        names = " and ".join(name for name, _, _ in self._given)
        made = sorted({one for _, known, _ in self._given for one in known.kinds}, key=KINDS.index)
        raise UserError(
            f"no generator here makes a {kind}: {names} makes {' and '.join(f'{one}s' for one in made)}"
        )


def _there(known: GeneratorKind, weights: str | None) -> bool:
    from imagebind_llm.skills.generation.nano import NANO as OWN
    from imagebind_llm.skills.generation.nano import generator_folder

    return known is not OWN or weights is not None or (generator_folder() / "config.json").is_file()


def _read(given: str) -> tuple[str, GeneratorKind, str | None]:
    name, equals, weights = given.partition("=")
    path = "/" in name or name.startswith((".", "~")) or os.path.isdir(name)
    if not equals and name not in GENERATORS.names() and path:
        return NANO, generator_kind(NANO), name
    if equals and not weights:
        raise UserError(f"the generator {given!r} names no weights; write NAME=FOLDER, or NAME alone")
    return name, generator_kind(name), weights or None
