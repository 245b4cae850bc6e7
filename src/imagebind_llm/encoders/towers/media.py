"""Files → the tensors that the towers read; each tower has settings of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.common.settings import build, to_plain
from imagebind_llm.encoders.towers.pictures import PictureInput
from imagebind_llm.encoders.towers.settings import TowersConfig, VideoInput
from imagebind_llm.encoders.towers.sounds import SoundInput
from imagebind_llm.encoders.towers.words import TOKENIZER_FOLDER, WordsInput, open_tokenizer
from imagebind_llm.media.base import Limits, is_encoded, name_of, open_source
from imagebind_llm.media.budget import reading
from imagebind_llm.media.settings import MediaSettings
from imagebind_llm.media.video import VideoReader, frames_of_array

_OWN = {"image": PictureInput, "audio": SoundInput, "text": WordsInput}
"""Settings of towers whose backbone is not of ImageBind's layout, by modality."""
Input = PictureInput | SoundInput | WordsInput | MediaSettings


class TowersMedia:
    """A :class:`~imagebind_llm.media.base.MediaReader` for towers.

    Shapes: image ``[3, H, W]``, video ``[frames, 3, H, W]``, audio as
    :meth:`~imagebind_llm.encoders.towers.sounds.SoundInput.load` says, text ``[2, context_length]`` int64. A
    tower of ImageBind's layout reads what ImageBind reads.

    Args:
        inputs: by modality.
        video: how videos are read; None: they are not.
        tokenizer: of the text tower; None where there is none, or where it is of ImageBind's layout.
    """

    encoder_type: ClassVar[str] = "towers"

    def __init__(self, inputs: Mapping[str, Input], video: VideoInput | None, tokenizer: Any = None) -> None:
        self.inputs, self.video, self.tokenizer = dict(inputs), video, tokenizer

    @classmethod
    def of(cls, config: TowersConfig, folder: Path) -> "TowersMedia":
        """As an encoder's settings say, with the tokenizer in ``folder``.

        Raises:
            ConfigError: settings that do not exist.
            CheckpointError: there is no tokenizer, but a text tower that needs one.
        """
        inputs = {
            name: read_input(name, tower.backbone.kind, tower.media) for name, tower in config.towers.items()
        }
        return cls(inputs, config.video, _tokenizer(inputs, folder))

    @classmethod
    def read(cls, values: Mapping[str, Any], folder: Path) -> "TowersMedia":
        """What :meth:`to_dict` and :meth:`save_files` wrote."""
        towers = values.get("towers")
        if not isinstance(towers, Mapping) or not all(isinstance(one, Mapping) for one in towers.values()):
            raise ConfigError("media.towers is no mapping of modalities; save the processor again")
        inputs = {
            name: read_input(name, str(one.get("kind")), one.get("media")) for name, one in towers.items()
        }
        video = values.get("video")
        return cls(
            inputs,
            None if video is None else build(VideoInput, video, "media.video"),
            _tokenizer(inputs, folder),
        )

    @property
    def image(self) -> PictureInput | None:
        """How pictures are read, where the image tower is not of ImageBind's layout."""
        found = self.inputs.get("image")
        return found if isinstance(found, PictureInput) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        towers = {
            name: {
                "kind": "imagebind" if isinstance(one, MediaSettings) else "own",
                "media": plain_input(name, one),
            }
            for name, one in self.inputs.items()
        }
        return {"towers": towers, "video": None if self.video is None else to_plain(self.video)}

    def save_files(self, folder: Path) -> None:
        """Write the text tower's tokenizer into a folder of its own."""
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder / TOKENIZER_FOLDER)

    def load(self, modality: Modality, source: Any, limits: Limits | None = None) -> Tensor:
        """One medium without batch axis.

        Raises:
            MediaError: the source cannot be read, or is over a limit.
            UserError: a modality that there is no tower for.
        """
        limits = limits or Limits()
        modality = Modality.parse(modality)
        name = modality.value
        if modality is Modality.VIDEO and self.video is not None:
            with reading(name_of(source), limits):
                return self._video(source, self.video, limits)
        settings = self.inputs.get(name)
        if settings is None:
            known = [*self.inputs, *(["video"] if self.video else [])]
            raise UserError(f"this encoder has no {name}; it knows {', '.join(sorted(known))}")
        if isinstance(settings, MediaSettings):
            return settings.load(modality, source, limits)
        with reading(name_of(source), limits):
            if isinstance(settings, WordsInput):
                return settings.load(source, self.tokenizer, limits)
            return settings.load(source, limits)

    def _video(self, source: Any, settings: VideoInput, limits: Limits) -> Tensor:
        name = name_of(source)
        if is_encoded(source):
            with open_source(source, limits) as stream, VideoReader(stream, name, limits) as video:
                wanted = evenly(len(video.times), settings.frames)
                frames = {
                    number: self._frame(pixels, limits)
                    for number, pixels in video.frames(sorted(set(wanted)))
                }
        else:
            values = frames_of_array(source, limits, name)
            wanted = evenly(len(values), settings.frames)
            frames = {number: self._frame(values[number], limits) for number in set(wanted)}
        return torch.stack([frames[number] for number in wanted])

    def _frame(self, pixels: np.ndarray, limits: Limits) -> Tensor:
        settings = self.inputs["image"]
        if isinstance(settings, PictureInput):
            return settings.prepare(Image.fromarray(np.ascontiguousarray(pixels)))
        assert isinstance(settings, MediaSettings), "an image tower reads pictures"
        return settings.load(Modality.IMAGE, np.ascontiguousarray(pixels), limits)


def read_input(name: str, kind: str, values: Any) -> Input:
    """The media settings of one tower from plain values.

    Raises:
        ConfigError: an unknown or impossible setting.
    """
    path = f"towers.{name}.media"
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path} is missing or no mapping; add how its media are read")
    if kind == "imagebind":
        built_in = name in {one.value for one in Modality}
        return MediaSettings.from_dict({name: values} if built_in else {"sensors": {name: values}})
    if name not in _OWN:
        raise ConfigError(f"{path}: only image, audio and text have settings of this kind")
    return build(_OWN[name], values, path)


def plain_input(name: str, settings: Input) -> dict[str, Any]:
    """The inverse of :func:`read_input`."""
    if not isinstance(settings, MediaSettings):
        return to_plain(settings)
    values = settings.to_dict()
    found: dict[str, Any] = values[name] if name in values else values["sensors"][name]
    return found


def evenly(total: int, wanted: int) -> list[int]:
    """``wanted`` positions from the first to the last of ``total``; the middle one if it is one."""
    if wanted == 1:
        return [(total - 1) // 2]
    return [number * (total - 1) // (wanted - 1) for number in range(wanted)]


def _tokenizer(inputs: Mapping[str, Input], folder: Path) -> Any:
    return open_tokenizer(folder / TOKENIZER_FOLDER) if isinstance(inputs.get("text"), WordsInput) else None
