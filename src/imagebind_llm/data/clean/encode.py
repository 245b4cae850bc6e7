"""Pictures and captions → unit embeddings in the joint space, one batch at a time.

Nothing is remembered between calls: what a sample's embedding is depends on its batch alone, so a run that
was interrupted computes the same bits.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.clean.settings import EncoderSettings

if TYPE_CHECKING:
    import torch

    from imagebind_llm.encoders.base import JointEncoder
    from imagebind_llm.media.base import MediaReader

_LONGEST_TEXT = 2000
"""Characters that are tokenised; text encoders read 77 tokens."""


class Encoder:
    """The image and text encoders of a joint space.

    Args:
        encoder: encodes images and text.
        media: how pictures and texts become tensors.
        batch_size: items encoded at once.

    Raises:
        ConfigError: the encoder lacks images or text.
    """

    def __init__(self, encoder: "JointEncoder", media: "MediaReader", batch_size: int = 64) -> None:
        for modality in (Modality.IMAGE, Modality.TEXT):
            if modality not in encoder.modalities:
                raise ConfigError(
                    f"the encoder has no {modality.value} tower, it knows {sorted(encoder.modalities)}; give "
                    "another with encoder.model=…, or set rules.agreement.enabled=false and "
                    "rules.similar_embedding.enabled=false"
                )
        self._encoder = encoder
        self._media = media
        self.batch_size = batch_size

    @property
    def fingerprint(self) -> str:
        """Tells the weights apart."""
        return str(self._encoder.fingerprint)

    def prepare(self, image: Image.Image) -> "torch.Tensor":
        """``[3, H, W]``: what is kept of a picture until its batch is full."""
        return self._media.load(Modality.IMAGE, image)

    def images(self, tensors: Sequence["torch.Tensor"]) -> np.ndarray:
        """Unit rows float32 ``[n, D]`` of prepared pictures."""
        return self._encode(Modality.IMAGE, tensors)

    def texts(self, captions: Sequence[str]) -> np.ndarray:
        """Unit rows float32 ``[n, D]``; what is longer than the text encoder reads is cut."""
        short = [caption[:_LONGEST_TEXT] for caption in captions]
        return self._encode(Modality.TEXT, [self._media.load(Modality.TEXT, text) for text in short])

    def _encode(self, modality: Modality, tensors: Sequence["torch.Tensor"]) -> np.ndarray:
        import torch

        parts = []
        with torch.inference_mode():
            for start in range(0, len(tensors), self.batch_size):
                batch = torch.stack(list(tensors[start : start + self.batch_size]))
                rows = self._encoder.encode(modality, batch).float()
                parts.append(torch.nn.functional.normalize(rows, dim=-1).cpu().numpy())
        return np.concatenate(parts)


def open_encoder(settings: EncoderSettings) -> Encoder:
    """The encoder of the model that ``settings`` name.

    Raises:
        CheckpointError: there is no such model, or it has no encoder.
        ConfigError: the encoder lacks images or text.
    """
    from imagebind_llm.encoders import load_encoder, media_of_encoder
    from imagebind_llm.inference.loading import choose_device, choose_dtype

    device = choose_device(settings.device)
    encoder: Any = load_encoder(settings.model, device, choose_dtype("auto", device)).eval()
    return Encoder(encoder, media_of_encoder(settings.model, encoder), settings.batch_size)
