"""Image-caption pairs as dialogs."""

import os
import re
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import BadSample
from imagebind_llm.common.file_urls import is_file_url, path_of_file_url
from imagebind_llm.data.sources.base import Record

_REMOTE = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")


def caption_record(key: str, source: str, image: Any, caption: Any, instruction: str) -> Record:
    """A request for a caption of ``image`` and its answer.

    Args:
        image: a path, bytes or a PIL image.

    Raises:
        BadSample: the caption is not text or empty.
    """
    return Record(
        key,
        [
            {
                "role": "user",
                "content": [{"type": "image", "image": image}, {"type": "text", "text": instruction}],
            },
            {"role": "assistant", "content": clean_text(key, caption, "caption")},
        ],
        source,
    )


def clean_text(key: str, value: Any, what: str) -> str:
    """``value`` without white space around it.

    Raises:
        BadSample: not a text, or nothing but white space.
    """
    text = _stripped(key, value, what)
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise BadSample(key, f"half a character (a lone surrogate) in the {what}")
    return text


def _stripped(key: str, value: Any, what: str) -> str:
    if value is None or value != value:  # missing in a table: None or NaN
        raise BadSample(key, f"no {what}")
    if not isinstance(value, str):
        raise BadSample(key, f"the {what} is {type(value).__name__}; expected text")
    text = value.strip()
    if not text:
        raise BadSample(key, f"empty {what}")
    return text


def picture_path(key: str, value: Any, root: str | os.PathLike[str]) -> str:
    """``value``, a path or a ``file:`` address, as a path; relative ones are below ``root``.

    Raises:
        BadSample: not a text, empty, or an address on the network (nothing is ever fetched).
    """
    name = _stripped(key, value, "picture")
    try:
        os.fsencode(name)  # bytes that are no UTF-8 are half characters here, and fine
    except UnicodeEncodeError:
        raise BadSample(key, "half a character (a lone surrogate) in the picture") from None
    if is_file_url(name):
        try:
            return path_of_file_url(name)
        except ValueError as error:
            raise BadSample(key, str(error)) from None
    if _REMOTE.match(name):
        raise BadSample(
            key, f"the picture {name!r} is remote; download it first, for example with img2dataset"
        )
    return str(Path(root).expanduser() / name)
