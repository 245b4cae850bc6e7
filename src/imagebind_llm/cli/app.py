"""The root command: a table of command groups, each imported when it is called."""

import os
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from imagebind_llm.cli import status

Abort = typer.Abort
UsageError: Any = typer.BadParameter.__base__
"""What is raised for words that no command understands, by the click that this version of typer brings."""

_COMMANDS = {
    "ask": "ask",
    "chat": "chat",
    "embed": "embed",
    "cache": "cache",
    "info": "info",
    "new": "new",
    "new-encoder": "new_encoder",
    "train": "train",
    "eval": "evaluate",
    "pull": "pull",
    "convert": "convert",
    "doctor": "doctor",
    "export": "export",
    "serve": "serve",
    "imagine": "imagine",
    "detect": "detect",
    "data": "data",
}
"""Command → module of this package that holds its ``app``. A module that is not there is not listed."""


_ALIKE = 0.65
"""How alike two words are (difflib's ratio) if one may be a slip for the other."""


class LazyCommands(TyperGroup):
    """A group whose members are imported one by one, on demand."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands whose modules exist, in the order of the table."""
        return [name for name, module in _COMMANDS.items() if find_spec(f"{__package__}.{module}")]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and build one command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        member = import_module(f"{__package__}.{_COMMANDS[cmd_name]}").app
        member.rich_markup_mode = None  # all commands look alike
        member._add_completion = False  # completion is installed by the root, once
        command = typer.main.get_command(member)
        command.name = cmd_name
        if hasattr(command, "commands") and not command.epilog:
            command.epilog = f"imagebind-llm {cmd_name} COMMAND --help shows examples."
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run a command. Interruptions end alike, whatever the version of typer."""
        try:
            status.show("starting …")
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo(err=True)
            raise typer.Exit(130) from None
        finally:
            status.end()


_EXAMPLES = """
\b
Examples:
  imagebind-llm ask "What is this?" --image cat.png
  imagebind-llm chat
  imagebind-llm embed dog.wav cat.png --out embeddings.parquet
  imagebind-llm ask --help

Every command has --help with examples. Exit codes: 0 done, 2 bad input, 1 our fault.
"""

app = typer.Typer(
    cls=LazyCommands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXAMPLES,
)


def _version(wanted: bool) -> None:
    if wanted:
        from imagebind_llm import __version__

        typer.echo(f"imagebind-llm {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Ask a language model about images, sound, video, 3D, depth, heat, motion, text and mixtures."""


def complaint(error: Any) -> str | None:
    """A :data:`UsageError` in one line; None for one that shows the help, as nothing else was asked for."""
    message, context = str(error.message), error.ctx
    if context is None or str(error.format_message()) == context.get_help():
        return None if context is not None else str(error.format_message())
    if (option := getattr(error, "option_name", None)) and message.startswith("No such option"):
        message = f"No such option: {option}{_nearest(option, _options(context))}"
    elif message.startswith("No such command"):
        given = message.split("'")[1] if message.count("'") > 1 else ""
        message = f"No such command {given!r}{_nearest(given, context.command.list_commands(context))}"
    else:
        message = str(error.format_message())
    return f"{message[:1].lower()}{message[1:].rstrip('.')}; see: {context.command_path} --help"


def _options(context: Any) -> list[str]:
    """All options that the command of ``context`` knows."""
    parameters = context.command.get_params(context)
    return [name for one in parameters for name in (*one.opts, *one.secondary_opts) if name.startswith("-")]


def _nearest(given: str, known: list[str]) -> str:
    """The question whether the one most like it was meant, if there is one."""
    names = {name.lstrip("-"): name for name in known}
    found = get_close_matches(given.lstrip("-"), names, n=1, cutoff=_ALIKE)
    return f"; did you mean {names[found[0]]}?" if found else ""


def quieten() -> None:
    """Let only our own words reach the terminal: no warnings or progress bars of the libraries below."""
    import logging
    import warnings

    for library in ("torch.utils._pytree", "torchao"):
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # it tells of every retry of a download
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "0" if os.isatty(2) else "1")
