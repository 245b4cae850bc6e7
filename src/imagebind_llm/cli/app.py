"""The root command: a table of command groups, each imported when it is called."""

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

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
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run a command. Interruptions and closed pipes end alike, whatever the version of typer."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            typer.echo(err=True)
            raise typer.Exit(130) from None
        except BrokenPipeError:  # the reader has seen enough (as in "… | head")
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        return result


app = typer.Typer(
    cls=LazyCommands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Every command has --help with examples. Exit codes: 0 done, 2 bad input, 1 our fault.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from imagebind_llm import __version__

        typer.echo(f"imagebind-llm {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Ask a language model about images, sound, video, 3D, depth, heat, motion, text and mixtures."""


def complaint(error: Any) -> str | None:
    """A :data:`UsageError` in one line; None for one that shows the help, as nothing else was asked for."""
    message, context = str(error.format_message()), error.ctx
    if context is None or message == context.get_help():
        return None if context is not None else message
    return f"{message[:1].lower()}{message[1:].rstrip('.')}; see: {context.command_path} --help"


def quieten() -> None:
    """Let only our own words reach the terminal: no warnings or progress bars of the libraries below."""
    import logging
    import warnings

    for library in ("torch.utils._pytree", "torchao"):  # torchao, once installed, is imported by peft
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # it tells of every retry of a download
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "0" if os.isatty(2) else "1")
