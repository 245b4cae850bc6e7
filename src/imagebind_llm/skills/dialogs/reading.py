"""Dialogs to read: one HTML page or Markdown file with the media inside."""

import os
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import atomic_write
from imagebind_llm.evaluation.page_parts import page_environment, printable
from imagebind_llm.evaluation.tiles import Tile, Tiles
from imagebind_llm.model.messages import Message, read_messages

TITLE = "A dialog"
_LONGEST = 100_000
"""Characters of one turn."""
_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>#|~!"})
"""What Markdown would not show as it is."""


def export_dialog(
    history: Sequence[Message],
    path: str | os.PathLike[str],
    system: str | None = None,
    title: str = TITLE,
) -> None:
    """Write a dialog for people.

    Pictures and short sounds are in the file; of other media there is the name.

    Args:
        history: questions and answers in turn, as ``Chat.history`` gives them.
        path: the file to write, ending in ``.html`` or ``.md``.
        system: the system message.
        title: the first line.

    Raises:
        UserError: another ending.
    """
    target = Path(path)
    writers = {".html": _html, ".htm": _html, ".md": _markdown}
    writer = writers.get(target.suffix.lower())
    if writer is None:
        raise UserError(f"{str(target)!r} ends in {target.suffix!r}; a dialog is exported to .html or .md")
    tiles = Tiles()
    turns = [
        {"role": turn.role, "text": printable(turn.text, _LONGEST), "tiles": list(_tiles(turn.media, tiles))}
        for turn in (read_messages(history) if history else [])
    ]
    with atomic_write(target) as temporary:
        temporary.write_text(writer(title, system or "", turns), encoding="utf-8")


def _tiles(media: Sequence[Any], tiles: Tiles) -> Iterator[Tile]:
    for item in media:
        source = item.source
        if isinstance(source, bytes):
            yield tiles.of_bytes(item.modality.value, source)
        elif isinstance(source, str | os.PathLike):
            yield from tiles.of({item.modality.value: os.fspath(source)})
        else:
            yield Tile(item.modality.value, "", note=f"given as {type(source).__name__}")


def _html(title: str, system: str, turns: list[dict[str, Any]]) -> str:
    style = files(__package__).joinpath("pages", "dialog.css").read_text(encoding="utf-8")
    page = page_environment(str(__package__), _LONGEST).get_template("dialog.html")
    return page.render(title=title, system=system, turns=turns, style=style)


def _markdown(title: str, system: str, turns: list[dict[str, Any]]) -> str:
    lines = [f"# {_plain(title)}", ""]
    if system:
        lines += [f"*{_plain(system)}*", ""]
    for turn in turns:
        who = {"user": "You", "assistant": "Model"}.get(turn["role"], turn["role"].capitalize())
        lines += [line for tile in turn["tiles"] for line in (_shown(tile), "")]
        lines += [f"**{who}:** {_plain(turn['text'])}", ""]
    return "\n".join(lines)


def _shown(tile: Tile) -> str:
    name = _plain(tile.name)
    if tile.kind == "text":
        return f"> {name}"
    if tile.data and tile.kind == "audio":
        return f'<audio controls src="{tile.data}"></audio> {name}'
    if tile.data:
        return f"![{name}]({tile.data})"
    return f"*{tile.kind}* {name}" + (f" ({tile.note})" if tile.note else "")


def _plain(text: str) -> str:
    """Words as Markdown shows them unchanged, line by line."""
    return "  \n".join(text.translate(_MARKDOWN).splitlines())
