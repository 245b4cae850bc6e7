"""``imagebind-llm info``: what is installed, and what a model is."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer

from imagebind_llm import __version__
from imagebind_llm.cli import options as shared
from imagebind_llm.common.errors import CheckpointError

app = typer.Typer()

_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "peft", "faiss-cpu", "av", "numpy")
_EXAMPLES = """
\b
Examples:
  imagebind-llm info
  imagebind-llm info my-model --json
"""


@app.command(epilog=_EXAMPLES, short_help="Versions, and a summary of a model.")
def info(
    model: Annotated[str, typer.Argument(metavar="[nano|DIR|HUB_ID]", help="Which model.")] = "nano",
    json_: shared.JsonOption = False,
) -> None:
    """Versions, and a summary of a model: parts, stage, sizes, fingerprints, cache. Loads no weights."""
    values: dict[str, Any] = {
        "imagebind-llm": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }
    from imagebind_llm.checkpoints.summary import summary
    from imagebind_llm.common.locate import NANO, locate_folder

    try:
        values["model"] = summary(locate_folder(model))
    except CheckpointError as error:
        if model != NANO:
            raise
        values["model"] = {"missing": str(error)}  # the versions are worth printing all the same
    if json_:
        shared.print_json(values)
    else:
        _print(values)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _print(values: dict[str, Any], indent: str = "") -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            typer.echo(f"{indent}{key}:")
            _print(value, indent + "  ")
        else:
            shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
            shown = ", ".join(map(str, value)) if isinstance(value, list) else shown
            typer.echo(f"{indent}{key}: {'-' if value is None else shown}")
