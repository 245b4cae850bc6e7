"""What can be wrong with training data: one sample, or so much that a run must stop."""

import re

from imagebind_llm.errors import UserError

_ADDRESS = re.compile(r"<[\w.]+ object at 0x[0-9a-fA-F]+>")


class BadSample(UserError):  # noqa: N818 - it names the sample
    """A sample that cannot be used: an unreadable row, a missing or broken picture, an empty caption, ….

    Attributes:
        key: where the sample is, unique in its source (``captions.tsv:17``, ``00003.tar/000031224``).
        reason: what is wrong, one line.
    """

    def __init__(self, key: str, reason: str) -> None:
        self.key = key
        # decoders name objects with their address, which would make every run's report another
        self.reason = _ADDRESS.sub("the data", " ".join(reason.split()))
        super().__init__(f"{self.key}: {self.reason}")

    def __reduce__(self) -> tuple[type["BadSample"], tuple[str, str]]:
        # the default rebuilds from the joined message, which would break errors that cross a process
        return type(self), (self.key, self.reason)


class TrainingDataError(UserError):
    """Training data that a run cannot go on with: too many bad samples, a file that is no table, …."""
