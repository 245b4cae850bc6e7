"""A server under thousands of mixed requests, some malformed, some cancelled: is any lost, does memory grow?

    python benchmarks/soak.py                       10,000 requests to nano, 32 at a time
    python benchmarks/soak.py --smoke               a model with random weights, 200 requests

One in twenty is malformed (another way each time), one in twenty is cancelled after a random time. All others
must be answered with 200, the malformed ones with a 400, and none with a 5xx. At the end no request may be
inside and no sequence running, and the memory of the last quarter at most 5 % above that of the second one.
"""

import argparse
import asyncio
import collections
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from http_client import Connection
from measuring import facts, load_after, print_table
from random_models import write_model
from serving import bodies, server

GROWTH = 1.05


def malformed(number: int, good: dict[str, Any]) -> bytes:
    """A request that must be refused."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    ways: list[Any] = [
        {**good, "temperature": "hot"},
        {**good, "messages": []},
        {**good, "messages": [{"role": "user", "content": [image]}]},
        {**good, "tools": [{"type": "function", "function": {"name": "no name"}}]},
        {**good, "max_tokens": -1},
        {**good, "nonsense": 1},
        {**good, "messages": [{"role": "king", "content": "x"}]},
        {**good, "messages": [{"role": "user", "content": [{"type": "image", "image": "/etc/passwd"}]}]},
        {**good, "messages": [{"role": "user", "content": "long " * 5000}]},
    ]
    texts = [json.dumps(way).encode() for way in ways]
    texts += [b"{", b"[" * 100_000, b'{"messages": NaN}', b"\xff\xfe"]
    return texts[number % len(texts)]


async def soak(port: int, count: int, concurrency: int) -> dict[str, int]:
    """Send ``count`` requests; how many ended in which way."""
    good = bodies("nano", 64)
    rng = random.Random(0)
    found: collections.Counter[str] = collections.Counter()
    waiting = iter(range(count))
    began = time.monotonic()

    async def worker() -> None:
        connection = Connection("127.0.0.1", port)
        for number in waiting:
            body = {**good[number % len(good)], "stream": number % 2 == 0}
            if number % 20 == 7:
                reply = await connection.post("/v1/chat/completions", malformed(number // 20, body))
                error = json.loads(reply.body).get("error", {})
                found[
                    "refused" if reply.status == 400 and error.get("message") else f"BAD {reply.status}"
                ] += 1
            elif number % 20 == 13:
                asked = asyncio.create_task(
                    connection.post("/v1/chat/completions", json.dumps(body).encode())
                )
                await asyncio.wait({asked}, timeout=rng.uniform(0.0, 0.4))
                asked.cancel()
                await asyncio.gather(asked, return_exceptions=True)
                await connection.close()
                found["cancelled"] += 1
            else:
                reply = await connection.post("/v1/chat/completions", json.dumps(body).encode())
                whole = b"[DONE]" in reply.body if body["stream"] else b'"finish_reason"' in reply.body
                ok = reply.status == 200 and whole and b'"error"' not in reply.body
                found["answered" if ok else f"LOST {reply.status} {reply.body[:80]!r}"] += 1
            if number % max(1, count // 20) == 0:
                print(f"{number} of {count}, {time.monotonic() - began:.0f} s", file=sys.stderr)
        await connection.close()

    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return dict(found)


async def watch(process: psutil.Process, samples: list[float]) -> None:
    """The server's memory, twice a second."""
    while True:
        samples.append(process.memory_info().rss / 1e6)
        await asyncio.sleep(0.5)


async def inside(port: int) -> str:
    """What the server still counts after a while."""
    for _ in range(100):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        text = (await reader.read()).decode()
        writer.close()
        busy = [
            line
            for line in text.splitlines()
            if line.startswith(("imagebind_llm_requests_inside", "imagebind_llm_sequences"))
            and not line.endswith(" 0.0")
        ]
        if not busy:
            return ""
        await asyncio.sleep(0.1)
    return ", ".join(busy)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = str(write_model(Path(folder) / "model", 16)) if given.smoke else "nano"
        count = 200 if given.smoke else given.requests
        with server(["--model", model]) as port:
            samples: list[float] = []

            async def run() -> tuple[dict[str, int], str]:
                (process,) = [child for child in psutil.Process().children() if "serve" in child.cmdline()]
                watching = asyncio.create_task(watch(process, samples))
                found = await soak(port, count, given.concurrency)
                watching.cancel()
                return found, await inside(port)

            found, left = asyncio.run(run())
    print(facts(f"{count} requests, {given.concurrency} at a time"))
    print_table(
        ["what became of it", "requests"], [[name, str(number)] for name, number in sorted(found.items())]
    )
    quarter = max(1, len(samples) // 4)
    second, last = max(samples[quarter : 2 * quarter] or samples), max(samples[-quarter:])
    grown = f"{second:.0f} MB, of the last {last:.0f} MB: {last / second:.3f} x"
    print(f"memory of the second quarter at most {grown}")
    print(f"left inside: {left or 'nothing'}")
    print(load_after())
    wrong = [name for name in found if name not in ("answered", "refused", "cancelled")]
    if wrong or left or (last > GROWTH * second and not given.smoke):
        raise SystemExit("the server did not hold")


if __name__ == "__main__":
    main()
