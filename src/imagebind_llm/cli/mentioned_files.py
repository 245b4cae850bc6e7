"""Files that stand in what somebody says to the model: typed, pasted, or dropped on the terminal.

A path is found where it begins a word: quoted, with backslashes before spaces, with ``~``, or as a ``file:``
URL; one that begins with ``/``, ``~/``, ``./`` or ``../`` also with bare spaces in it. Files that exist are
looked for first, the longest name first. What is left is then searched for words that look like the path of a
file that is not there. ``and/or``, ``24/7``, commands and addresses of the web are words, and so is a bare
name that does not end as files of media do.
"""

import os
import re
import shlex
from contextlib import suppress
from dataclasses import dataclass

from imagebind_llm.common.errors import UserError
from imagebind_llm.model.messages import path_of_url

_LONGEST = 4096
"""Characters of a line in which files are looked for; a path has no more, on Linux."""
_PICTURES = "png apng jpg jpeg webp gif bmp tif tiff avif heic heif svg"
_RECORDINGS = "mp4 m4v mov mkv webm avi mpg mpeg 3gp wmv flv wav flac ogg oga opus mp3 m4a aac aif aiff"
_NUMBERS = "npy npz csv tsv ply pcd glb obj stl"
_SUFFIXES = frozenset(f"{_PICTURES} {_RECORDINGS} {_NUMBERS}".split())
"""Of files that hold media; a name that ends so is meant for one."""
_MOST = 20_000
"""Names that are looked for in a line at most; those of 140 characters are all looked for."""
_READING = 50
"""What looking at one place costs at least, in names."""
_ENDED = re.compile(rf"\.(?:{'|'.join(sorted(_SUFFIXES, key=len, reverse=True))})(?![A-Za-z0-9_])", re.I)
_SITE = re.compile(r"(?:www\.|(?:[a-z0-9-]+\.)+(?:com|org|net|edu|gov|info|io|dev|ai|cn|de|uk|fr|jp)/)", re.I)
_ADDRESS = re.compile(r"(?<![a-z0-9])(?:(?!file:)[a-z][a-z0-9+.-]*://|data:)\S+", re.I)
_FILE_URL = re.compile(r"file:[^\s'\"<>]+", re.I)
_ROOTED = re.compile(r"(?:~|\.{1,2})?/|[A-Za-z]:[\\/]")
_SHELL_WORD = re.compile(r"(?:'[^']*'|\"(?:\\.|[^\"\\])*\"|\\.|[^\s'\"\\])+")
_WEIGHT = re.compile(r"@(-?\d+(?:\.\d+)?)(?![\w.@]*\w)")
_CHINESE = r"\u3400-\u9fff\uf900-\ufaff"
_OPENING = r"(\[{<\"'“‘«「『《【（，。？！：；、"
_START = re.compile(rf"(?:^|(?<=[\s{re.escape(_OPENING)}{_CHINESE}]))(?=\S)")
_INSIDE = re.compile(r"[A-Za-z0-9_/\\-]")
"""Characters between which no path ends, whether or not there is a dot."""
_CLOSING = "?!.,;:)]}>\"'”’»」』》】）？！。，；：、…"
_PAUSE = ".?!:;,。？！：；，、"


@dataclass(frozen=True)
class Found:
    """A file in a line.

    Attributes:
        path: of the file.
        start: where it stands in the line.
        end: where what is after it begins.
        weight: of ``@WEIGHT`` after it, or 1.
    """

    path: str
    start: int
    end: int
    weight: float = 1.0


@dataclass(frozen=True)
class Mentioned:
    """What a line holds.

    Attributes:
        files: that exist, in their order.
        missing: what looks like the path of a file that does not.
    """

    files: tuple[Found, ...] = ()
    missing: tuple[Found, ...] = ()

    def rest(self, line: str) -> str:
        """What else the line holds."""
        return _blanked(line, [(one.start, one.end) for one in (*self.files, *self.missing)])


def mentioned_files(line: str) -> Mentioned:
    """The files that ``line`` speaks of. One of more than 4,096 characters is only words."""
    if len(line) > _LONGEST:
        return Mentioned()
    if whole := _whole(line):
        return Mentioned((whole,))
    files: list[Found] = []
    web = [match.span() for match in _ADDRESS.finditer(line)]
    at, left = 0, _MOST
    for match in _START.finditer(line):
        start = match.start()
        if start < at or left <= 0 or any(first <= start < last for first, last in web):
            continue
        ends = _ends(line, start)[:left]
        left -= len(ends) + _READING
        found = _file_at(line, start, ends)
        if found is not None:
            files.append(found)
            at = found.end
        elif (
            line[start] in "'\""
            and (name := _SHELL_WORD.match(line, start))
            and _looks_like_one(_plain(name[0]))
        ):
            at = name.end()  # what is inside of a name is no name
    rest = _blanked(line, [*((one.start, one.end) for one in files), *web])
    return Mentioned(tuple(files), tuple(_missing(rest)))


def _blanked(line: str, spans: list[tuple[int, int]]) -> str:
    for first, last in spans:
        line = line[:first] + " " * (last - first) + line[last:]
    return line


def words_without(line: str, files: tuple[Found, ...]) -> str:
    """``line`` with its files taken out.

    One at its beginning, or after a pause, leaves nothing; another is something that is spoken of, and leaves
    ``this`` or, in Chinese, ``这个``.
    """
    words = _blanked(line, [(one.start, one.end) for one in files])
    word = "这个" if re.search(f"[{_CHINESE}]", words) else "this"
    text, at = "", 0
    for one in files:
        text += line[at : one.start]
        before = text.rstrip()
        text = text if not before or before[-1] in _PAUSE else text + word
        at = one.end
    left = " ".join((text + line[at:]).split())
    return left.lstrip(_PAUSE + " ") if files and files[0].start == 0 else left if files else line


def _whole(line: str) -> Found | None:
    """The line as one file."""
    text, weight = _weighed(line.strip())
    for candidate in _readings(text):
        if _is_file(candidate):
            return Found(candidate, 0, len(line), weight)
    return None


def _weighed(text: str) -> tuple[str, float]:
    """A path and its weight, where one stands at the end and is no part of a name."""
    match = _WEIGHT.search(text)
    if match is None or match.end() != len(text) or os.path.exists(text):
        return text, 1.0
    return text[: match.start()], float(match[1])


def _readings(text: str) -> list[str]:
    """What ``text`` may be the path of: as it stands, and as a shell or a browser reads it."""
    found = [text, os.path.expanduser(text)]
    with_quotes = any(sign in text for sign in "'\"\\") and os.name != "nt"
    if with_quotes:
        try:
            parts = shlex.split(text)
        except ValueError:  # an apostrophe, say
            parts = []
        if len(parts) == 1:
            found += [parts[0], os.path.expanduser(parts[0])]
    url = found[-1] if with_quotes else text
    if url[:7].lower() == "file://":
        with suppress(UserError):
            found.append(path_of_url(url, "path"))
    return found


def _file_at(line: str, start: int, ends: list[int]) -> Found | None:
    """The file whose path begins at ``start`` and ends at one of ``ends``, if there is one."""
    for end in ends:
        last, after = line[end - 1], line[end : end + 2].removeprefix(".")
        if last.isspace() or (after and _INSIDE.match(last) and _INSIDE.match(after)):
            continue
        for candidate in _readings(line[start:end]):
            if _is_file(candidate):
                weight = _WEIGHT.match(line, end)
                if weight is None:
                    return Found(candidate, start, end)
                return Found(candidate, start, weight.end(), float(weight[1]))
    return None


def _ends(line: str, start: int) -> list[int]:
    """Where a path that begins at ``start`` may end, the last place first."""
    most = min(len(line), start + _LONGEST)
    word = re.compile(r"\S+").match(line, start)
    assert word is not None, "a word begins there"
    shell = _SHELL_WORD.match(line, start)
    found: set[int] = set()
    if _ROOTED.match(line, start):
        found |= set(range(start + 1, most + 1))
    elif _FILE_URL.match(line, start):
        found |= set(range(start + 1, min(most, word.end()) + 1))
    else:
        found |= {match.end() for match in _ENDED.finditer(line, start, min(most, word.end()))}
    if shell is not None and any(sign in shell[0] for sign in "'\"\\"):
        found |= {shell.end(), start + len(shell[0].rstrip(_CLOSING))} | (
            {start + 2 + at for at in (line[start + 1 : most].find(line[start]),) if at > 0}
            if line[start] in "'\""
            else set()
        )
    return sorted((end for end in found if end > start), reverse=True)


def _is_file(path: str) -> bool:
    """Whether there is a file, and the path does not look like a word."""
    try:
        return ("/" in path or os.sep in path or _looks_like_one(path)) and os.path.isfile(path)
    except ValueError:  # a null character
        return False


def _missing(text: str) -> list[Found]:
    """Words of ``text`` that look like paths of media."""
    found = []
    at = 0
    for match in re.finditer(r"\S+", text):
        start = match.start()
        if start < at:
            continue
        token = match[0]
        word = _SHELL_WORD.match(text, start)
        if word is not None and (word[0][0] in "'\"" or "\\ " in word[0]):
            token = word[0]
        at = start + len(token)
        path = _plain(token)
        if not path or _SITE.match(path):
            continue
        if _looks_like_one(path) or path[:7].lower() == "file://":
            found.append(Found(path, start, at))
        elif _in_a_known_folder(path):
            longer = _spaced(text, start)
            if longer is not None:
                at = longer
                path = text[start:at]
            found.append(Found(path, start, at))
    return found


def _spaced(text: str, start: int) -> int | None:
    """Where a path with bare spaces in it ends, by its suffix, before another one begins."""
    match = _ENDED.search(text, start)
    if match is None or re.search(r"\s(?:~|\.{1,2})?/", text[start : match.end()]):
        return None
    return match.end()


def _plain(token: str) -> str:
    """A word without what stands around it."""
    bare = _WEIGHT.sub("", token.strip().lstrip(_OPENING + "'").rstrip(_CLOSING))
    try:
        parts = shlex.split(bare) if "\\ " in bare and os.name != "nt" else [bare]
    except ValueError:
        parts = [bare]
    return parts[0] if len(parts) == 1 else bare


def _looks_like_one(path: str) -> bool:
    """Whether a path ends as files of media do."""
    stem, dot, suffix = os.path.basename(path).rpartition(".")
    return bool(dot and stem) and suffix.lower() in _SUFFIXES


def _in_a_known_folder(path: str) -> bool:
    """Whether a path from the root, or from here, begins with a folder that there is."""
    if not _ROOTED.match(path):
        return False
    parts = [part for part in os.path.expanduser(path).split("/") if part]
    if len(parts) < 2:
        return False
    if path.startswith("."):
        return True
    return os.path.isdir("/" + parts[0])
