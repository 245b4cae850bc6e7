"""Which medium of a request is meant by an error that only says what is wrong with it."""

from collections.abc import Sequence

from imagebind_llm.common.errors import UserError
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.model.messages import MediaItem
from imagebind_llm.serving.errors import ApiError, refused


def naming(error: UserError, bot: Assistant, items: Sequence[MediaItem], places: Sequence[str]) -> ApiError:
    """A 400 that names the medium whose reading gives this very error; without a name where none does.

    The media are read once more, and only where something is wrong.

    Args:
        error: what was said.
        bot: reads them.
        items: the media of the request.
        places: where each of them stands in the body: ``input[1]``.
    """
    for item, place in zip(items, places, strict=True):
        (found,) = bot.iter_embed([item])
        if isinstance(found, Exception) and str(found) == str(error):
            return ApiError(400, f"{place}: {error}", place)
    return refused(error)


def places_of(given: object, count: int, where: str = "input") -> list[str]:
    """Where ``count`` media stand that :func:`~imagebind_llm.serving.parts.read_mixture` has read."""
    return [f"{where}[{number}]" for number in range(count)] if isinstance(given, list) else [where] * count
