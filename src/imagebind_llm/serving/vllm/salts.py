"""The salt of a request: what vLLM's prefix cache must tell apart beside the token ids.

Keys and values of a token depend on the conditions of all tokens up to it. Two requests may share them only
where the same tokens saw the same conditions. The salt is a hash of the runs of conditions along the prompt;
the last run is left open, because new tokens, and the turns of a dialog that follow without new media, see
what the last token saw. Such a dialog keeps its salt, and its keys and values are found again.
"""

import hashlib
from collections.abc import Iterable, Sequence

Runs = list[tuple[int, int]]
"""Condition ids of a prompt as ``(id, count)``, neighbours different; id -1: no condition."""

_DIGEST = 16
NO_CONDITION = "-"


def runs_of(condition_ids: Iterable[int]) -> Runs:
    """``[-1, -1, 0, 0, 0]`` → ``[(-1, 2), (0, 3)]``."""
    found: Runs = []
    for number in condition_ids:
        if found and found[-1][0] == number:
            found[-1] = (number, found[-1][1] + 1)
        else:
            found.append((number, 1))
    return found


def key_of(delta: bytes) -> str:
    """The name of a condition by its content: 32 hex digits of its deltas ``[K, C]``."""
    return hashlib.blake2b(delta, digest_size=_DIGEST).hexdigest()


def salt_of(keys: Sequence[str], runs: Runs) -> str:
    """32 hex digits; ``keys[i]`` is the key of condition ``i``."""
    parts = [f"{keys[number] if number >= 0 else NO_CONDITION}:{count}" for number, count in runs[:-1]]
    parts += [keys[number] if number >= 0 else NO_CONDITION for number, _ in runs[-1:]]
    return hashlib.blake2b("|".join(parts).encode(), digest_size=_DIGEST).hexdigest()
