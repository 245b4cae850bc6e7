"""The one error that media raise."""

from imagebind_llm.errors import UserError


class MediaError(UserError):
    """A piece of media that cannot become a tensor.

    The message is one line made of four parts, which are also attributes: ``file`` (path, or what kind of
    object was given), ``found``, ``expected`` and ``remedy``.
    """

    def __init__(self, file: str, found: str, expected: str, remedy: str) -> None:
        self.file, self.found, self.expected, self.remedy = (
            one_line(part) for part in (file, found, expected, remedy)
        )
        super().__init__(f"{self.file}: {self.found}; expected {self.expected}; {self.remedy}")

    def __reduce__(self) -> tuple[type["MediaError"], tuple[str, str, str, str]]:
        # the default rebuilds from the joined message, which would break errors that cross a worker process
        return type(self), (self.file, self.found, self.expected, self.remedy)


class UnclearMediaError(MediaError):
    """A file that could be of several modalities, or of none that is known."""


def one_line(text: object, longest: int = 300) -> str:
    """``text`` on a single printable line of at most ``longest`` characters."""
    flat = " ".join(str(text).split())
    flat = "".join(character if character.isprintable() else "?" for character in flat)
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"
