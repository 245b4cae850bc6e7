"""What every source of training samples gives: records, by index or as a stream.

Two steps, so that looking through a data set does not decode it: ``Source.read`` finds and checks the row and
says where its media are; :meth:`Record.load` opens the pictures. Both raise :class:`BadSample`, and
:class:`~imagebind_llm.data.mixture.SourceMixture` does both, so what it draws can be used.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from imagebind_llm.common.errors import BadSample, UserError
from imagebind_llm.common.modality import Modality

if TYPE_CHECKING:
    from imagebind_llm.media.base import Limits

__all__ = ["BadSample", "Embedded", "Record", "Source", "StreamingSource", "replace_media"]

CAPTION_INSTRUCTION = "Generate caption of this image"
"""What the published recipe asks for each image-caption pair."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """A medium that was embedded before: ``vector [D]``, unit length, float32. Stands where a path would."""

    vector: np.ndarray


@dataclass(frozen=True)
class Record:
    """One sample to learn from.

    Attributes:
        key: where it is, unique in its source.
        messages: as :mod:`imagebind_llm.messages` reads them; content is a string or a list of parts, and a
            media part ``{"type": "image", "image": source}`` holds a path, bytes, a PIL image, an array or an
            :class:`Embedded`. Without media parts it is text only.
        source: name of the source.
    """

    key: str
    messages: list[dict[str, Any]]
    source: str

    def load(self, limits: "Limits | None" = None) -> "Record":
        """The same record with its pictures opened: paths and bytes become upright RGB PIL images.

        Other media are left alone; they are decoded where they are encoded.

        Raises:
            BadSample: a picture is missing, damaged, of an unknown format or larger than the limits.
        """

        def opened(modality: Modality, source: Any) -> Any:
            if modality is not Modality.IMAGE or not isinstance(source, str | bytes | Path):
                return source
            from imagebind_llm.media.base import Limits, name_of, read_source
            from imagebind_llm.media.image import open_image, to_rgb

            bounds = limits or Limits()
            try:
                return to_rgb(open_image(read_source(source, bounds), name_of(source), bounds))
            except UserError as error:
                raise BadSample(self.key, str(error)) from error
            except Exception as error:  # a decoder's own errors: whatever it is, it is this picture's fault
                raise BadSample(self.key, f"{name_of(source)}: damaged image data ({error})") from error

        return replace(self, messages=replace_media(self.messages, opened))


@runtime_checkable
class Source(Protocol):
    """Samples by number."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when the listing does; 16 hex digits."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> Record:
        """Sample ``0 … len-1``; always the same one for the same index.

        Raises:
            BadSample: this one is corrupt; others may be fine.
        """
        ...


@runtime_checkable
class StreamingSource(Protocol):
    """Samples one after the other, of unknown number."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when the data set's name, version or columns do; 16 hex digits."""
        ...

    def stream(self, start: int = 0) -> Iterator[Record | BadSample]:
        """From sample ``start`` on; corrupt ones come as :class:`BadSample` objects, in their place."""
        ...


def replace_media(
    messages: Sequence[Mapping[str, Any]], change: Callable[[Modality, Any], Any]
) -> list[dict[str, Any]]:
    """A copy of ``messages`` in which each media part's source is what ``change(modality, source)`` gives."""
    media = {modality.value for modality in Modality.known()} - {Modality.TEXT.value}
    changed: list[dict[str, Any]] = []
    for message in messages:
        content = message["content"]
        if not isinstance(content, str):
            parts = []
            for part in content:
                kind = part["type"]
                if kind in media:
                    part = {**part, kind: change(Modality(kind), part[kind])}
                parts.append(part)
            content = parts
        changed.append({**message, "content": content})
    return changed
