"""``imagebind-llm eval``: measure a model with the suites of this package and of others."""

from typing import Any

import typer

from imagebind_llm.cli.plugins import PluginCommands, command
from imagebind_llm.cli.suites import command_of
from imagebind_llm.common.errors import ConfigError
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
        if examples and "\b" not in examples:
            examples = f"\n\b\nExamples:\n{examples}"
        return command(name, function, kind.summary, examples)


app = typer.Typer(
    cls=SuiteCommands,
    no_args_is_help=True,
    help="Measure a model, with intervals and controls.",
    short_help="Measure a model.",
    epilog="""
\b
Examples, with nano's suites (pip install -e projects/nano, in a clone):
  imagebind-llm eval nano --help
  imagebind-llm eval nano --data DATA --out results

\b
Suites come with packages; docs/training.md says how to bring your own.
""",
)


@app.callback()
def evaluate() -> None:
    """Measure a model, with intervals and controls."""
