"""The options that say where training data are, shared by the commands of ``data``."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.text_files import NotUtf8, read_text

if TYPE_CHECKING:
    from imagebind_llm.data.sources import SourceSettings

SourcesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Files, folders, patterns in quotes, hub ids (with --kind datasets), a training recipe (its "
        "data.sources), a YAML file with a list 'sources', or the source.yaml of data clean.",
    ),
]
KindOption = Annotated[
    str | None,
    typer.Option(
        "--kind",
        help="tsv, csv, llava, alpaca, webdataset, parquet, datasets, folder or embedded. Default: guessed.",
    ),
]
RootOption = Annotated[
    str | None, typer.Option("--root", help="Folder that relative picture paths start from.")
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="ROLE=NAME", help="Another column name, for example image=file."),
]
SplitOption = Annotated[str, typer.Option("--split", help="Of a Hugging Face data set.")]
StreamingOption = Annotated[
    bool, typer.Option("--streaming", help="Read a Hugging Face data set while it is downloaded.")
]
MaxBadOption = Annotated[
    float, typer.Option("--max-bad", min=0, max=1, help="Stop when a larger share of samples is bad.")
]


def read_sources(
    given: list[str],
    kind: str | None = None,
    root: str | None = None,
    columns: list[str] | None = None,
    split: str = "train",
    streaming: bool = False,
) -> "tuple[SourceSettings, ...]":
    """What the options describe.

    Raises:
        UserError: a path whose kind cannot be told, or options that do not fit.
    """
    from imagebind_llm.common.settings import build
    from imagebind_llm.data.sources import SourceKind
    from imagebind_llm.data.sources.base import SourceSettings
    from imagebind_llm.data.sources.guess import guess_kind

    if kind is not None and kind not in get_args(SourceKind):
        raise UserError(f"--kind is {kind!r}; expected {', '.join(get_args(SourceKind))}")
    found: list[SourceSettings] = []
    for path in given:
        listed = _from_recipe(path) if kind is None else None
        if listed is not None:
            found += [build(SourceSettings, item, f"sources[{n}]") for n, item in enumerate(listed)]
            continue
        values: dict[str, Any] = {"kind": kind or guess_kind(path), "path": path}
        if values["kind"] != "datasets" or os.path.isdir(path):
            values["path"] = os.path.abspath(os.path.expanduser(path))  # as every process finds it
        if root is not None:
            values["root"] = os.path.abspath(os.path.expanduser(root))
        if columns:
            values["columns"] = dict(_pair(column) for column in columns)
        if values["kind"] == "datasets":
            values |= {"split": split, "streaming": streaming}
        found.append(build(SourceSettings, values))
    return _told_apart(found)


def _told_apart(sources: "list[SourceSettings]") -> "tuple[SourceSettings, ...]":
    """Sources whose files have the same name are called by as much of their paths as it takes."""
    named = []
    for source in sources:
        twins = [other.path for other in sources if other.label == source.label and other.path != source.path]
        if twins and source.name is None:
            parts = Path(source.path).parts
            names = ("/".join(parts[-count:]) for count in range(2, len(parts) + 1))
            alone = (name for name in names if not any(f"/{twin}".endswith(f"/{name}") for twin in twins))
            source = replace(source, name=next(alone, None))
        named.append(source)
    return tuple(named)


def _from_recipe(path: str) -> list[Any] | None:
    """The list ``sources`` of a YAML file, or of the data of a recipe; None if it has none."""
    from imagebind_llm.common.yaml_text import NotYaml, parse_yaml

    place = Path(path)
    if place.suffix.lower() not in (".yaml", ".yml") or not place.is_file():
        return None
    try:
        values = parse_yaml(read_text(place))
    except NotUtf8 as error:
        raise UserError(f"{path!r} {error}") from None
    except NotYaml as error:
        raise UserError(f"{path!r} is not YAML ({error}); expected a list 'sources' or 'META'") from None
    if isinstance(values, dict) and {"kind", "path"} <= set(values):  # the source.yaml of data clean
        return [values]
    if isinstance(values, dict) and isinstance(values.get("data"), dict):
        values = values["data"]
    found = values.get("sources") if isinstance(values, dict) else None
    return found if isinstance(found, list) else None


def _pair(text: str) -> tuple[str, str]:
    role, equals, name = text.partition("=")
    if not equals or not role or not name:
        raise UserError(f"--column {text!r} is not ROLE=NAME, for example image=file")
    return role, name
