"""Errors a user can cause and mend.

``UserError``
├── ``ConfigError``        a setting that does not exist or contradicts another
├── ``CheckpointError``    weights that are missing, extra, of the wrong shape or made for another model
│   └── ``DiskFullError``  there was no room for a file
├── ``MissingExtraError``  a library that is not installed
├── ``MediaError``         a file that cannot be turned into a tensor
│   └── ``UnclearMediaError``  a file that could be of several modalities, or of none
├── ``CacheError``         a visual cache that cannot be built, read or used here
├── ``BadSample``          one training sample that cannot be used
├── ``TrainingDataError``  training data that a run cannot go on with
└── ``CleanError``         data that cannot be cleaned

Every message is one line: what was found, what was expected, what to do. The command line prints it and
exits with code 2.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from reprlib import Repr
from types import ModuleType
from typing import Any


class UserError(Exception):
    """Bad input. The message is one line that says what was found, what was expected and what to do."""


class ConfigError(UserError):
    """A setting that does not exist, has the wrong type or contradicts another setting."""


class CheckpointError(UserError):
    """Weights that cannot be loaded strictly, or that belong to another model."""


class DiskFullError(CheckpointError):
    """There was no room for a file, or it would have been larger than allowed."""


class MissingExtraError(UserError):
    """A library is not installed."""


def reason_of(error: BaseException) -> str:
    """What another library complains of, in one line.

    That is its message's first line, all of it where a list follows (``…:``), or the error's type if there is
    no message.
    """
    text = str(error).strip() or type(error).__name__
    first = text.splitlines()[0].rstrip()
    return " ".join(text.split()) if first.endswith(":") else first


_PACKAGES = {
    "PIL": "pillow",
    "faiss": "faiss-cpu",
    "yaml": "pyyaml",
}
"""What pip calls a module, where it is not the module's name."""


@contextmanager
def naming_missing_packages(feature: str) -> Iterator[None]:
    """Say in one line which package is not there, and how to get it.

    For what is installed together with this package and imported where it is used; see :func:`require` for
    the extras.

    Args:
        feature: what the user wanted, for the message.

    Raises:
        MissingExtraError: an import inside did not find its module.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if not module or module == __name__.partition(".")[0]:
            raise
        package = _PACKAGES.get(module, module)
        raise MissingExtraError(
            f"{feature} needs the package {package!r}, which is not installed; run: pip install {package}"
        ) from error


def require(module: str, extra: str, feature: str) -> ModuleType:
    """Import ``module``, or say which extra brings it.

    Args:
        module: dotted module name, for example ``"matplotlib.pyplot"``.
        extra: the extra of this package that installs it, for example ``"train"``.
        feature: what the user wanted, for the message.

    Raises:
        MissingExtraError: the module is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != missing:
            raise  # the module is there, but one of its own imports is broken: show that cause
        raise MissingExtraError(
            f"{feature} needs the package {missing!r}, which is not installed; "
            f"run: pip install 'imagebind-llm[{extra}]' (in a clone: pip install -e '.[{extra}]')"
        ) from error


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


_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 4, 57, 57, 57


def short(value: Any) -> str:
    """``value`` as it fits in one line of an error, however large or deep it is."""
    try:
        text = repr(value) if isinstance(value, str) and len(value) < 60 else _SHORT.repr(value)
    except Exception:  # objects whose own repr fails, whole numbers of thousands of digits
        text = f"a {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."


class CacheError(UserError):
    """A visual cache that cannot be built, read or used here. The message is one line."""


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


class CleanError(UserError):
    """Data that cannot be cleaned, or a folder that belongs to another run."""
