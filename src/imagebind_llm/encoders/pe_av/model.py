"""PE-AV as a joint encoder: the towers of transformers' ``PeAudioVideoModel`` that embed single media.

Sound and sight are trained towards each other, and captions towards sight through a head of their own
(``text_video_head``): those three heads end in one space. The towers that embed several media at once are
left out.
"""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.base import FingerprintCache
from imagebind_llm.encoders.lengths import by_length
from imagebind_llm.encoders.pe_av.settings import PeAvDescription, pe_av_config

COMPONENTS = {
    "text_model": "text_model",
    "text_head": "video_model.text_video_head",
    "video_encoder": "video_model.video_encoder",
    "video_head": "video_model.video_head",
    "audio_encoder": "audio_model.audio_encoder",
    "audio_head": "audio_model.audio_head",
}
"""Our name of each part → where it is in a ``PeAudioVideoModel``."""


class PeAvEncoder(nn.Module):
    """A :class:`~imagebind_llm.encoders.base.JointEncoder` over PE-AV's own classes.

    Args:
        description: the configuration.
        parts: ready modules under the names of ``COMPONENTS``; left out, they are built with fresh weights.
    """

    modalities = frozenset({Modality.IMAGE, Modality.VIDEO, Modality.AUDIO, Modality.TEXT})

    def __init__(self, description: PeAvDescription, parts: dict[str, nn.Module] | None = None) -> None:
        super().__init__()
        self.description = description
        for name, part in (_fresh(description) if parts is None else parts).items():
            self.add_module(name, part)
        self._fingerprint = FingerprintCache()

    @classmethod
    def taken_from(cls, whole: Any) -> "PeAvEncoder":
        """The towers of a ``PeAudioVideoModel``, not copied."""
        parts = {name: whole.get_submodule(path) for name, path in COMPONENTS.items()}
        return cls(PeAvDescription.of(whole.config), parts)

    @property
    def embedding_dim(self) -> int:
        """``D``: all heads end in the text model's width."""
        return int(self.video_head.proj.out_features)  # type: ignore[union-attr, arg-type]

    @property
    def settings(self) -> dict[str, Any]:
        """As a model's ``encoder_config`` holds it."""
        return {"type": "pe_av", **self.description.to_dict()}

    @property
    def fingerprint(self) -> str:
        """16 hex digits over the configuration and the weights."""
        return self._fingerprint.get(self.description, self)

    def remember_fingerprint(self, value: str) -> None:
        """Take ``value`` as the fingerprint of the present weights: for a loader that rounds them."""
        self._fingerprint.put(value, self)

    def encode(self, modality: Modality, batch: Tensor) -> Tensor:
        """Unit embeddings ``[B, D]``, float32.

        Shapes: image ``[B, 3, H, W]`` (a video of one frame); video ``[B, T, 3, H, W]``; audio
        ``[B, 2, N]``, the waveform and 1 where there is sound (a whole number of hops, then 0); text
        ``[B, context]`` int64, padded at the end. Rows of different length run apart, without padding, so a
        row never depends on its neighbours.

        Raises:
            UserError: a modality that PE-AV has not.
        """
        modality = Modality.parse(modality)
        if modality not in self.modalities:
            raise UserError(f"PE-AV has no {modality.value}; it knows {', '.join(sorted(self.modalities))}")
        weight = next(self.parameters())
        batch = batch.to(weight.device, weight.dtype if batch.is_floating_point() else None)
        if modality is Modality.TEXT:
            lengths = (batch != self._pad).sum(dim=1)
            found = by_length(batch, lengths, lambda rows, length: self._text(rows[:, :length]))
        elif modality is Modality.AUDIO:
            lengths = (batch[:, 1] > 0.5).sum(dim=1)
            found = by_length(batch, lengths, lambda rows, length: self._audio(rows[:, :1, :length]))
        else:
            found = self._video(batch[:, None] if modality is Modality.IMAGE else batch)
        return F.normalize(found.float(), dim=-1)

    def forward(self, modality: Modality, batch: Tensor) -> Tensor:
        """``encode``, for wrappers that call modules."""
        return self.encode(modality, batch)

    @property
    def _pad(self) -> int:
        return int(self.text_model.config.pad_token_id)  # type: ignore[union-attr, arg-type]

    def _text(self, ids: Tensor) -> Tensor:
        states = self.text_model(input_ids=ids, output_hidden_states=True).hidden_states[-1]  # type: ignore[operator]
        return self.text_head(states[:, 0])  # type: ignore[operator]

    def _audio(self, wave: Tensor) -> Tensor:
        return self.audio_head(self.audio_encoder(input_values=wave).pooler_output)  # type: ignore[operator]

    def _video(self, frames: Tensor) -> Tensor:
        pooled = self.video_encoder(pixel_values_videos=frames).pooler_output  # type: ignore[operator]
        return self.video_head(pooled)  # type: ignore[operator]

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "PeAvEncoder":
        """Moving or casting the model changes no weight, so a fingerprint already known stays valid."""
        with self._fingerprint.kept(self):
            return super()._apply(fn, recurse)


def _fresh(description: PeAvDescription) -> dict[str, nn.Module]:
    from transformers import AutoModel
    from transformers.models.pe_audio.modeling_pe_audio import PeAudioContrastiveHead, PeAudioEncoder
    from transformers.models.pe_video.modeling_pe_video import PeVideoContrastiveHead, PeVideoEncoder

    config = pe_av_config(description)
    audio, video = config.audio_video_config.audio_config, config.audio_video_config.video_config
    width = config.text_config.hidden_size
    return {
        "text_model": AutoModel.from_config(config.text_config),
        "text_head": PeVideoContrastiveHead(width, width),
        "video_encoder": PeVideoEncoder(video),
        "video_head": PeVideoContrastiveHead(video.hidden_size, width),
        "audio_encoder": PeAudioEncoder(audio),
        "audio_head": PeAudioContrastiveHead(audio.hidden_size, width),
    }
