"""How the media of an encoder are opened: what the processor and the assistant ask of a set of settings."""

from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor

from imagebind_llm.common.modality import Modality
from imagebind_llm.media.limits import Limits


@runtime_checkable
class MediaReader(Protocol):
    """Turns sources into the tensors that one type of encoder reads."""

    encoder_type: ClassVar[str]
    """The type of those encoders."""

    def load(self, modality: Modality, source: Any, limits: Limits | None = None) -> Tensor:
        """One medium without batch axis; tensors of one modality always have the same shape.

        Raises:
            MediaError: the source cannot be read, or is over a limit.
        """
        ...

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for ``processor_config.json``."""
        ...

    def save_files(self, folder: Path) -> None:
        """Write into ``folder`` what JSON values cannot hold (a tokenizer, say)."""
        ...
