"""A new encoder in a few words: per modality where its backbone lies, which vector is taken, which head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.settings import apply_overrides, build, check_numbers
from imagebind_llm.common.text_files import NotUtf8, read_text
from imagebind_llm.common.yaml_text import NotYaml, parse_yaml
from imagebind_llm.encoders.towers.settings import HeadSettings, Pooling, VideoInput


@dataclass(frozen=True)
class NewTower:
    """One modality of a new encoder."""

    backbone: str
    """Folder or hub id of a transformers model, folder of an EfficientNet-lite, or an ImageBind encoder or
    model (``nano``)."""
    pooling: Pooling | None = None
    """Of a transformers model; null: what suits its type."""
    head: HeadSettings = field(default_factory=HeadSettings)
    seconds: float | None = None
    """Audio: the window that is heard; null: the longest. Whisper's encoder becomes as short as that."""
    context: int | None = None
    """Text: the longest text in tokens; null: as many as the model reads, at most 512."""

    def __post_init__(self) -> None:
        check_numbers(self, above={"seconds": 0}, least={"context": 2})


@dataclass(frozen=True)
class NewEncoder:
    """A new encoder.

    Raises:
        ConfigError: settings that contradict each other.
    """

    towers: dict[str, NewTower]
    """By modality."""
    embedding_dim: int | None = None
    """null: the length of the features under a head of kind ``none``."""
    video: VideoInput | None = None
    """How videos are read through the image tower; null: they are not."""
    seed: int = 0
    """Of the heads' weights."""

    def __post_init__(self) -> None:
        check_numbers(self, least={"embedding_dim": 1, "seed": 0})
        for name, tower in self.towers.items():
            for setting, reader in (("seconds", "audio"), ("context", "text")):
                if getattr(tower, setting) is not None and name != reader:
                    raise ConfigError(f"towers.{name}.{setting} is for {reader} towers only; drop it")
            if name == Modality.VIDEO:
                raise ConfigError("towers.video: give video: {frames: 8} beside towers instead")


def read_new_encoder(file: Path, overrides: Sequence[str] = ()) -> NewEncoder:
    """The recipe in a YAML file with ``key=value`` overrides.

    Raises:
        ConfigError: it cannot be read, or holds an unknown or wrong setting.
    """
    try:
        values = parse_yaml(read_text(file))
    except (OSError, NotUtf8) as error:
        raise ConfigError(f"cannot read the recipe {str(file)!r} ({error}); give a YAML file") from None
    except NotYaml as error:
        raise ConfigError(f"{file} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file} holds {type(values).__name__}; expected a mapping of settings")
    return new_encoder_of(apply_overrides(values, overrides))


def new_encoder_of(values: Mapping[str, Any]) -> NewEncoder:
    """The recipe of plain values.

    Raises:
        ConfigError: an unknown or wrong setting.
    """
    return build(NewEncoder, values)
