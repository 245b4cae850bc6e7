"""The one error of the visual cache."""

from imagebind_llm.errors import UserError


class CacheError(UserError):
    """A visual cache that cannot be built, read or used here. The message is one line."""
