"""``imagebind-llm eval``: measure a model with the suites of this package and of others."""

from typing import Any

import typer

from imagebind_llm.cli.plugins import PluginCommands, command
from imagebind_llm.evaluation.suite import SUITES, suite_kind


class SuiteCommands(PluginCommands):
    """A command for every suite."""

    plugins = SUITES

    def build(self, name: str) -> Any:
        """The command of the suite ``name``."""
        kind = suite_kind(name)
        return command(name, kind.command, kind.summary, kind.examples)


app = typer.Typer(
    cls=SuiteCommands,
    no_args_is_help=True,
    help="Measure a model, with intervals and controls.",
    short_help="Measure a model.",
    epilog="""
\b
Suites come with packages: nano's with `pip install -e projects/nano` in a clone of this one.
""",
)


@app.callback()
def evaluate() -> None:
    """Measure a model, with intervals and controls."""
