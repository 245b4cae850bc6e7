"""Every setting of a towers encoder, as data: it can be built from them with fresh weights and no other file.

``config.json`` of such an encoder holds these values with ``"model_type": "imagebind_llm_towers"``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.settings import Checked, build, check_numbers, to_plain

MODEL_TYPE = "imagebind_llm_towers"
"""What ``config.json`` calls an encoder of this type."""

Pooling = Literal["cls", "mean", "pooler", "projection"]
"""Which vector of a transformers model is the feature: the first token, the mean over tokens (without
padding, and without class tokens of pictures), the model's own pooled vector, or that after its own
projection into the space it was trained in."""


@dataclass(frozen=True)
class BackboneSettings:
    """The frozen network of a tower.

    Attributes:
        kind: ``transformers``, ``efficientnet_lite``, or ``imagebind`` (a tower of ImageBind's layout).
        config: all that builds it. Of transformers: its configuration with ``model_type``. Of imagebind: an
            ImageBind configuration with one modality.
        pooling: of transformers only.
    """

    kind: Literal["transformers", "efficientnet_lite", "imagebind"]
    config: dict[str, Any]
    pooling: Pooling | None = None

    def __post_init__(self) -> None:
        if (self.pooling is None) == (self.kind == "transformers"):
            raise ConfigError(
                f"backbone.pooling is {self.pooling!r} with a backbone of kind {self.kind!r}; transformers "
                "models need one (cls, mean, pooler or projection), others have none"
            )


@dataclass(frozen=True)
class HeadSettings:
    """From a feature vector to the joint space."""

    kind: Literal["none", "linear", "mlp"] = "linear"
    """``none``: the feature itself, so the embedding is as long; ``mlp`` has one hidden layer."""
    standardise: bool = True
    """First subtract the mean of the training features and divide by their deviation, each number apart."""
    hidden: int = 512
    """Width of the hidden layer; only ``mlp`` has one."""

    def __post_init__(self) -> None:
        check_numbers(self, "head", least={"hidden": 1})


@dataclass(frozen=True)
class TowerSettings:
    """One modality: how its media are read, the backbone, the head."""

    backbone: BackboneSettings
    media: dict[str, Any] = field(default_factory=dict)
    """How media become the backbone's input; which settings there are depends on modality and backbone."""
    head: HeadSettings = field(default_factory=HeadSettings)


@dataclass(frozen=True)
class VideoInput(Checked):
    """A video is read as pictures; their features are averaged before the head."""

    like: Literal["image"] = "image"
    """The tower that reads the frames."""
    frames: int = 8
    """Evenly spaced, from the first to the last."""


@dataclass(frozen=True)
class TowersConfig:
    """A towers encoder.

    Raises:
        ConfigError: two values contradict each other.
    """

    embedding_dim: int
    towers: dict[str, TowerSettings]
    """By modality."""
    video: VideoInput | None = None
    """null: videos are not read."""

    def __post_init__(self) -> None:
        check_numbers(self, "towers", least={"embedding_dim": 1})
        if not self.towers:
            raise ConfigError("the encoder has no towers; give it at least one, such as image")
        if Modality.VIDEO in self.towers:
            raise ConfigError(
                "towers.video: videos have no tower of their own; set video: {like: image, frames: 8}"
            )
        for name, tower in self.towers.items():
            check_kind(name, tower.backbone)
        if self.video is not None and self.video.like not in self.towers:
            raise ConfigError(
                f"video.like is {self.video.like!r}, but there is no such tower; add it or drop video"
            )

    @property
    def modalities(self) -> frozenset[Modality]:
        """What the encoder reads."""
        found = {Modality.parse(name) for name in self.towers}
        return frozenset(found | ({Modality.VIDEO} if self.video else set()))

    def tower_of(self, modality: Modality) -> str:
        """The name of the tower that reads ``modality``."""
        video = modality is Modality.VIDEO and self.video is not None
        return self.video.like if video and self.video else modality.value

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; :meth:`from_dict` restores an equal configuration."""
        return to_plain(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TowersConfig":
        """The inverse of :meth:`to_dict`.

        Raises:
            ConfigError: an unknown, missing or contradicting setting.
        """
        return build(cls, {key: value for key, value in values.items() if key != "model_type"}, "towers")


_READS = {
    "transformers": ("image", "audio", "text"),
    "efficientnet_lite": ("image",),
}


def check_kind(name: str, backbone: BackboneSettings) -> None:
    """Refuse a backbone that does not read the modality of its tower, and names that are no modality.

    Raises:
        UserError: no such modality.
        ConfigError: the backbone reads others.
    """
    if backbone.kind == "imagebind" and name not in {one.value for one in Modality}:
        Modality.declare(name)
    modality = Modality.parse(name)
    known = _READS.get(backbone.kind)
    if known is not None and modality.value not in known:
        raise ConfigError(
            f"towers.{name}: a backbone of kind {backbone.kind!r} reads {' or '.join(known)}, not {name}"
        )
