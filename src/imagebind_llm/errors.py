"""Errors a user can cause and mend.

``UserError``
├── ``ConfigError``        a setting that does not exist or contradicts another
├── ``CheckpointError``    weights that are missing, extra, of the wrong shape or made for another model
├── ``MissingExtraError``  a library that is not installed
├── ``media.MediaError``   a file that cannot be turned into a tensor
└── ``cache.CacheError``   a visual cache that cannot be used here

Every message is one line: what was found, what was expected, what to do. The command line prints it and
exits with code 2.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType


class UserError(Exception):
    """Bad input. The message is one line that says what was found, what was expected and what to do."""


class ConfigError(UserError):
    """A setting that does not exist, has the wrong type or contradicts another setting."""


class CheckpointError(UserError):
    """Weights that cannot be loaded strictly, or that belong to another model."""


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
    "instant_clip_tokenizer": "instant-clip-tokenizer",
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
            f"run: pip install 'imagebind-llm[{extra}]'"
        ) from error
