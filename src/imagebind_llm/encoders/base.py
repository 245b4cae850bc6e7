"""What the package asks of an encoder: the contract, the type of encoder, and its fingerprint."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from imagebind_llm.common.fingerprint import StreamedTensors, fingerprint_state_dict
from imagebind_llm.common.modality import Modality
from imagebind_llm.media.base import MediaReader

if TYPE_CHECKING:
    from imagebind_llm.common.tensor_files import TensorSource
    from imagebind_llm.encoders.imagebind.config import ImageBindConfig


class EncoderKind(Protocol):
    """What the module of an encoder type offers."""

    def recognises(self, config: Mapping[str, Any]) -> bool:
        """Whether a folder with this ``config.json`` holds an encoder of this type."""
        ...

    def build(self, settings: Mapping[str, Any]) -> nn.Module:
        """A :class:`JointEncoder` with fresh weights; ``settings`` are ``encoder_config`` without its type.

        Raises:
            ConfigError: an unknown or impossible setting.
        """
        ...

    def from_model(
        self, folder: Path, settings: Mapping[str, Any], device: torch.device, dtype: torch.dtype
    ) -> nn.Module:
        """The encoder that the whole model in ``folder`` holds, strictly, in evaluation mode.

        Raises:
            CheckpointError: weights are missing, left over or of another shape.
        """
        ...

    def load(self, folder: Path, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """The encoder in ``folder``, strictly, in evaluation mode.

        Raises:
            CheckpointError: weights are missing, left over or of another shape.
        """
        ...

    def media_of(self, folder: Path, encoder: Any) -> MediaReader:
        """How media are opened for an encoder that lies in a folder of its own."""
        ...

    def read_media(self, values: Mapping[str, Any], folder: Path) -> MediaReader:
        """The reader that ``to_dict`` and ``save_files`` left in a model folder."""
        ...


@runtime_checkable
class JointEncoder(Protocol):
    """Anything that puts several modalities into one space."""

    @property
    def modalities(self) -> frozenset[Modality]:
        """What ``encode`` accepts."""
        ...

    @property
    def embedding_dim(self) -> int:
        """``D``, the size of an embedding."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same input could give another embedding."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """``{"type": …}`` and what else builds an encoder like this one (``encoder_config`` of a model)."""
        ...

    def encode(self, modality: Modality, batch: Tensor) -> Tensor:
        """``[B, …]`` media of one modality → ``[B, D]`` float32 unit rows."""
        ...


class Described(Protocol):
    """A configuration that can say all its values."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        ...


def fingerprint(config: Described, weights: Mapping[str, Tensor]) -> str:
    """16 hex digits of SHA-256 over the configuration and every floating-point tensor of ``weights``.

    Tensors count as float16, in any order: a model saved in float16 keeps its fingerprint. Whole-number
    buffers (BatchNorm's batch counter) do not count, as no embedding depends on them. bfloat16 is coarser
    than float16, so weights rounded to it are other weights; ``load_imagebind`` takes the fingerprint before
    it rounds.
    """
    floats = {name: tensor for name, tensor in weights.items() if tensor.is_floating_point()}
    return fingerprint_state_dict(floats, header=json.dumps(config.to_dict(), sort_keys=True))


class FingerprintCache:
    """Remembers a model's fingerprint until one of its tensors is written to or replaced."""

    def __init__(self) -> None:
        self._value: str | None = None
        self._state: tuple[tuple[int, int], ...] = ()

    def get(self, config: Described, model: nn.Module) -> str:
        """The fingerprint of ``model`` as it is now."""
        state = _state(model)
        if self._value is None or state != self._state:
            self._value, self._state = fingerprint(config, model.state_dict()), state
        return self._value

    def put(self, value: str, model: nn.Module) -> None:
        """Take ``value`` as the fingerprint of ``model`` until its weights change."""
        self._value, self._state = value, _state(model)

    @contextmanager
    def kept(self, model: nn.Module) -> Iterator[None]:
        """What happens to the tensors inside (a move, a cast) leaves a known fingerprint valid."""
        valid = self._value is not None and _state(model) == self._state
        yield
        if valid:
            self._state = _state(model)


def _state(model: nn.Module) -> tuple[tuple[int, int], ...]:
    """Where each float tensor lies and how often it was written to (torch counts in-place changes)."""
    floats = (t for t in [*model.parameters(), *model.buffers()] if t.is_floating_point())
    return tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in floats)


def imagebind_fingerprint_of(config: "ImageBindConfig", source: "TensorSource") -> str:
    """What :func:`imagebind_llm.encoders.base.fingerprint` gives for the loaded encoder.

    That function looks at each tensor before it hashes the first, and so would hold them all; here the
    headers tell which of them count.

    Args:
        config: of the encoder.
        source: its tensors.
    """
    floats = {name: name for name, info in source.infos.items() if info.dtype.is_floating_point}
    return fingerprint_state_dict(
        StreamedTensors(source, floats), header=json.dumps(config.to_dict(), sort_keys=True)
    )


def encoder_fingerprint_of(settings: Mapping[str, Any], source: "TensorSource") -> str | None:
    """The fingerprint of an encoder in files; ``None`` where it cannot be told from them.

    That is so for other types of encoders than ImageBind, and for weights in bfloat16, which is coarser than
    what the fingerprint hashes.

    Args:
        settings: ``encoder_config`` of a model.
        source: the encoder's tensors.

    Raises:
        ConfigError: an unknown or impossible setting.
    """
    from imagebind_llm.encoders.imagebind.config import ImageBindConfig

    values = dict(settings)
    if values.pop("type", "imagebind") != "imagebind":
        return None
    if any(info.dtype == torch.bfloat16 for info in source.infos.values()):
        return None
    return imagebind_fingerprint_of(ImageBindConfig.from_dict(values), source)
