"""``file:`` addresses: paths of this machine, written as an address."""

import os
import re
from urllib.parse import unquote_to_bytes
from urllib.request import url2pathname

_FILE = re.compile(r"file:", re.IGNORECASE)
_LOCAL = ("", "localhost")


def is_file_url(text: str) -> bool:
    """Whether ``text`` is an address of a file here."""
    return bool(_FILE.match(text))


def path_of_file_url(text: str) -> str:
    """The path that a ``file:`` address names; ``%20`` and the like are the bytes that they stand for.

    Raises:
        ValueError: it names another machine, no absolute path, or has a query or fragment.
    """
    rest = _FILE.sub("", text, count=1)
    host, slash, path = rest[2:].partition("/") if rest.startswith("//") else ("", rest[:1], rest[1:])
    if host.lower() not in _LOCAL or slash != "/":
        raise ValueError(f"the address {text!r} names no file of this machine; write file:///PATH")
    if "?" in path or "#" in path:
        raise ValueError(f"the address {text!r} has a ? or #; write %3F and %23 where a name holds them")
    whole = os.fsdecode(unquote_to_bytes("/" + path))
    if "\0" in whole:
        raise ValueError(f"the address {text!r} holds a zero byte")
    return whole if os.name == "posix" else url2pathname(whole)
