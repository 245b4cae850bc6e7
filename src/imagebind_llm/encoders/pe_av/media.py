"""Files → the tensors PE-AV reads: its own sizes and rates, its own feature extractor and tokenizer.

Transformers' video processor needs torchvision; the one thing it does with pixels, an antialiased bilinear
resize of bytes, is the same kernel of torch here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.errors import CheckpointError, MediaError, UserError, reason_of
from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.pe_av.settings import PeAvSettings
from imagebind_llm.media.base import Limits, is_encoded, name_of, open_source
from imagebind_llm.media.beginning import load_beginning
from imagebind_llm.media.budget import reading
from imagebind_llm.media.image import normalise_pixels, read_image, to_rgb
from imagebind_llm.media.text import checked_text
from imagebind_llm.media.video import frames_of_array

TOKENIZER_FOLDER = "encoder_tokenizer"
"""Inside a model folder; the language model's tokenizer lies beside it."""


class PeAvMedia:
    """A :class:`~imagebind_llm.media.base.MediaReader` for PE-AV.

    Shapes: image ``[3, H, W]``, video ``[frames, 3, H, W]``, audio ``[2, samples]`` (waveform, and 1 where
    there is sound), text ``[context_length]`` int64.
    """

    encoder_type: ClassVar[str] = "pe_av"

    def __init__(self, settings: PeAvSettings, tokenizer: Any) -> None:
        self.settings = settings
        self.tokenizer = tokenizer
        if tokenizer.pad_token_id is None:
            raise CheckpointError("PE-AV's tokenizer has no padding token; use the one published with it")

    @classmethod
    def read(cls, values: Mapping[str, Any], folder: Path) -> "PeAvMedia":
        """What :meth:`to_dict` and :meth:`save_files` wrote."""
        return cls(PeAvSettings.from_dict(values), open_tokenizer(folder / TOKENIZER_FOLDER))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return self.settings.to_dict()

    def save_files(self, folder: Path) -> None:
        """Write the encoder's tokenizer into a folder of its own."""
        self.tokenizer.save_pretrained(folder / TOKENIZER_FOLDER)

    def load(self, modality: Modality, source: Any, limits: Limits | None = None) -> Tensor:
        """One medium without batch axis.

        Raises:
            MediaError: the source cannot be read, or is over a limit.
            UserError: a modality that PE-AV has not.
        """
        limits = limits or Limits()
        name = Modality.parse(modality).value
        loaders = {"image": self._image, "video": self._video, "audio": self._audio, "text": self._text}
        if name not in loaders:
            raise UserError(f"PE-AV has no {name}; it knows {', '.join(loaders)}")
        with reading(name_of(source), limits):
            return loaders[name](source, limits)

    def _image(self, source: Any, limits: Limits) -> Tensor:
        name = name_of(source)
        image = read_image(source, limits)
        try:
            pixels = np.asarray(to_rgb(image))
        except MediaError:
            raise
        except Exception as error:  # decoders raise OSError, ValueError, SyntaxError, …
            raise MediaError(
                name, f"damaged image data ({error})", "a complete image", "save it anew"
            ) from error
        return self._picture(pixels)

    def _picture(self, pixels: np.ndarray) -> Tensor:
        """Bytes ``[h, w, 3]`` → ``[3, H, W]``."""
        size = (self.settings.height, self.settings.width)
        values = torch.tensor(pixels).permute(2, 0, 1)[None]
        if values.shape[2:] != size:
            values = torch.nn.functional.interpolate(
                values, size=size, mode="bilinear", align_corners=False, antialias=True
            )
        resized = values[0].permute(1, 2, 0).numpy()
        return normalise_pixels(resized, self.settings.mean, self.settings.std)

    def _video(self, source: Any, limits: Limits) -> Tensor:
        name = name_of(source)
        if is_encoded(source):
            with open_source(source, limits) as stream:
                from imagebind_llm.media.video import VideoReader

                with VideoReader(stream, name, limits) as video:
                    wanted = _evenly(len(video.times), self.settings.frames)
                    frames = {
                        number: self._picture(pixels) for number, pixels in video.frames(sorted(set(wanted)))
                    }
        else:
            values = frames_of_array(source, limits, name)
            wanted = _evenly(len(values), self.settings.frames)
            frames = {number: self._picture(values[number]) for number in set(wanted)}
        return torch.stack([frames[number] for number in wanted])

    def _audio(self, source: Any, limits: Limits) -> Tensor:
        from transformers import PeAudioFeatureExtractor

        settings = self.settings
        heard = load_beginning(source, settings.sample_rate, settings.capacity, limits)
        extractor = PeAudioFeatureExtractor(sampling_rate=settings.sample_rate, hop_length=settings.hop)
        whole = -(-len(heard) // settings.hop) * settings.hop
        while len(heard) < whole and len(heard) - 1 < whole - len(heard):  # too short to be mirrored once
            heard = np.pad(heard, (0, len(heard) - 1), "reflect")
        values = extractor(heard, sampling_rate=settings.sample_rate, return_tensors="np")["input_values"]
        found = torch.zeros(2, settings.capacity)
        found[0, :whole] = torch.from_numpy(np.ascontiguousarray(values[0, 0, :whole]))
        found[1, :whole] = 1
        return found

    def _text(self, source: Any, limits: Limits) -> Tensor:
        length = self.settings.context_length
        ids = self.tokenizer(
            checked_text(source, limits),
            truncation=True,
            max_length=length,
            split_special_tokens=True,  # the names of control tokens are words like others
        )["input_ids"]
        if not ids:
            raise MediaError("text", "an empty text", "at least one token", "write something")
        row = torch.full((length,), int(self.tokenizer.pad_token_id), dtype=torch.int64)
        row[: len(ids)] = torch.tensor(ids)
        return row


def open_tokenizer(folder: Path) -> Any:
    """The tokenizer in ``folder``.

    Raises:
        CheckpointError: there is none that can be read.
    """
    from transformers import AutoTokenizer

    if not (folder / "tokenizer_config.json").is_file():
        raise CheckpointError(f"{str(folder)!r} has no tokenizer_config.json; PE-AV's text tower needs one")
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"the tokenizer in {str(folder)!r} cannot be read ({reason_of(error)}); "
            "copy the whole folder again"
        ) from error


def _evenly(total: int, wanted: int) -> list[int]:
    """``wanted`` positions from the first to the last of ``total``, as PE-AV's video processor picks them."""
    if wanted == 1:
        return [0]
    return [number * (total - 1) // (wanted - 1) for number in range(wanted)]
