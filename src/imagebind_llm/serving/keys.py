"""API keys: made once, kept as SHA-256 only, compared in constant time.

A key file is ``{name: {"sha256": 64 hex digits, "created": date}}``. A key has 256 random bits, so a plain
hash of it cannot be guessed back; salt and a slow hash are for passwords that people choose.
"""

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError, one_line, short
from imagebind_llm.common.files import alone, atomic_write, load_json

VARIABLE = "IMAGEBIND_LLM_API_KEY"
"""Environment variable with one more key."""
FROM_VARIABLE = "environment"
"""The name of the key in :data:`VARIABLE`; no key of a file may have it."""
PREFIX = "ibl-"
"""Lets people, and scanners for leaked secrets, see whose key it is."""
_BYTES = 32
"""256 bits: as many as the hash has."""
_SHORTEST = 20
"""Characters of a key that somebody else made: 120 bits in base64, beyond guessing over a network."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""What a bearer token may be: ``b64token`` of RFC 6750, section 2.1."""
_DIGEST = re.compile(r"[0-9a-f]{64}")

_log = logging.getLogger(__name__)


def new_key(path: Path, name: str) -> str:
    """A new key, added to a key file, which is made if absent. Nobody can tell the key again.

    Raises:
        UserError: a damaged file, or a name that is taken or no name.
    """
    if not _NAME.fullmatch(name) or name == FROM_VARIABLE:
        raise UserError(
            f"{short(name)} cannot be the name of a key; give up to 64 letters, digits, '.', '_' or '-', "
            f"not {FROM_VARIABLE!r}"
        )
    key = PREFIX + secrets.token_urlsafe(_BYTES)
    with alone(path, _busy(path)):
        keys = _read(path) if os.path.lexists(path) else {}
        if name in keys:
            raise UserError(f"{str(path)!r} has a key {name!r}; remove it first, or give another name")
        created = datetime.now(UTC).isoformat(timespec="seconds")
        _write(path, {**keys, name: {"sha256": _digest(key).hex(), "created": created}})
    return key


def remove(path: Path, name: str) -> None:
    """Forget a key. Servers that use the file refuse it from their next request on.

    Raises:
        UserError: a damaged file, or no such key.
    """
    with alone(path, _busy(path)):
        keys = _read(path)
        if name not in keys:
            known = one_line(", ".join(keys) or "none", 200)
            raise UserError(f"{str(path)!r} has no key {short(name)}; its keys: {known}")
        del keys[name]
        _write(path, keys)


def names(path: Path) -> dict[str, str]:
    """When each key of a file was made, by name.

    Raises:
        UserError: a damaged file, or none.
    """
    return {name: entry["created"] for name, entry in _read(path).items()}


class KeyRing:
    """The keys that a server takes: those of a file, read again when it changes, and one of the environment.

    A ring that has begun with keys stays one that asks for them (it is true), also when the last is removed.

    Args:
        path: a key file; None for none.
        environ: variables, of which :data:`VARIABLE` is read.

    Raises:
        UserError: a damaged file, or a key in the environment that is too short or cannot be a bearer token.
    """

    def __init__(self, path: Path | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self._path = path
        self._own: dict[str, bytes] = {}
        if given := environ.get(VARIABLE, ""):
            if len(given) < _SHORTEST or not _TOKEN.fullmatch(given):
                raise UserError(
                    f"the key in {VARIABLE} has {len(given)} characters, or some that no bearer token has; "
                    f"give {_SHORTEST} or more letters, digits and '-._~+/'"
                )
            self._own[FROM_VARIABLE] = _digest(given)
        self._seen = self._state()
        self._of_file = {} if path is None else _digests(_read(path))
        self._asks = bool(self._own or self._of_file) or path is not None

    def __bool__(self) -> bool:
        return self._asks

    def check(self, presented: str) -> str | None:
        """The name of the key that was presented; None if it is no key. Takes as long for any."""
        self._refresh()
        digest, found = _digest(presented), None
        for name, known in [*self._own.items(), *self._of_file.items()]:
            if hmac.compare_digest(digest, known):
                found = name
        return found

    def _refresh(self) -> None:
        """Read a changed file again. A removed one has no keys; a damaged one leaves those known before."""
        if (state := self._state()) == self._seen or self._path is None:
            return
        self._seen = state
        try:
            self._of_file = _digests(_read(self._path)) if state else {}
        except UserError as error:
            _log.warning("the keys stay as they were: %s", error)

    def _state(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path) if self._path else None
        except OSError:
            found = None
        return (found.st_mtime_ns, found.st_ino, found.st_size) if found else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _digests(keys: dict[str, Any]) -> dict[str, bytes]:
    return {name: bytes.fromhex(entry["sha256"]) for name, entry in keys.items()}


def _busy(path: Path) -> UserError:
    return UserError(f"another process is changing {str(path)!r}; try again")


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        keys = load_json(path)
    except OSError as error:
        raise UserError(f"the key file {str(path)!r} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"the key file {str(path)!r} is damaged ({error}); make its keys anew") from None
    if not isinstance(keys, dict) or not all(_NAME.fullmatch(n) and _is_entry(e) for n, e in keys.items()):
        raise UserError(
            f"the key file {str(path)!r} is damaged; expected names of keys with 'sha256' (64 hex digits) "
            "and 'created'; make its keys anew"
        )
    return keys


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or entry.keys() != {"sha256", "created"}:
        return False
    return all(isinstance(value, str) for value in entry.values()) and bool(
        _DIGEST.fullmatch(entry["sha256"])
    )


def _write(path: Path, keys: dict[str, Any]) -> None:
    with atomic_write(path, mode=0o600) as temporary:
        temporary.write_text(json.dumps(keys, indent=1) + "\n", encoding="utf-8")
