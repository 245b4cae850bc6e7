"""Groups of commands that other packages add to."""

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.plugins import Plugins


class PluginCommands(TyperGroup):
    """A command for every name of :attr:`plugins`, then those that the group has itself.

    Subclasses say how the object behind a name becomes a command.
    """

    plugins: Plugins

    def build(self, name: str) -> Any:
        """The command for the plugin ``name``.

        Raises:
            UserError: its package cannot be imported.
        """
        raise NotImplementedError

    def list_commands(self, ctx: Any) -> list[str]:
        """Plugins first."""
        own = super().list_commands(ctx)
        return [name for name in self.plugins.names() if name not in own] + own

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and build one command; one that cannot be imported says so, also when it is called."""
        if cmd_name in super().list_commands(ctx) or cmd_name not in self.plugins.names():
            return super().get_command(ctx, cmd_name)
        try:
            return self.build(cmd_name)
        except UserError as error:
            return _broken(cmd_name, error)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that ``args`` begins with; for an unknown one the nearest is named."""
        known = self.list_commands(ctx)
        if args and args[0] not in known:
            raise self.plugins.unknown(args[0], known)
        return super().resolve_command(ctx, args)


def command(
    name: str,
    function: Callable[..., None],
    summary: str,
    examples: str = "",
    help: str = "",
    settings: dict[str, Any] | None = None,
) -> Any:
    """A command from a function whose annotations are Typer's.

    Args:
        summary: one line for the list of commands.
        examples: shown below the help.
        help: its own help; the docstring or the summary if empty.
        settings: of the command's context.
    """
    member = typer.Typer(rich_markup_mode=None, add_completion=False)
    text = help or function.__doc__ or summary
    member.command(
        name, help=text, short_help=summary, epilog=examples or None, context_settings=settings or {}
    )(function)
    found = typer.main.get_command(member)
    found.name = name
    return found


def _broken(name: str, error: UserError) -> Any:
    def fail(ctx: typer.Context) -> None:
        raise error

    extra = {"ignore_unknown_options": True, "allow_extra_args": True}
    return command(name, fail, "Cannot be imported.", help=str(error), settings=extra)
