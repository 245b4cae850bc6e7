"""What an encoder expects of its input, as plain numbers, and opening media that way.

The defaults are those of ImageBind-Huge. Each dataclass is frozen and checks itself;
``MediaSettings.to_dict`` and ``from_dict`` are what ``processor_config.json`` holds.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from imagebind_llm.common.errors import ConfigError, UserError, naming_missing_packages
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.settings import Checked, build, to_plain
from imagebind_llm.media.base import Limits, name_of
from imagebind_llm.media.budget import reading

if TYPE_CHECKING:
    from torch import Tensor


SensorKind = Literal["grid", "sequence", "cloud"]
"""Of shape ``[channels, height, width]``, ``[channels, length]`` and ``[points, 3]``."""


@dataclass(frozen=True)
class SensorSettings:
    """One sensor.

    Raises:
        ConfigError: the shape does not suit the kind, or the numbers of channels differ.
    """

    kind: SensorKind
    shape: tuple[int, ...]
    """Of an array, as the encoder reads it. Clouds of another size are thinned or repeated."""
    mean: tuple[float, ...] = (0.0,)
    """One number, or one per channel (axis of a cloud)."""
    std: tuple[float, ...] = (1.0,)
    """Likewise."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(SensorKind):
            raise ConfigError(f"sensor kind is {self.kind!r}; expected grid, sequence or cloud")
        axes = {"grid": 3, "sequence": 2, "cloud": 2}[self.kind]
        if len(self.shape) != axes or min(self.shape) < 1 or (self.kind == "cloud" and self.shape[1] != 3):
            wanted = {"grid": "[channels, height, width]", "sequence": "[channels, length]"}
            raise ConfigError(
                f"sensor shape is {list(self.shape)}; a {self.kind} has "
                f"{wanted.get(self.kind, '[points, 3]')}"
            )
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) not in (1, self.channels) or not all(map(math.isfinite, values)):
                raise ConfigError(
                    f"sensor {name} is {list(values)}; expected 1 or {self.channels} finite numbers"
                )
        if min(self.std) <= 0:
            raise ConfigError(f"sensor std is {list(self.std)}; expected numbers above 0")

    @property
    def channels(self) -> int:
        """Numbers of mean and std that fit: the channels, or the three axes of a cloud."""
        return 3 if self.kind == "cloud" else self.shape[0]


CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
"""Mean of RGB in 0..1 over CLIP's training images (CLIP's own preprocessing)."""
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Standard deviation belonging to ``CLIP_MEAN``."""


@dataclass(frozen=True)
class ImageSettings(Checked):
    """Still images: RGB, short side resized (bicubic), centre cropped, standardised."""

    size: int = 224
    """Side of the square, pixels."""
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    alpha: Literal["drop", "white", "black"] = "drop"
    """Transparent pixels: keep their hidden colour (as ImageBind does) or lay them over white or black."""
    _may_be_zero_or_less = ("mean",)


@dataclass(frozen=True)
class VideoSettings(Checked):
    """Video: clips spread over the whole file, a few frames of each, crops along the longer side."""

    size: int = 224
    clips: int = 5
    clip_seconds: float = 2.0
    frames_per_clip: int = 2
    crops: int = 3
    """1 (centre) or 3 (both ends and centre)."""
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    array_fps: float = 25.0
    """Frames a second assumed for a video given as an array of frames."""
    _may_be_zero_or_less = ("mean",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crops not in (1, 3):
            raise ConfigError(f"VideoSettings.crops is {self.crops}; expected 1 or 3")


@dataclass(frozen=True)
class AudioSettings(Checked):
    """Audio: resampled, cut in clips, log-mel filter bank (Kaldi's), standardised."""

    sample_rate: int = 16_000
    """Hz."""
    clips: int = 3
    clip_seconds: float = 2.0
    mel_bins: int = 128
    target_frames: int = 204
    """10 ms frames; shorter clips are padded with zeros before standardising, longer ones cut."""
    low_hz: float = 20.0
    """Lower edge of the lowest mel filter."""
    high_hz: float = 0.0
    """Upper edge of the highest mel filter; 0 or less is counted down from the Nyquist frequency."""
    mean: float = -4.268
    """Mean log-mel value over AudioSet, as published with ImageBind."""
    std: float = 9.138
    downmix: bool = False
    """False: only the first channel is heard (as ImageBind does). True: the mean of all channels."""
    _may_be_zero_or_less = ("mean", "low_hz", "high_hz")

    def __post_init__(self) -> None:
        super().__post_init__()
        nyquist = self.sample_rate / 2
        if not 0 <= self.low_hz < self.upper_hz <= nyquist:
            raise ConfigError(
                f"AudioSettings low_hz {self.low_hz} and high_hz {self.high_hz} span "
                f"{self.low_hz}..{self.upper_hz} Hz; expected a rising band within 0..{nyquist} Hz "
                "(half of sample_rate)"
            )

    @property
    def upper_hz(self) -> float:
        """The upper edge in Hz, with ``high_hz`` ≤ 0 resolved."""
        return self.high_hz if self.high_hz > 0 else self.sample_rate / 2 + self.high_hz


@dataclass(frozen=True)
class TextSettings(Checked):
    """Text: cleaned, CLIP's byte-pair encoding."""

    context_length: int = 77
    end_token_on_truncation: bool = True
    """True: a text that is too long still ends with the end token. False: it does not, as in ImageBind before
    November 2025 and in the original ImageBind-LLM; all such texts then share one embedding."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.context_length < 2:
            raise ConfigError(
                f"TextSettings.context_length is {self.context_length}; "
                "expected at least 2 (start and end token)"
            )


@dataclass(frozen=True)
class PointSettings(Checked):
    """Point clouds: a fixed number of points, centred and scaled."""

    count: int = 8192
    normalise: bool = True
    """True: mean at the origin, farthest point at distance 1 (as the clouds Point-Bind was trained on).
    False: coordinates as in the file (as the original loader does)."""
    surface: bool = True
    """True: the faces of a mesh are sampled. False: its vertices are taken (as the original loader does)."""
    seed: int = 0
    """Of the random choice of points and of surface sampling, so that a file always gives the same tensor."""
    _may_be_zero_or_less = ("seed",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seed < 0:
            raise ConfigError(f"PointSettings.seed is {self.seed}; expected 0 or more")


@dataclass(frozen=True)
class DepthSettings(Checked):
    """Depth maps: turned into disparity (nearer = larger), resized, centre cropped, standardised.

    ImageBind's depth encoder reads disparity. Omnivore's published SUN RGB-D recipe, which ImageBind
    follows, is: depth in metres clamped to 0.01..50, disparity = baseline · focal / depth in pixels,
    clamped to 0..75, divided by 75, minus 0.0418, divided by 0.0295.
    """

    size: int = 224
    unit: Literal["metres", "disparity"] = "metres"
    """What the numbers given are. ``metres``: floats in metres, 16-bit images in ``image_units_per_metre``.
    ``disparity``: floats in pixels, images as a share of ``max_disparity`` (full range of the dtype = 1)."""
    image_units_per_metre: float = 1000.0
    """16-bit depth images count millimetres."""
    image_encoding: Literal["plain", "sunrgbd"] = "plain"
    """How 16-bit depth images hold their numbers. ``sunrgbd``: turned by three bits to the left, as the PNGs
    of the SUN RGB-D data set are (its toolbox reads ``v >> 3 | v << 13``). It is never guessed."""
    min_metres: float = 0.01
    max_metres: float = 50.0
    baseline_metres: float = 0.075
    """Kinect v1, the sensor of NYU-D (from the same recipe)."""
    focal_pixels: float = 518.857901
    """NYU-D's depth camera; pass your own camera's for best results."""
    max_disparity: float = 75.0
    """Pixels."""
    mean: float = 0.0418
    std: float = 0.0295
    _may_be_zero_or_less = ("mean",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_encoding == "sunrgbd" and self.unit != "metres":
            raise ConfigError(
                f"DepthSettings image_encoding sunrgbd with unit {self.unit}; SUN RGB-D's images hold metres"
            )
        if self.min_metres >= self.max_metres:
            raise ConfigError(
                f"DepthSettings min_metres {self.min_metres} is not below max_metres "
                f"{self.max_metres}; swap them"
            )


@dataclass(frozen=True)
class ThermalSettings(Checked):
    """Thermal images: scaled to 0..1 (warmer = larger), resized, centre cropped.

    ImageBind published no loader. Users who reproduced its LLVIP numbers found plain 0..1 values better
    than CLIP's mean and std, so the defaults standardise by nothing.
    """

    size: int = 224
    low: float | None = None
    """Raw value that becomes 0. None: 0 for 8-bit data and floats in 0..1, else the image's own minimum."""
    high: float | None = None
    """Raw value that becomes 1. None: 255, 1, or the image's own maximum, likewise."""
    mean: float = 0.0
    std: float = 1.0
    _may_be_zero_or_less = ("mean", "low", "high")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.low is None) != (self.high is None):
            raise ConfigError(f"ThermalSettings low {self.low} and high {self.high}: give both or neither")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ConfigError(f"ThermalSettings low {self.low} is not below high {self.high}; swap them")


@dataclass(frozen=True)
class ImuSettings(Checked):
    """Inertial recordings: accelerometer (m/s²) and gyroscope (rad/s), x y z each, at a fixed rate."""

    samples: int = 2000
    rate_hz: float = 400.0
    """The encoder's rate: 2000 samples are 5 s."""
    source_rate_hz: float | None = None
    """Rate of recordings without a time column. None: already ``rate_hz``."""
    mean: tuple[float, float, float, float, float, float] = (0.0,) * 6
    std: tuple[float, float, float, float, float, float] = (1.0,) * 6
    """ImageBind feeds physical units unscaled."""
    _may_be_zero_or_less = ("mean",)


@dataclass(frozen=True)
class MediaSettings(Checked):
    """The settings of all modalities, for encoders of ImageBind's kind."""

    encoder_type: ClassVar[str] = "imagebind"

    image: ImageSettings = field(default_factory=ImageSettings)
    video: VideoSettings = field(default_factory=VideoSettings)
    audio: AudioSettings = field(default_factory=AudioSettings)
    text: TextSettings = field(default_factory=TextSettings)
    point: PointSettings = field(default_factory=PointSettings)
    depth: DepthSettings = field(default_factory=DepthSettings)
    thermal: ThermalSettings = field(default_factory=ThermalSettings)
    imu: ImuSettings = field(default_factory=ImuSettings)
    sensors: dict[str, SensorSettings] = field(default_factory=dict)
    """Of modalities that only the encoder at hand knows, by name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.sensors:
            Modality.declare(name)

    def load(self, modality: Modality, source: Any, limits: Limits | None = None) -> "Tensor":
        """One medium, without a batch axis; see :func:`imagebind_llm.media.load_media`."""
        modality, limits = Modality.parse(modality), limits or Limits()
        name = modality.value
        if not modality.built_in and name not in self.sensors:
            raise UserError(
                f"these media settings say nothing of {name}; use the model folder that knows this sensor"
            )
        room = "imagebind_llm.media"  # decoders are imported when first needed
        tensor: Tensor
        with naming_missing_packages(f"reading {name}"), reading(name_of(source), limits):
            if not modality.built_in:
                tensor = import_module(f"{room}.sensor").load_sensor(source, self.sensors[name], limits, name)
            else:
                load = getattr(import_module(f"{room}.{name}"), f"load_{name}")
                tensor = load(source, getattr(self, name), limits)
        return tensor

    def save_files(self, folder: Path) -> None:
        """Nothing: :meth:`to_dict` holds everything."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values. What few models need is left out where it says nothing."""
        plain = to_plain(self)
        if not self.sensors:
            del plain["sensors"]
        if self.depth.image_encoding == "plain":
            del plain["depth"]["image_encoding"]
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "MediaSettings":
        """Settings from plain values; what is left out keeps its default.

        Raises:
            ConfigError: an unknown key, or a value of the wrong type or sign.
        """
        return build(cls, data, "media")
