"""Which generators there are: those of this package, and those that other packages bring.

A package offers one by an entry point of the group ``imagebind_llm.generators``, whose value is a
:class:`GeneratorKind`. ``imagebind-llm imagine --generator NAME`` then uses it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.plugins import Plugins
from imagebind_llm.skills.generation.contract import Generator, Kind

GROUP = "imagebind_llm.generators"

GENERATORS = Plugins(
    GROUP,
    "generator",
    {
        "nano": "imagebind_llm.skills.generation.nano:NANO",
        "unclip": "imagebind_llm.skills.generation.unclip:UNCLIP",
        "stable-audio": "imagebind_llm.skills.generation.sound:STABLE_AUDIO",
        "audioldm2": "imagebind_llm.skills.generation.sound:AUDIOLDM2",
        "shap-e": "imagebind_llm.skills.generation.shap_e:SHAP_E",
    },
)


@dataclass(frozen=True)
class GeneratorKind:
    """A generator that can be opened by its name.

    Attributes:
        open: takes where the weights are (a folder or a hub id; None: those that come with it, if any) and
            the device.
        kinds: what it makes, without opening it.
        summary: one line for lists.
    """

    open: Callable[[str | None, str], Generator]
    kinds: Sequence[Kind]
    summary: str


def generator_kind(name: str) -> GeneratorKind:
    """The generator called ``name``.

    Raises:
        UserError: there is none, or its package cannot be imported.
    """
    found = GENERATORS.load(name)
    if not isinstance(found, GeneratorKind):
        raise ConfigError(
            f"generator {name!r} is of type {type(found).__name__}; its package must offer a GeneratorKind"
        )
    return found
