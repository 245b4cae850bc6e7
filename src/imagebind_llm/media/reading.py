"""Where media readers are called: whatever one raises, it is the fault of one medium, which is named.

Decoders raise errors of all kinds on files that nobody foresaw. A batch must go on with the others then.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from imagebind_llm.common.errors import MediaError, UserError, reason_of
from imagebind_llm.common.modality import Modality
from imagebind_llm.media.base import Limits, MediaReader, name_of

if TYPE_CHECKING:
    from torch import Tensor


def load_medium(
    reader: MediaReader, modality: Modality, source: Any, limits: Limits | None = None
) -> "Tensor":
    """What ``reader`` makes of a medium.

    Raises:
        MediaError: whatever the reader raises, if it is no other :class:`UserError` and memory is left.
    """
    with one_medium(source):
        return reader.load(modality, source, limits)


@contextmanager
def one_medium(source: Any) -> Iterator[None]:
    """Turn whatever a reader raises inside into an error that names ``source``.

    Raises:
        MediaError: anything but a :class:`UserError`, which says what is wrong itself, and a lack of memory,
            which concerns all media.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise MediaError(
            name_of(source),
            f"its reader failed ({type(error).__name__}: {reason_of(error)})",
            "a file that the libraries for its kind can read",
            "convert it, or leave it out",
        ) from error
