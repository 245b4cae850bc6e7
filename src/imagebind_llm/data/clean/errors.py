"""The one error of cleaning."""

from imagebind_llm.errors import UserError


class CleanError(UserError):
    """Data that cannot be cleaned, or a folder that belongs to another run."""
