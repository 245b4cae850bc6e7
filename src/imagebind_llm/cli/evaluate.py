"""``imagebind-llm eval``: measure a model with the suites of this package and of others."""

import shutil
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from imagebind_llm.cli import options as shared
from imagebind_llm.cli.plugins import PluginCommands, command
from imagebind_llm.cli.suites import (
    AtOnceOption,
    EndpointOption,
    ModelOption,
    command_of,
    open_engine,
    typed_command,
)
from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.evaluation.suite import SUITES, suite_kind


class SuiteCommands(PluginCommands):
    """A command for every suite."""

    plugins = SUITES

    def build(self, name: str) -> Any:
        """The command of the suite ``name``."""
        kind = suite_kind(name)
        if kind.command is None and kind.make is None:
            raise ConfigError(f"suite {name!r} has neither a command nor make; its package must bring one")
        function = kind.command or command_of(kind.make)  # type: ignore[arg-type]
        examples = kind.examples
        if examples and not examples.startswith("\n"):  # a suite's own, without a head
            lines = [f"  {one}" if one.startswith("imagebind-llm") else one for one in examples.split("\n")]
            examples = "\n\b\nExamples:\n" + "\n".join(lines)
        return command(name, function, kind.summary, examples)


app = typer.Typer(
    cls=SuiteCommands,
    no_args_is_help=True,
    help="Measure a model, with intervals and controls.",
    short_help="Measure a model.",
    epilog="""
\b
Examples:
  imagebind-llm eval pope --data POPE --out results/pope
  imagebind-llm eval retrieval --help
  imagebind-llm eval nano --data DATA --out results    (with nano's laboratory, in a clone)

\b
Two evaluations of one suite, and all suites:
  imagebind-llm eval compare results/before results/after --out comparison.html
  imagebind-llm eval list

\b
Many suites at once, and those of other packages: docs/evaluate.md.
""",
)


@app.callback()
def evaluate() -> None:
    """Measure a model, with intervals and controls."""


_PLAN_EXAMPLES = """
\b
Examples:
  imagebind-llm eval plan projects/nano/real_data.yaml --data DATA --out results
  imagebind-llm eval plan mine.yaml --data DATA --out results --endpoint http://127.0.0.1:8000/v1

\b
A plan is a YAML file; docs/evaluate.md shows one. The same command goes on where it stopped.
"""


@app.command("plan", short_help="Run many suites, as a file lists them.", epilog=_PLAN_EXAMPLES)
def run_listed(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.yaml", help="What is to be run.")],
    out: Annotated[Path, typer.Option("--out", help="A folder for each run is made in it.")],
    data: Annotated[Path, typer.Option("--data", help="Where the plan's data lie.")] = Path("."),
    model: ModelOption = None,
    endpoint: EndpointOption = None,
    at_once: AtOnceOption = 16,
    batch_size: shared.BatchSizeOption = 64,
    device: shared.DeviceOption = "auto",
    dtype: shared.DtypeOption = "auto",
    json_: shared.JsonOption = False,
) -> None:
    """Run many suites on one model, and print one table. What cannot be run is named; the others go on."""
    from imagebind_llm.common.files import atomic_write
    from imagebind_llm.evaluation.plan import read_plan, run_plan, summary_table
    from imagebind_llm.evaluation.provenance import environment

    shared.check_out(out, folder=True)
    listed = read_plan(plan)
    if not data.is_dir():
        raise UserError(f"there is no folder {str(data)!r} for --data")
    engine, about = open_engine(endpoint, at_once, model, device, dtype, None, batch_size)
    rows = run_plan(
        listed,
        engine,
        data,
        out,
        typed_command(),
        about=about,
        environment=environment(),
        batch_size=batch_size,
        tell=lambda line: typer.echo(f"note: {line}", err=True),
    )
    with atomic_write(out / "summary.md") as temporary:
        temporary.write_text(summary_table(rows), encoding="utf-8")
    if json_:
        shared.print_json(rows)
    else:
        typer.echo(summary_table(rows), nl=False)
    if all("error" in row for row in rows):
        raise UserError("nothing that the plan lists could be run")


_COMPARE_EXAMPLES = """
\b
Examples:
  imagebind-llm eval compare results/before results/after
  imagebind-llm eval compare results/before results/after --out comparison.html
"""


@app.command("compare", short_help="Compare two evaluations.", epilog=_COMPARE_EXAMPLES)
def compare_runs(
    run_a: Annotated[Path, typer.Argument(help="Folder of an evaluation (its --out).")],
    run_b: Annotated[Path, typer.Argument(help="Folder of another evaluation of the same suite.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.html", help="Write a page, too.")] = None,
    only_shared: Annotated[
        bool, typer.Option("--shared", help="Compare the items that both have, where they have others.")
    ] = False,
    json_: shared.JsonOption = False,
) -> None:
    """Compare two finished evaluations item by item: differences with intervals and p-values."""
    from imagebind_llm.common.files import atomic_write
    from imagebind_llm.evaluation.compare import compare, comparison_markdown, comparison_page
    from imagebind_llm.evaluation.folder import read_outcome

    if out is not None:
        shared.check_out(out)
    found = compare(read_outcome(run_a), read_outcome(run_b), only_shared)
    if out is not None:
        with atomic_write(out) as temporary:
            temporary.write_text(comparison_page(found), encoding="utf-8")
    if json_:
        shared.print_json(found.to_dict())
    else:
        typer.echo(comparison_markdown(found), nl=False)


_LIST_EXAMPLES = """
\b
Examples:
  imagebind-llm eval list
  imagebind-llm eval list --json
"""


@app.command("list", short_help="List all suites, with data and published numbers.", epilog=_LIST_EXAMPLES)
def list_suites(
    json_: shared.JsonOption = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print benchmarks as a Markdown table.")
    ] = False,
) -> None:
    """List all suites: what they measure, where their data are, and published numbers."""
    from imagebind_llm.evaluation.report import table

    suites = [_described(name) for name in SUITES.names()]
    if json_:
        shared.print_json(suites)
    elif markdown:
        rows = [
            [
                part.replace("|", "\\|")
                for part in (
                    f"`{suite['name']}`: {suite['summary']}",
                    suite["layout"],
                    suite["metric"],
                    "; ".join(filter(None, (suite["source"], suite["licence"]))),
                    suite["published"],
                )
            ]
            for suite in suites
            if suite["layout"]
        ]
        typer.echo(table(["suite", "files", "metric", "data; licence", "published"], rows), nl=False)
    else:
        typer.echo("\n".join(_lines(suites, shutil.get_terminal_size().columns)))


_COLUMNS = {
    "summary": "what it measures",
    "layout": "files",
    "metric": "metric",
    "source": "data",
    "licence": "licence",
    "published": "published",
}


def _described(name: str) -> dict[str, str]:
    """Name, summary and facts of a suite; of one that cannot be imported, why."""
    empty = dict.fromkeys(_COLUMNS, "")
    try:
        kind = suite_kind(name)
    except UserError as error:
        return {"name": name, **empty, "summary": f"Cannot be imported: {error}"}
    facts = {} if kind.facts is None else vars(kind.facts)
    return {"name": name, **empty, "summary": kind.summary, **facts}


def _lines(suites: list[dict[str, str]], width: int) -> list[str]:
    """The list in two columns, ``width`` characters wide: names, and what there is to say of each."""
    names = max((len(suite["name"]) for suite in suites), default=0) + 2
    labels = max(len(label) for part, label in _COLUMNS.items() if part != "summary") + 2
    lines = []
    for suite in suites:
        name = suite["name"]
        for part, label in _COLUMNS.items():
            if suite[part]:
                head = f"{name:<{names}}" + (f"{label:<{labels}}" if part != "summary" else "")
                room = max(width - 1, len(head) + 20)
                lines += textwrap.wrap(
                    suite[part],
                    room,
                    initial_indent=head,
                    subsequent_indent=" " * len(head),
                    break_long_words=False,
                    break_on_hyphens=False,
                )
                name = ""
        lines.append("")
    return lines[:-1]
