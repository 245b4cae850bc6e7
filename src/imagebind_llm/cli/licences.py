"""Showing a licence, and having it accepted, before anything under it is downloaded."""

import sys
from collections.abc import Iterable

import typer

from imagebind_llm.common.errors import UserError


def show_licence(name: str, what: str, licence: str, more: Iterable[str | None]) -> None:
    """Say what is about to be downloaded, and under which licence; on stderr, so that it is always seen."""
    typer.echo(f"{name}: {what}\nlicence: {licence}", err=True)
    for line in more:
        if line:
            typer.echo(f"  {line}", err=True)


def require_acceptance(name: str, licence: str, accepted: bool) -> None:
    """Ask whether the licence is accepted, where somebody can answer.

    Args:
        name: of what is downloaded.
        licence: its licence in a few words.
        accepted: whether the user has said so already.

    Raises:
        UserError: it was not accepted.
    """
    if accepted:
        return
    if not sys.stdin.isatty():
        raise UserError(
            f"the licence of {name} ({licence}) was not accepted; read it and add --accept-licence"
        )
    if not typer.confirm("Do you accept this licence?", default=False, err=True):
        raise UserError(f"the licence of {name} was refused; nothing was downloaded")
