"""A small client for HTTP/1.1 that takes little of the CPU it shares with the server it measures."""

import asyncio
import time
from dataclasses import dataclass, field


@dataclass
class Reply:
    """What came back, and when (seconds after the request was sent).

    Attributes:
        status: of HTTP.
        body: all of it.
        times: when each piece of the body came.
        seconds: when it was complete.
    """

    status: int
    body: bytes = b""
    times: list[float] = field(default_factory=list)
    seconds: float = 0.0


class Connection:
    """One connection that is kept open. Use it from one task at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes) -> Reply:
        """Send JSON and read the answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        started = time.perf_counter()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._address[0]}:{self._address[1]}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        reply = Reply(int(lines[0].split()[1]))
        if "content-length" in headers:
            reply.body = await reader.readexactly(int(headers["content-length"]))
        else:
            parts = []
            while size := int(await reader.readline(), 16):
                parts.append((await reader.readexactly(size + 2))[:-2])
                reply.times.append(time.perf_counter() - started)
            await reader.readline()
            reply.body = b"".join(parts)
        reply.seconds = time.perf_counter() - started
        return reply

    async def close(self) -> None:
        """Close it, if it was opened."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
