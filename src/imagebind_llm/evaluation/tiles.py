"""Media inside of a page: small pictures and short sounds as data, all else by name."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import gigabytes

SIDE = 320
"""Pixels of the longer side of a picture."""
LARGEST_SOUND = 2**20
MOST = 11 * 2**20
"""Characters of data in one page."""
_SOUNDS = {
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
}
_MARKS = {b"RIFF": "audio/wav", b"fLaC": "audio/flac", b"OggS": "audio/ogg", b"ID3": "audio/mpeg"}
"""How the bytes of a sound begin."""


@dataclass(frozen=True)
class Tile:
    """One medium.

    Attributes:
        kind: its modality.
        name: of its file, or the text itself.
        data: ``data:`` address of a picture or a sound, if it is in the page.
        note: why it is not, if it could be.
    """

    kind: str
    name: str
    data: str = ""
    note: str = ""


class Tiles:
    """The media of one page, which together take no more than ``most`` characters.

    Args:
        contents: of media that were given as bytes, by their SHA-256.
        most: characters.
    """

    def __init__(self, contents: Mapping[str, bytes] | None = None, most: int = MOST) -> None:
        self._contents, self._left = contents or {}, most
        self._found: dict[tuple[str, str], Tile] = {}

    def of(self, request: Mapping[str, Any]) -> list[Tile]:
        """The media of a request, as it is recorded."""
        return [self._tile(kind, source) for kind, source in sources(request)]

    def of_bytes(self, kind: str, content: bytes) -> Tile:
        """A medium that was given as bytes."""
        return self._fitting(_of_bytes(kind, content))

    def _tile(self, kind: str, source: Any) -> Tile:
        if kind == "text":
            return Tile(kind, str(source))
        digest = source.get("sha256") if isinstance(source, dict) else None
        content = self._contents.get(str(digest))
        if content is None and not isinstance(source, str):
            return Tile(kind, "", note="given as data, which are not kept")
        key = (kind, str(digest or source))
        if key not in self._found:
            self._found[key] = _read(kind, source) if content is None else _of_bytes(kind, content)
        return self._fitting(self._found[key])

    def _fitting(self, tile: Tile) -> Tile:
        if len(tile.data) > self._left:
            return Tile(tile.kind, tile.name, note="left out, to keep this page small")
        self._left -= len(tile.data)
        return tile


def sources(request: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Modality and source of each medium of a request, as JSON holds it: ``source``, ``[source, weight]``, or
    a list of these."""
    from imagebind_llm.common.modality import Modality

    for name, value in request.items():
        try:
            kind = Modality.parse(name).value
        except UserError:
            continue  # the question, or an option
        several = value if isinstance(value, list) and not _is_pair(value) else [value]
        for entry in several:
            yield kind, entry[0] if _is_pair(entry) else entry


def _is_pair(value: Any) -> bool:
    """Whether it is a source with its weight."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[1], int | float)
        and not isinstance(value[0], int | float)
    )


def _read(kind: str, source: str) -> Tile:
    from imagebind_llm.model.messages import local_source

    name = Path(source).name
    try:
        path = Path(local_source(source, kind))
        if not path.is_file():
            return Tile(kind, name, note="the file is no longer there")
        if kind in ("image", "thermal"):
            return Tile(kind, name, _picture(str(path)))
        if kind == "audio" and path.suffix.lower() in _SOUNDS:
            size = path.stat().st_size
            if size > LARGEST_SOUND:
                return Tile(kind, name, note=f"{gigabytes(size)}, too large for this page")
            return Tile(kind, name, _address(_SOUNDS[path.suffix.lower()], path.read_bytes()))
    except (UserError, OSError, ValueError):
        return Tile(kind, name, note="cannot be shown here")
    return Tile(kind, name)


def _of_bytes(kind: str, content: bytes) -> Tile:
    try:
        if kind in ("image", "thermal"):
            return Tile(kind, "", _picture(content))
        sound = next((mime for mark, mime in _MARKS.items() if content.startswith(mark)), None)
        if kind == "audio" and sound is not None and len(content) <= LARGEST_SOUND:
            return Tile(kind, "", _address(sound, content))
    except (UserError, OSError, ValueError):
        return Tile(kind, "", note="cannot be shown here")
    return Tile(kind, "", note="given as data")


def _picture(source: str | bytes) -> str:
    from imagebind_llm.data.clean.rules import thumbnail
    from imagebind_llm.media.base import Limits
    from imagebind_llm.media.image import read_image, to_rgb

    return _address("image/jpeg", thumbnail(to_rgb(read_image(source, Limits()), "white"), SIDE))


def _address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
