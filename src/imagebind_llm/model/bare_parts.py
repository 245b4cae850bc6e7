"""Messages whose media stand beside them: ``{"type": "image"}`` in the message, ``images=…`` next to it."""

from collections.abc import Mapping, Sequence
from typing import Any

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.model.messages import Message, is_source

MEDIA_ARGUMENTS = {"images": "image", "videos": "video", "audio": "audio"}
"""The processor's argument → the type of part that it fills."""


def without_bare_parts(messages: Sequence[Message]) -> Sequence[Message]:
    """``messages`` without the parts that have no source: for the text, in which media leave no trace."""
    return _rewritten(messages, lambda kind, part: None)


def with_media(messages: Sequence[Message], media: Mapping[str, Any]) -> Sequence[Message]:
    """``messages`` with the bare parts filled, in their order.

    Args:
        messages: one dialog.
        media: for each of :data:`MEDIA_ARGUMENTS` a source, a list of them, or None.

    Raises:
        UserError: more or fewer sources than bare parts.
    """
    left = {
        MEDIA_ARGUMENTS[name]: list(value) if isinstance(value, list | tuple) else [value]
        for name, value in media.items()
        if value is not None
    }
    names = {kind: name for name, kind in MEDIA_ARGUMENTS.items()}

    def fill(kind: str, part: Mapping[str, Any]) -> Mapping[str, Any]:
        if kind not in left:
            return part  # its reader says what it lacks
        if not left[kind]:
            raise UserError(
                f"there are more parts {{'type': {kind!r}}} than {names[kind]}=; give one for each"
            )
        return {**part, kind: left[kind].pop(0)}

    filled = _rewritten(messages, fill)
    for kind, rest in left.items():
        if rest:
            raise UserError(
                f"{names[kind]}= holds {len(rest)} more than the dialog has parts {{'type': {kind!r}}} "
                f"without a source (the next is {short(rest[0])}); add such a part for each"
            )
    return filled


def _rewritten(messages: Any, change: Any) -> Any:
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes):
        return messages  # its reader says what is wrong
    found = []
    for message in messages:
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, list | tuple):
            parts = [change(str(part["type"]), part) if _is_bare(part) else part for part in content]
            message = {**message, "content": [part for part in parts if part is not None]}
        found.append(message)
    return found


def _is_bare(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") in MEDIA_ARGUMENTS.values() and not is_source(part)
