"""``imagebind-llm doctor``: is a model whole, does it belong together, will it run here."""

import json
from typing import Annotated, Any

import typer

from imagebind_llm.cli import BAD_INPUT
from imagebind_llm.cli import options as shared
from imagebind_llm.common.files import gigabytes

app = typer.Typer()

_EXAMPLES = """
\b
Examples:
  imagebind-llm doctor nano
  imagebind-llm doctor my-adapter --fingerprints
  imagebind-llm doctor my-model --no-self-test --json

\b
Also for folders of encoders, caches and language models. Large folders are read by their headers only, unless
--fingerprints (reads all weights, one tensor at a time; an adapter's encoder that is no ImageBind is loaded)
or --self-test (loads the model) is given.
Exit codes: 0 healthy, 2 something was found.
"""


@app.command(epilog=_EXAMPLES, short_help="Is a model whole, and will it run here?")
def doctor(
    model: Annotated[
        str,
        typer.Argument(metavar="nano|DIR|HUB_ID", help="Model, adapter, encoder, cache or language model."),
    ] = "nano",
    fingerprints: Annotated[
        bool | None,
        typer.Option(
            "--fingerprints/--no-fingerprints",
            help="Compute them from the weights. Default: of small models.",
        ),
    ] = None,
    self_test: Annotated[
        bool | None,
        typer.Option("--self-test/--no-self-test", help="Load and try it. Default: small models."),
    ] = None,
    device: shared.DeviceOption = "auto",
    json_: shared.JsonOption = False,
) -> None:
    """What is in a folder, whether it belongs together, what it needs, and whether it works."""
    from imagebind_llm.checkpoints.doctor import diagnose

    shared.hide_progress_bars()
    report = diagnose(model, fingerprints, self_test, device)
    if json_:
        typer.echo(json.dumps(report.to_dict(), ensure_ascii=False))
    else:
        typer.echo(f"{report.name}: {report.kind}")
        _print(report.facts, "  ")
        for note in report.notes:
            typer.echo(f"note: {note}")
        for finding in report.findings:
            typer.echo(f"found: {finding.part}: {finding.problem}\n   do: {finding.remedy}")
        typer.echo("healthy" if report.healthy else f"{len(report.findings)} found")
    if not report.healthy:
        raise typer.Exit(BAD_INPUT)


def _print(values: dict[str, Any], indent: str) -> None:
    for key, value in values.items():
        name = key.replace("_", " ")
        if isinstance(value, dict) and key.endswith("bytes"):
            shown = ", ".join(f"{part} {gigabytes(size)}" for part, size in value.items())
            typer.echo(f"{indent}{name.removesuffix(' bytes')}: {shown}")
        elif isinstance(value, dict):
            typer.echo(f"{indent}{name}:")
            _print(value, indent + "  ")
        elif key == "bytes":
            typer.echo(f"{indent}size: {gigabytes(value)}")
        else:
            shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
            shown = ", ".join(map(str, value)) if isinstance(value, list) else shown
            typer.echo(f"{indent}{name}: {'-' if value is None else shown}")
