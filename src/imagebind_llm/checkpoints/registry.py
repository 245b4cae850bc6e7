"""The list of published artefacts that are pulled by name: a YAML file in the package, or one of yours."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.text_files import NotUtf8, read_text
from imagebind_llm.common.yaml_text import NotYaml, parse_yaml

REGISTRY_FILE = Path(__file__).with_name("registry.yaml")
_SHA256 = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True)
class RemoteFile:
    """One file. ``size`` in bytes and ``sha256`` (64 hex digits) are exact, or ``None``: not known."""

    path: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Artefact:
    """Something published: where it is, under which licence, and what comes after the download.

    Exactly one of ``repo`` (hub repository, with ``revision``), ``url`` and ``manual`` (a page that only a
    person can use) is given. ``then`` is the next command; ``{file}`` and ``{folder}`` in it stand for the
    first pulled file and the folder that holds it.
    """

    name: str
    what: str
    licence: str
    then: str | None = None
    licence_text: str = ""
    licence_url: str | None = None
    repo: str | None = None
    revision: str = "main"
    url: str | None = None
    manual: str | None = None
    about_bytes: int | None = None
    files: tuple[RemoteFile, ...] = field(default_factory=tuple)

    @property
    def known_bytes(self) -> int | None:
        """Sum of the exact sizes, else the rounded size, else ``None``."""
        sizes = [file.size for file in self.files]
        if sizes and all(size is not None for size in sizes):
            return sum(size for size in sizes if size is not None)
        return self.about_bytes

    def next_command(self, folder: Path) -> str | None:
        """``then`` with the paths of what was pulled into ``folder`` (quoted where needed)."""
        import shlex

        if self.then is None:
            return None
        first = folder / self.files[0].path if self.files else folder
        holder = first.parent if self.files else folder
        return self.then.format(file=shlex.quote(str(first)), folder=shlex.quote(str(holder)))


def read_registry(path: str | Path | None = None) -> dict[str, Artefact]:
    """All artefacts by name.

    Args:
        path: another registry file (a mirror's, a company's); ``None``: the one in this package.

    Raises:
        ConfigError: the file is not a valid registry; the message names the entry and the field.
    """
    file = REGISTRY_FILE if path is None else Path(path)
    try:
        values = parse_yaml(read_text(file))
    except (OSError, NotUtf8, NotYaml) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"the registry {str(file)!r} cannot be read ({reason}); give a YAML file") from None
    if not isinstance(values, Mapping):
        raise ConfigError(f"the registry {str(file)!r} holds no mapping of names to artefacts")
    return {str(name): _artefact(str(name), entry, file) for name, entry in values.items()}


def _artefact(name: str, entry: Any, file: Path) -> Artefact:
    def wrong(reason: str) -> ConfigError:
        return ConfigError(f"artefact {name!r} in the registry {str(file)!r} {reason}")

    if not isinstance(entry, Mapping):
        raise wrong(f"is {type(entry).__name__}; expected a mapping")
    values = dict(entry)
    known = {f.name for f in fields(Artefact)} - {"name"}
    if unknown := sorted(set(values) - known):
        raise wrong(f"has the unknown field {unknown[0]!r}; expected some of {', '.join(sorted(known))}")
    if missing := [key for key in ("what", "licence") if not values.get(key)]:
        raise wrong(f"has no {missing[0]!r}")
    places = [key for key in ("repo", "url", "manual") if values.get(key)]
    if len(places) != 1:
        raise wrong(f"has {' and '.join(places) or 'no place'}; expected exactly one of repo, url, manual")
    for key, value in values.items():
        kinds = {"files": list, "about_bytes": int}.get(key, str)
        if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise wrong(f"has {key} {value!r}; expected {kinds.__name__}")
    if values.get("revision") is None:
        values.pop("revision", None)
    try:
        (values.get("then") or "").format(file="", folder="")
    except (KeyError, IndexError, ValueError):
        raise wrong(f"has then {values['then']!r}; it may hold {{file}} and {{folder}} only") from None
    files = tuple(_file(value, wrong) for value in values.pop("files", None) or ())
    if places == ["url"] and len(files) != 1:
        raise wrong(f"has a url and {len(files)} files; expected one file")
    return Artefact(name=name, files=files, **values)


def _file(value: Any, wrong: Callable[[str], ConfigError]) -> RemoteFile:
    try:
        found = RemoteFile(**value)
    except TypeError:
        raise wrong(f"has the file {value!r}; expected path, size, sha256") from None
    parts = Path(str(found.path)).parts
    if not parts or Path(str(found.path)).is_absolute() or ".." in parts:
        raise wrong(f"has the file path {found.path!r}; expected a relative one")
    if found.size is not None and (type(found.size) is not int or found.size < 0):
        raise wrong(f"has size {found.size!r} for {found.path}; expected bytes or null")
    if found.sha256 is not None and not _SHA256.match(str(found.sha256)):
        raise wrong(f"has sha256 {found.sha256!r} for {found.path}; expected 64 hex digits or null")
    return found
