"""A source that a file describes: the ``source.yaml`` that ``data clean`` writes, given as another's path."""

from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.settings import build
from imagebind_llm.common.text_files import NotUtf8, read_text
from imagebind_llm.common.yaml_text import NotYaml, parse_yaml
from imagebind_llm.data.sources.base import SourceSettings


def read_description(path: str) -> dict[str, Any] | None:
    """The settings of one source, if ``path`` is a YAML file of them (with ``kind`` and ``path``)."""
    place = Path(path).expanduser()
    if place.suffix.lower() not in (".yaml", ".yml") or not place.is_file():
        return None
    try:
        values = parse_yaml(read_text(place))
    except (NotYaml, NotUtf8):
        return None  # whoever reads it as something else says what is wrong
    return values if isinstance(values, dict) and {"kind", "path"} <= set(values) else None


def follow(settings: SourceSettings) -> SourceSettings:
    """``settings``, or what the file at their path describes; what they say besides the path stands above it.

    Raises:
        ConfigError: the description cannot be used, or is of another kind.
    """
    values = read_description(settings.path)
    if values is None:
        return settings
    found = build(SourceSettings, values, settings.path)
    if found.kind != settings.kind:
        raise ConfigError(
            f"{settings.path!r} describes a source of kind {found.kind}, not {settings.kind}; "
            f"say kind: {found.kind}"
        )
    said: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        usual = field.default_factory() if field.default_factory is not MISSING else field.default
        if field.name != "path" and value != usual:
            said[field.name] = value
    return replace(found, **said)
