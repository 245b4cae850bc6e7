"""What was made → files in memory, for answers that carry them."""

import tempfile
from pathlib import Path
from typing import Any

from imagebind_llm.inference.calls import MadeFile
from imagebind_llm.skills.generation.contract import (
    Generator,
    Kind,
    Made,
    Pictures,
    Settings,
    Shapes,
    Sounds,
    Wish,
)
from imagebind_llm.skills.generation.writing import facts, write_pictures, write_shapes, write_sounds

FILES: dict[Kind, tuple[str, str]] = {
    "picture": ("picture.png", "image/png"),
    "sound": ("sound.wav", "audio/wav"),
    "shape": ("shape.glb", "model/gltf-binary"),
}
"""Kind → the name and the media type of its file."""


def made_files(made: Made, generator: Generator, wish: Wish, settings: Settings) -> tuple[MadeFile, ...]:
    """The files of what was made of one wish, each with the metadata that say what made it.

    Args:
        made: ``settings.count`` things.
        generator: that made them.
        wish: of which.
        settings: with which.

    Raises:
        MissingExtraError: shapes need trimesh.
    """
    kind, about = kind_of(made), [facts(generator.about, wish, settings, one) for one in range(len(made))]
    name, media_type = FILES[kind]
    write: Any = {"picture": write_pictures, "sound": write_sounds, "shape": write_shapes}[kind]
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder) / name, made, about)
        return tuple(MadeFile(path.name, media_type, path.read_bytes()) for path in paths)


def kind_of(made: Made) -> Kind:
    """What was made."""
    kinds: dict[type, Kind] = {Pictures: "picture", Sounds: "sound", Shapes: "shape"}
    return kinds[type(made)]
