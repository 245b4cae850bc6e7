"""Any image, audio or text model of transformers as a backbone, built from its configuration alone."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from imagebind_llm.common.errors import ConfigError, UserError, reason_of, short
from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.lengths import by_length
from imagebind_llm.encoders.towers.settings import Pooling

T = TypeVar("T")

_CLASSES = {
    "siglip_text_model": "SiglipTextModel",
    "clap_audio_model": "ClapAudioModel",
    "clap_text_model": "ClapTextModel",
    "whisper": "WhisperModel",
}
"""Types that AutoModel does not know, or of which another class is meant → their class."""
_PROJECTED = ("clip_vision_model", "clip_text_model", "clap_audio_model", "clap_text_model")
"""Types with a projection of their own into the space they were trained in."""
_WAVES = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat", "wav2vec2-conformer")
"""Types that hear the waveform itself."""
_SPECTRA = ("whisper", "clap_audio_model", "audio-spectrogram-transformer")
_MOST_PREFIX = 17
"""Class and register tokens in front of a picture's patches: DINOv3 has 5; more is no prefix."""


class HuggingFaceBackbone(nn.Module):
    """A transformers model and which of its vectors is the feature.

    Args:
        modality: ``image``, ``audio`` or ``text``.
        config: the model's configuration with ``model_type``: that of the part itself (``clip_vision_model``,
            not ``clip``); of Whisper the whole one, of which the encoder is built.
        pooling: see :data:`~imagebind_llm.encoders.towers.settings.Pooling`.

    Raises:
        ConfigError: values that make no such model, or a pooling that it has not.
    """

    def __init__(self, modality: Modality, config: Mapping[str, Any], pooling: Pooling) -> None:
        super().__init__()
        self.modality, self.pooling = modality, pooling
        self.values = model_config(config)
        self.model_type = str(self.values.model_type)
        where = f"towers.{modality.value}"
        if modality is Modality.AUDIO and self.model_type not in (*_WAVES, *_SPECTRA):
            raise ConfigError(
                f"{where}: audio models of type {self.model_type!r} are not known here; use one of "
                f"{', '.join((*_SPECTRA, *_WAVES))}"
            )
        if pooling == "projection" and self.model_type not in _PROJECTED:
            raise ConfigError(
                f"{where}: a {self.model_type} has no projection; use pooling pooler, mean or cls"
            )
        if self.model_type == "whisper" and pooling != "mean":
            raise ConfigError(f"{where}: Whisper's encoder has no {pooling} vector; use pooling mean")
        self.width = feature_width(self.values, pooling)
        self.model = _model(self.values, pooling)
        if pooling == "projection":
            self.projection = _projection(self.values)

    def forward(self, batch: Tensor) -> Tensor:
        """Features ``[B, width]`` of a batch as the tower's media reader makes it.

        Raises:
            UserError: the model does not take such a batch.
        """
        if self.modality is Modality.TEXT:
            return self._read(batch, lambda rows: by_length(rows, rows[:, 1].sum(1), self._text))
        if self.modality is Modality.AUDIO:
            return self._read(batch, self._audio)
        return self._features(batch, self._read(batch, self._image))

    @property
    def gives_parts(self) -> bool:
        """Whether there is :meth:`in_parts`: of pictures whose feature is that of a token or the mean of
        all, or CLIP's, whose projection takes other tokens as well."""
        if self.modality is not Modality.IMAGE:
            return False
        clip = self.pooling == "projection" and self.model_type == "clip_vision_model"
        return clip or self.pooling in ("cls", "mean")

    def in_parts(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """The features, and ``[B, H, W, width]``: what takes their place for each patch of a picture.

        Raises:
            UserError: the model does not take such a batch, or its patches are no grid.
        """
        found = self._read(batch, self._image)
        states: Tensor = found.last_hidden_state
        if states.ndim == 4:  # of convolutions
            grid = states.permute(0, 2, 3, 1)
        else:
            patch = getattr(self.values, "patch_size", None)
            if not isinstance(patch, int):
                raise UserError(f"a {self.model_type} does not say how its patches lie; it gives no tokens")
            shape = batch.shape[2] // patch, batch.shape[3] // patch
            before = states.shape[1] - shape[0] * shape[1]
            if not 0 <= before <= _MOST_PREFIX:
                raise UserError(
                    f"a {self.model_type} gives {states.shape[1]} tokens for {shape[0]} x {shape[1]} "
                    "patches, so it is not known which are whose; it gives no tokens"
                )
            grid = states[:, before:].unflatten(1, shape)
        if self.pooling == "projection":
            own: Any = self.model
            grid = self.projection(own.post_layernorm(grid))
        return self._features(batch, found), grid

    def _image(self, batch: Tensor) -> Any:
        return self.model(pixel_values=batch)

    def _features(self, batch: Tensor, found: Any) -> Tensor:
        return self._pooled(found, prefix=self._prefix(batch, found))

    def _read(self, batch: Tensor, model: Callable[[Tensor], T]) -> T:
        """What the model makes of the batch, in its precision.

        Raises:
            UserError: it does not take such a batch.
        """
        weight = next(self.parameters())
        batch = batch.to(weight.device, weight.dtype if batch.is_floating_point() else None)
        try:
            return model(batch)
        except (ValueError, IndexError) as error:
            raise UserError(
                f"the {self.modality.value} tower ({self.model_type}) does not take a batch of shape "
                f"{list(batch.shape)} ({reason_of(error)}); check the tower's media settings"
            ) from error

    def _text(self, rows: Tensor, length: int) -> Tensor:
        return self._pooled(self.model(input_ids=rows[:, 0, :length]))

    def _audio(self, batch: Tensor) -> Tensor:
        if self.model_type == "whisper":
            found = self.model(batch[:, :-1])
            return self._pooled(found, marks=batch[:, -1, ::2])  # its second convolution halves the frames
        if self.model_type == "clap_audio_model":
            # never longer than the window: the fusion of several crops has nothing to add
            longer = torch.zeros(len(batch), 1, dtype=torch.bool, device=batch.device)
            return self._pooled(self.model(input_features=batch, is_longer=longer))
        if self.model_type == "audio-spectrogram-transformer":
            return self._pooled(self.model(input_values=batch), prefix=2)  # class and distillation token
        lengths = (batch[:, 1] > 0.5).sum(1)
        return by_length(batch, lengths, lambda rows, n: self._pooled(self.model(rows[:, 0, :n])))

    def _pooled(self, found: Any, prefix: int = 0, marks: Tensor | None = None) -> Tensor:
        if self.pooling in ("pooler", "projection"):
            pooled = getattr(found, "pooler_output", None)
            if pooled is None:
                raise UserError(f"a {self.model_type} gives no pooled vector; use pooling mean or cls")
            pooled = pooled.flatten(1)
            return self.projection(pooled) if self.pooling == "projection" else pooled
        states: Tensor = found.last_hidden_state
        if states.ndim == 4:  # [B, C, H, W] of convolutions and of CLAP
            states = states.flatten(2).transpose(1, 2)
            prefix = 0
        if self.pooling == "cls":
            return states[:, 0]
        if marks is None:
            return states[:, prefix:].mean(1)
        weights = marks[:, :, None].to(states)
        return (states * weights).sum(1) / weights.sum(1).clamp(min=1)

    def _prefix(self, batch: Tensor, found: Any) -> int:
        """Tokens in front of those of the patches."""
        patch = getattr(self.values, "patch_size", None)
        if self.pooling != "mean" or not isinstance(patch, int) or found.last_hidden_state.ndim != 3:
            return 0
        patches = (batch.shape[2] // patch) * (batch.shape[3] // patch)
        before = found.last_hidden_state.shape[1] - patches
        return before if 0 <= before <= _MOST_PREFIX else 0


def model_config(values: Mapping[str, Any]) -> Any:
    """Transformers' configuration object.

    Raises:
        ConfigError: values that make none.
    """
    from transformers import AutoConfig

    plain = dict(values)
    kind = plain.get("model_type")
    try:
        if kind in _CLASSES:
            return _known_class(str(kind)).config_class.from_dict(plain)
        return AutoConfig.for_model(**plain)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"these values make no transformers configuration of type {short(kind)} ({reason_of(error)}); "
            "take those of the model's config.json"
        ) from error


def feature_width(config: Any, pooling: Pooling) -> int:
    """Length of a feature vector.

    Raises:
        ConfigError: the configuration does not say.
    """
    if pooling == "projection":
        return int(config.projection_dim)
    for name in ("d_model", "hidden_size", "hidden_sizes"):
        found = getattr(config, name, None)
        found = found[-1] if isinstance(found, list | tuple) and found else found
        if isinstance(found, int) and found > 0:
            return found
    raise ConfigError(f"a {config.model_type} does not say how wide it is; use another backbone")


def known_class(kind: str) -> Any:
    """The class of transformers for models of type ``kind``.

    Raises:
        ConfigError: there is none for images, sounds or texts.
    """
    if kind in _CLASSES:
        return _known_class(kind)
    from transformers import CONFIG_MAPPING, MODEL_MAPPING

    try:
        found = MODEL_MAPPING[CONFIG_MAPPING[kind]]
    except KeyError:
        found = None
    if not isinstance(found, type):
        raise ConfigError(f"transformers has no plain model of type {kind!r}; use another backbone")
    return found


def pooler_argument(kind: Any, pooling: Pooling) -> dict[str, bool]:
    """What keeps a class from having a pooler that is not used; its weights need not be there then."""
    unused = pooling in ("cls", "mean")
    return {"add_pooling_layer": False} if unused and _has_pooler_argument(kind) else {}


def part_of(model: Any) -> Any:
    """The module that is the backbone: Whisper's encoder; older versions wrap CLIP's and SigLIP's models."""
    if model.config.model_type == "whisper":
        return model.encoder
    for name in ("vision_model", "text_model"):
        if hasattr(model, name):
            return getattr(model, name)
    return model


def _known_class(kind: str) -> Any:
    import transformers

    return getattr(transformers, _CLASSES[kind])


def _has_pooler_argument(kind: Any) -> bool:
    return "add_pooling_layer" in inspect.signature(kind.__init__).parameters


def _model(config: Any, pooling: Pooling) -> nn.Module:
    if getattr(config, "is_encoder_decoder", False) and config.model_type != "whisper":
        raise ConfigError(f"a {config.model_type} has an encoder and a decoder; use an encoder alone")
    if config.model_type == "whisper":
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        return _own_names(WhisperEncoder(config))
    kind = known_class(config.model_type)
    return _own_names(part_of(kind(config, **pooler_argument(kind, pooling))))


def _projection(config: Any) -> nn.Module:
    if config.model_type.startswith("clap"):
        from transformers.models.clap.modeling_clap import ClapProjectionLayer

        return ClapProjectionLayer(config)
    return nn.Linear(config.hidden_size, config.projection_dim, bias=False)


def _own_names(model: nn.Module) -> nn.Module:
    """Have transformers leave the names of the tensors alone.

    It would store some types' tensors under the names of older versions, as part of a whole model, too. It
    leaves alone what is of a class of somebody else.
    """
    kind: Any = type(model)
    model.__class__ = _own_class(kind)
    return model


@cache
def _own_class(kind: Any) -> Any:
    return type(f"Tower{kind.__name__}", (kind,), {"__module__": __name__})
