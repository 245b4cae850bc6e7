"""What cleaning looks at in a record: its words, and its first picture or what stands for it."""

import hashlib
import os
from dataclasses import dataclass

import numpy as np
from PIL import Image

from imagebind_llm.common.errors import BadSample, UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.clean.pictures import content_hash
from imagebind_llm.data.sources.base import Embedded, Record
from imagebind_llm.messages import read_messages


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample to judge.

    Attributes:
        key: where it is, unique in its source.
        caption: what the model is to say: the assistant's words (all words, if it says none).
        dialog: all words, and which other media there are. Two samples with the same picture and the same
            dialog are the same.
        image: the first picture, RGB; None for text-only samples.
        embedding: ``[D]`` unit vector that stands in the picture's place, if it was embedded before.
    """

    key: str
    caption: str
    dialog: str
    image: Image.Image | None = None
    embedding: np.ndarray | None = None


def sample_of(record: Record) -> Sample:
    """Read a record and open its picture.

    Raises:
        BadSample: a malformed dialog, no words, or a picture that cannot be opened.
    """
    opened = record.load()
    try:
        turns = read_messages(opened.messages)
    except UserError as error:
        raise BadSample(record.key, str(error)) from error
    said = [turn.text.strip() for turn in turns if turn.role == "assistant"]
    words = [turn.text.strip() for turn in turns if turn.text.strip()]
    caption = "\n".join(said or words)
    if not caption:
        raise BadSample(record.key, "an empty caption; expected words about the picture")
    media = [item for turn in turns for item in turn.media]
    pictures = [item for item in media if item.modality is Modality.IMAGE]
    looked_at = pictures[0] if pictures else None
    first = looked_at.source if looked_at else None
    others = [f"{item.modality.value} {_name(item.source)}" for item in media if item is not looked_at]
    dialog = "\n".join([*words, *others])
    if isinstance(first, Embedded):
        return Sample(record.key, caption, dialog, embedding=first.vector)
    if first is not None and not isinstance(first, Image.Image):
        first = _from_array(record.key, first)
    image = None if first is None else first.convert("RGB")
    return Sample(record.key, caption, dialog, image=image)


def _name(source: object) -> str:
    """What tells media that are not looked at apart: the path, or a hash of what is there."""
    if isinstance(source, str | os.PathLike):
        return str(source)
    if isinstance(source, Image.Image):
        return content_hash(source.convert("RGB")).hex()
    values = source.vector if isinstance(source, Embedded) else source
    held = values if isinstance(values, bytes) else np.ascontiguousarray(values).tobytes()
    return hashlib.sha256(held).hexdigest()


def _from_array(key: str, values: object) -> Image.Image:
    array = np.asarray(values)
    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        raise BadSample(key, f"a picture as an array {array.dtype} {array.shape}; expected bytes [H, W, 3]")
    return Image.fromarray(array)


def storable(text: str) -> str:
    """``text`` as UTF-8 can hold it: bytes of a file name that are not are shown as ``\\udc…``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
