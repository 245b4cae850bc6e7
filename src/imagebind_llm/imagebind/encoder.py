"""What the rest of the package asks of an encoder."""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from imagebind_llm.common.modality import Modality


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
