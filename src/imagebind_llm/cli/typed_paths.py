"""Files as people type or drop them into a dialog: quoted, with backslashes, with ``~``, as URLs."""

import os
import shlex

from imagebind_llm.cli import options as shared
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.model.messages import local_source

_WINDOWS = os.name == "nt"


def typed_medium(modality: Modality, words: str, option: str) -> tuple[str, float]:
    """``PATH[@WEIGHT]`` → path and weight, as :func:`~imagebind_llm.cli.options.read_medium`.

    A file of exactly the typed name comes first. Else quotes and backslashes are read as a shell reads them
    (terminals write them around what is dropped on them), ``~`` is the home folder, and a ``file:`` URL is
    its path.

    Args:
        modality: of the medium; text is taken as it stands.
        words: what was typed after the command.
        option: the command, for messages.

    Raises:
        UserError: several files, a remote address, another machine's URL, or a weight that is no number.
    """
    path, weight = shared.read_medium(modality, words, option)
    if modality is Modality.TEXT or os.path.exists(path):
        return path, weight
    path, weight = shared.read_medium(modality, unquoted(words, option), option)
    return os.path.expanduser(local_source(path, option)), weight


def unquoted(words: str, option: str) -> str:
    """``words`` as a shell reads them, if they are one word to it.

    Raises:
        UserError: they are several.
    """
    if _WINDOWS:  # there a backslash stands between folders
        return words.replace('"', "")
    if not any(sign in words for sign in "'\"\\"):
        return words
    try:
        parts = shlex.split(words)
    except ValueError:  # an apostrophe, say
        return words
    if len(parts) > 1:
        raise UserError(
            f"{option} {words}: there is no such file; if these are {len(parts)} files, attach each with a "
            f"{option} of its own; if it is one, put quotes around it"
        )
    return parts[0] if parts else words
