"""What other libraries say while they are imported, and nobody can do anything about.

transformers imports torchao, where it is installed, whether anything is quantised or not. torchao then
complains of kernels for GPUs that are not there, and torch of how torchao registers two of its types. Just
these messages are dropped; all others of the same libraries are shown.
"""

import logging

_DROPPED = {
    "torchao": ("Failed to load ", "Skipping import of cpp extensions"),
    "torch.utils._pytree": ("is an Enum subclass and is now natively supported",),
}
"""Name of the logger → pieces of the messages."""


def drop_import_noise() -> None:
    """Install the filters. They cost nothing until such a message comes."""
    for name, pieces in _DROPPED.items():
        logger = logging.getLogger(name)
        if not any(isinstance(known, _Without) for known in logger.filters):
            logger.addFilter(_Without(pieces))


class _Without(logging.Filter):
    """Drops messages that hold one of some pieces of text."""

    def __init__(self, pieces: tuple[str, ...]) -> None:
        super().__init__()
        self._pieces = pieces

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the message is shown."""
        text = record.getMessage()
        return not any(piece in text for piece in self._pieces)
