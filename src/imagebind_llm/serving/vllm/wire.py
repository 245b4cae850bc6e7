"""Frames on the sockets between a server and its engine: a JSON header and raw bytes. Nothing is unpickled.

The two sockets are a pair that the server makes and of which the engine inherits one. They have no name that
another process could connect to, so that there is no key to keep. Either side sees the other's end at once.
"""

import asyncio
import json
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

_SIZES = struct.Struct("<4sIQ")
_MAGIC = b"IBv1"
MOST_HEADER = 2**28
MOST_BYTES = 2**34


class WireError(RuntimeError):
    """Bytes that are no frame of ours."""


@dataclass(frozen=True)
class Frame:
    """One message.

    Attributes:
        header: numbers, text, lists and mappings of these.
        data: raw bytes, such as a table of deltas.
    """

    header: dict[str, Any]
    data: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """As it travels."""
        text = json.dumps(self.header, separators=(",", ":")).encode()
        return _SIZES.pack(_MAGIC, len(text), len(self.data)) + text + self.data


def _sizes(head: bytes) -> tuple[int, int]:
    magic, header, data = _SIZES.unpack(head)
    if magic != _MAGIC or header > MOST_HEADER or data > MOST_BYTES:
        raise WireError("the other side does not speak as this one does; update both")
    return header, data


def _frame(text: bytes, data: bytes) -> Frame:
    try:
        header = json.loads(text)
    except ValueError:
        raise WireError("a header is not JSON") from None
    if not isinstance(header, dict):
        raise WireError("a header is no mapping")
    return Frame(header, data)


async def read_frame(reader: asyncio.StreamReader) -> Frame | None:
    """The next frame; None when the other side has ended.

    Raises:
        WireError: something else came.
    """
    try:
        header, data = _sizes(await reader.readexactly(_SIZES.size))
        return _frame(await reader.readexactly(header), await reader.readexactly(data))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def receive(connection: socket.socket) -> Frame | None:
    """As :func:`read_frame`, waiting in this thread."""
    head = _exactly(connection, _SIZES.size)
    if head is None:
        return None
    header, data = _sizes(head)
    text = _exactly(connection, header)
    rest = _exactly(connection, data)
    return None if text is None or rest is None else _frame(text, rest)


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    found = bytearray(size)
    view, done = memoryview(found), 0
    while done < size:
        try:
            got = connection.recv_into(view[done:])
        except ConnectionError:
            return None
        if not got:
            return None
        done += got
    return bytes(found)
