"""Generators by what they make, each opened when it is first needed."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path

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
        """What can be made. Nano's own generator counts only where its weights are, and for sounds where
        these are."""
        made = [_makes(known, weights) for _, known, weights in self._given]
        return tuple(kind for kind in KINDS if any(kind in one for one in made))

    def get(self, kind: Kind) -> Generator:
        """The generator of a kind, with its weights.

        Raises:
            UserError: none makes it, or its weights are not there.
        """
        made = [_makes(known, weights) for _, known, weights in self._given]
        for place, (_, known, weights) in enumerate(self._given):
            if kind in (made[place] or known.kinds):  # opening says what is missing where nothing is there
                with self._one:
                    if place not in self._opened:
                        self._opened[place] = known.open(weights, self._device)
                    return self._opened[place]
        names = " and ".join(name for name, _, _ in self._given)
        able = [f"{one}s" for one in KINDS if any(one in kinds for kinds in made)]
        raise UserError(f"no generator here makes a {kind}: {names} makes {' and '.join(able)}")


def _makes(known: GeneratorKind, weights: str | None) -> Sequence[Kind]:
    """What a generator makes with the files that are there."""
    from imagebind_llm.skills.generation.bank import FILE
    from imagebind_llm.skills.generation.nano import NANO as OWN
    from imagebind_llm.skills.generation.nano import generator_folder

    if known is not OWN:
        return known.kinds
    folder = generator_folder() if weights is None else Path(weights).expanduser()
    if weights is None and not (folder / "config.json").is_file():
        return ()
    return [kind for kind in known.kinds if kind != "sound" or (folder / FILE).is_file()]


def _read(given: str) -> tuple[str, GeneratorKind, str | None]:
    name, equals, weights = given.partition("=")
    path = "/" in name or name.startswith((".", "~")) or os.path.isdir(name)
    if not equals and name not in GENERATORS.names() and path:
        return NANO, generator_kind(NANO), name
    if equals and not weights:
        raise UserError(f"the generator {given!r} names no weights; write NAME=FOLDER, or NAME alone")
    return name, generator_kind(name), weights or None
