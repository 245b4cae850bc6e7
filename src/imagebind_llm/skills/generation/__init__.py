"""From any modality, or a mixture, to a picture, a sound or a shape. See ``docs/imagine.md``."""

from imagebind_llm.skills.generation.contract import (
    Generator,
    Mesh,
    Pictures,
    Settings,
    Shapes,
    Sounds,
    Wish,
)
from imagebind_llm.skills.generation.registry import GENERATORS, GeneratorKind, generator_kind
from imagebind_llm.skills.generation.wishes import between, make_wish
from imagebind_llm.skills.generation.writing import (
    write_animation,
    write_pictures,
    write_shapes,
    write_sounds,
)

__all__ = [
    "GENERATORS",
    "Generator",
    "GeneratorKind",
    "Mesh",
    "Pictures",
    "Settings",
    "Shapes",
    "Sounds",
    "Wish",
    "between",
    "generator_kind",
    "make_wish",
    "write_animation",
    "write_pictures",
    "write_shapes",
    "write_sounds",
]
