"""A transcript: a dialog in a JSON file, its media beside it under the SHA-256 of their content.

``talk.json`` has the words; ``talk.media/`` has each medium once, named by its hash and by the suffix that it
had. The two may be moved together. What is read is compared with the hashes.
"""

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError, one_line, short
from imagebind_llm.common.files import atomic_write, load_json, sha256, write_json
from imagebind_llm.common.modality import Modality
from imagebind_llm.inference.chat import Chat
from imagebind_llm.model.messages import MediaItem, Message, read_messages, user_message

FORMAT = "imagebind-llm transcript"
SCHEMA = 1
_LONGEST_SUFFIX = 8


def save_transcript(
    history: Sequence[Message], path: str | os.PathLike[str], system: str | None = None
) -> list[Path]:
    """Write a dialog, so that :func:`load_transcript` can go on with it.

    Args:
        history: questions and answers in turn, as ``Chat.history`` gives them.
        path: of the file to write, which ends in ``.json``. One that is there is replaced if it is a
            transcript.
        system: the system message.

    Returns:
        The media that were written; those that were there already are left alone.

    Raises:
        UserError: a medium is an array, which is no file; a file is gone; or ``path`` is something else.
    """
    target = Path(path)
    if target.suffix.lower() != ".json":
        raise UserError(f"{str(target)!r} does not end in .json; a transcript is a JSON file, so name it so")
    if target.exists():
        _read(target)  # refuses what is no transcript
    contents: dict[str, tuple[str, Path | bytes]] = {}
    turns = []
    for number, turn in enumerate(read_messages(history) if history else []):
        media = [_recorded(item, contents, f"message {number}") for item in turn.media]
        turns.append({"role": turn.role, "text": turn.text} | ({"media": media} if media else {}))
    folder, written = media_folder(target), []
    for digest, (suffix, content) in contents.items():
        place = folder / f"{digest}{suffix}"
        if not place.is_file():
            with atomic_write(place) as temporary:
                temporary.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
            written.append(place)
    write_json(target, {"format": FORMAT, "schema": SCHEMA, "system": system, "turns": turns})
    return written


def load_transcript(path: str | os.PathLike[str]) -> tuple[list[Message], str | None]:
    """The history and the system message of a transcript.

    Raises:
        UserError: it is none, is damaged, or a medium is missing or another one than was written.
    """
    source = Path(path)
    values = _read(source)
    system, turns = values.get("system"), values["turns"]
    if system is not None and not isinstance(system, str):
        raise UserError(f"{str(source)!r}: 'system' is {short(system)}; expected a string or null")
    history: list[Message] = []
    for number, turn in enumerate(turns):
        where = f"{str(source)!r}, turn {number}"
        if not isinstance(turn, dict) or not isinstance(turn.get("text"), str) or "role" not in turn:
            raise UserError(f"{where} is {short(turn)}; expected an object with 'role' and 'text'")
        media = turn.get("media", [])
        if not isinstance(media, list):
            raise UserError(f"{where}: 'media' is {short(media)}; expected a list")
        items = [_found(one, media_folder(source), where) for one in media]
        if items or turn["role"] == "user":
            history.append({**user_message(turn["text"], items), "role": turn["role"]})
        else:
            history.append({"role": turn["role"], "content": turn["text"]})
    if history:
        read_messages(history)
    return history, system


def load_chat(bot: Any, path: str | os.PathLike[str], **options: Any) -> Chat:
    """The dialog of a transcript, to be gone on with.

    Args:
        bot: an :class:`~imagebind_llm.inference.assistant.Assistant`.
        path: of the transcript.
        options: of :meth:`~imagebind_llm.inference.assistant.Assistant.chat`; its own system message counts
            unless another is given.

    Raises:
        UserError: as :func:`load_transcript`.
    """
    chat: Chat = bot.chat(**options)
    history, system = load_transcript(path)
    chat.restore(history, system if chat.system is None else None)
    return chat


def media_folder(path: Path) -> Path:
    """Where the media of a transcript lie."""
    return path.with_suffix(".media")


def _recorded(item: MediaItem, contents: dict[str, tuple[str, Path | bytes]], where: str) -> dict[str, Any]:
    """A medium as the JSON file names it; its content goes to ``contents``.

    Raises:
        UserError: it is no file, or cannot be read.
    """
    entry: dict[str, Any] = {"type": item.modality.value}
    if item.weight != 1.0:
        entry["weight"] = item.weight
    if item.modality is Modality.TEXT:
        return entry | {"text": str(item.source)}
    source = item.source
    name, content = "", source
    if isinstance(source, str | os.PathLike):
        content = Path(source)
        name = content.name
        try:
            digest = sha256(content)
        except OSError as error:
            raise UserError(f"{where}: cannot keep {one_line(str(source))} ({error.strerror})") from None
    else:
        if not isinstance(source, bytes):
            content = _encoded(source, item.modality, where)
        digest = hashlib.sha256(content).hexdigest()
    suffix = Path(name).suffix.lower() if name else ""
    suffix = suffix if suffix[1:].isalnum() and len(suffix) <= _LONGEST_SUFFIX else ""
    # of two files of one content the first keeps its suffix, so that it lies there once
    suffix = contents.setdefault(digest, (suffix, content))[0]
    return entry | {"sha256": digest, "file": f"{digest}{suffix}"} | ({"name": name} if name else {})


def _encoded(source: Any, modality: Modality, where: str) -> bytes:
    """A picture of Pillow's as PNG, which loses nothing."""
    from PIL import Image

    if isinstance(source, Image.Image):
        buffer = io.BytesIO()
        source.save(buffer, "PNG")
        return buffer.getvalue()
    raise UserError(
        f"{where} has {modality.value} given as {type(source).__name__}, which is no file; a transcript "
        "keeps files, bytes, pictures and texts, so save it to a file and give that"
    )


def _read(path: Path) -> dict[str, Any]:
    """The object in a transcript.

    Raises:
        UserError: it is none.
    """
    try:
        values = load_json(path)
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r} ({error.strerror}); give a transcript") from None
    except ValueError as error:
        raise UserError(f"{str(path)!r} is no transcript ({error}); give one that was saved") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise UserError(f"{str(path)!r} is JSON, but no transcript; give another name")
    if values.get("schema") != SCHEMA:
        raise UserError(
            f"{str(path)!r} has schema {short(values.get('schema'))}; expected {SCHEMA}: it was written by "
            "another version"
        )
    if not isinstance(values.get("turns"), list):
        raise UserError(f"{str(path)!r}: 'turns' is {short(values.get('turns'))}; expected a list")
    return values


def _found(entry: Any, folder: Path, where: str) -> MediaItem:
    """A medium that a transcript names.

    Raises:
        UserError: the entry is malformed, or the file is gone or another one.
    """
    if not isinstance(entry, Mapping) or not isinstance(entry.get("type"), str):
        raise UserError(f"{where}: a medium is {short(entry)}; expected an object with 'type'")
    modality, weight = Modality.parse(entry["type"]), entry.get("weight", 1.0)
    if modality is Modality.TEXT:
        return MediaItem(modality, entry.get("text"), weight)
    name, digest = entry.get("file"), entry.get("sha256")
    if not isinstance(name, str) or Path(name).name != name or not isinstance(digest, str):
        raise UserError(f"{where}: a medium names {short(name)}; expected a file in {folder.name}")
    place = folder / name
    if not place.is_file():
        raise UserError(f"{where}: there is no {str(place)!r}; put {folder.name} beside the transcript")
    if sha256(place) != digest:
        raise UserError(f"{where}: {str(place)!r} is not what was saved, by its SHA-256")
    return MediaItem(modality, str(place), weight)
