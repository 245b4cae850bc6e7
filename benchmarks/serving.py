"""What continuous batching is worth: a server under load, against the same server that answers one at a time.

    python benchmarks/serving.py                         the bundled nano model, mixed media
    python benchmarks/serving.py --size base             random weights of about 100 million, 64 tokens each
    python benchmarks/serving.py --vllm .venv-vllm/bin/python    the same against vLLM
    python benchmarks/serving.py --smoke                 a model with random weights, a few requests

Every way is a server process of its own (``imagebind-llm serve``) with the same weights; a client in this
process keeps a number of requests under way. Servers take turns. Greedy answers are compared with
``Assistant.ask``, and seeded ones with those of a server that has nothing else to do; one that differs ends
the run with an error. Media are sent anew with each request; those that a server has seen it does not embed
again, in all ways alike.
"""

import argparse
import asyncio
import base64
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from http_client import Connection, Reply
from measuring import ROOT, facts, load_after, print_table, verdict
from random_models import write_model

TARGET = {"nano": 4.0, "base": 6.0}
NEW_TOKENS = 64
"""Of a model with random weights, which never ends by itself."""
QUESTIONS = ("What is this?", "Describe it.", "这是什么？", "What do you perceive here?")
KINDS = {
    ".jpg": "image",
    ".png": "image",
    ".wav": "audio",
    ".flac": "audio",
    ".ply": "point",
    ".mp4": "video",
}


@dataclass(frozen=True)
class Load:
    """What a server did under load.

    Attributes:
        seconds: of the whole.
        tokens: written.
        first: seconds to the first piece of each request.
        between: seconds between pieces.
        answers: by the number of the request.
    """

    seconds: float
    tokens: int
    first: list[float]
    between: list[float]
    answers: dict[int, str]


@contextmanager
def server(arguments: Sequence[str]) -> Iterator[int]:
    """A server process; gives its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "imagebind_llm", "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        found = re.search(r":(\d+)/", process.stdout.readline())
        if found is None:
            raise SystemExit(f"the server did not start: {' '.join(arguments)}")
        asyncio.run(_until_ready(int(found[1])))
        yield int(found[1])
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


async def _until_ready(port: int) -> None:
    for _ in range(1200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise SystemExit("the server did not start within a minute")


def bodies(size: str, count: int) -> list[dict[str, Any]]:
    """Requests: media in turn, text alone, other temperatures and seeds."""
    media = [
        {"type": kind, kind: {"data": base64.b64encode(path.read_bytes()).decode()}}
        for path in sorted((ROOT / "examples" / "inputs").iterdir())
        if (kind := KINDS.get(path.suffix)) and "noise" not in path.name and path.stat().st_size < 40_000
    ]
    found = []
    for number in range(count):
        parts: list[dict[str, Any]] = [{"type": "text", "text": QUESTIONS[number % len(QUESTIONS)]}]
        if size == "nano" and number % 6:
            parts.insert(0, media[number % len(media)])
        body: dict[str, Any] = {"messages": [{"role": "user", "content": parts}], "stream": True}
        if number % 4 == 3:
            body |= {"temperature": 0.7, "top_p": 0.9, "seed": number}
        if size != "nano":
            body |= {"max_completion_tokens": NEW_TOKENS}
        found.append(body)
    return found


async def load(port: int, requests: Sequence[bytes], concurrency: int) -> Load:
    """Keep ``concurrency`` requests under way until all are answered."""
    waiting = iter(enumerate(requests))
    replies: dict[int, Reply] = {}

    async def worker() -> None:
        connection = Connection("127.0.0.1", port)
        for number, body in waiting:
            replies[number] = await connection.post("/v1/chat/completions", body)
            if replies[number].status != 200:
                raise SystemExit(f"request {number}: {replies[number].body[:300].decode()}")
        await connection.close()

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    seconds = time.perf_counter() - started
    texts, tokens = {}, 0
    for number, reply in replies.items():
        texts[number], new = _read(reply.body)
        tokens += new
    times = [reply.times for reply in replies.values()]
    return Load(
        seconds,
        tokens,
        [each[1] for each in times],  # the first event carries no text
        [gap for each in times for gap in np.diff(each[1:-1])],
        texts,
    )


def _read(body: bytes) -> tuple[str, int]:
    """The text of a stream, and how many tokens it says it has."""
    text, tokens = "", 0
    for line in body.decode().split("\n"):
        if not line.startswith("data: {"):
            continue
        event = json.loads(line[6:])
        if "error" in event:
            raise SystemExit(f"a stream ended with an error: {event['error']['message']}")
        text += "".join(choice["delta"].get("content", "") for choice in event["choices"])
        tokens += (event.get("usage") or {}).get("completion_tokens", 0)
    return text, tokens


def check(model: str, requests: Sequence[dict[str, Any]], found: Load, alone: Load) -> str:
    """Compare with ``Assistant.ask`` and with a server that had one request at a time."""
    from imagebind_llm import Assistant, Request

    bot = Assistant.from_pretrained(model, device="cpu")
    greedy = [number for number, body in enumerate(requests) if "seed" not in body]
    asked = []
    for number in greedy:
        parts = [
            part if part["type"] == "text" else {"type": part["type"], "base64": part[part["type"]]["data"]}
            for part in requests[number]["messages"][0]["content"]
        ]
        most = requests[number].get("max_completion_tokens")
        asked.append(Request.make(messages=[{"role": "user", "content": parts}], max_new_tokens=most))
    answers = [str(answer) for answer in bot.ask_batch(asked)]
    same = sum(found.answers[number] == text for number, text in zip(greedy, answers, strict=True))
    seeded = [number for number in range(len(requests)) if number not in greedy]
    stable = sum(found.answers[number] == alone.answers[number] for number in seeded)
    words = (
        f"greedy answers as Assistant.ask: {same} of {len(greedy)}; "
        f"seeded ones as when alone: {stable} of {len(seeded)}"
    )
    if same < len(greedy) or stable < len(seeded):
        raise SystemExit(f"answers depend on the load: {words}")
    return words


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=("nano", "base"), default="nano")
    parser.add_argument("--requests", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--vllm", metavar="PYTHON", help="Python of an environment with vLLM")
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    if given.smoke:
        given.requests, given.rounds, given.concurrency = 8, 1, [1, 4]
    with tempfile.TemporaryDirectory() as folder:
        if given.size == "nano" and not given.smoke:
            run("nano", given)
        else:
            size = "nano" if given.smoke else given.size
            run(str(write_model(Path(folder) / "model", NEW_TOKENS, size)), given)


def run(model: str, given: Any) -> None:
    """All ways, and the tables."""
    requests = bodies("base" if given.smoke else given.size, given.requests)
    sent = [json.dumps({**body, "stream_options": {"include_usage": True}}).encode() for body in requests]
    ways = {"one at a time": ["--batch-size", "1"], "continuous batching": ["--batch-size", "32"]}
    if given.vllm:
        ways["vLLM"] = ["--engine", "vllm", "--vllm-python", given.vllm]
    found: dict[tuple[str, int], list[Load]] = {}
    for number in range(given.rounds):
        for way, arguments in ways.items():
            with server(["--model", model, *arguments]) as port:
                asyncio.run(load(port, sent[:8], 4))  # warm
                for concurrency in given.concurrency:
                    if way == "one at a time" and concurrency not in (1, 32, given.concurrency[-1]):
                        continue
                    some = sent[: max(8, len(sent) // 4)] if concurrency == 1 else sent
                    found.setdefault((way, concurrency), []).append(
                        asyncio.run(load(port, some, concurrency))
                    )
        print(f"round {number + 1} of {given.rounds}", file=sys.stderr)
    print(facts(f"model {given.size}; {len(sent)} requests of mixed media, {given.rounds} rounds"))
    rows = []
    for (way, concurrency), loads in found.items():
        first = np.concatenate([each.first for each in loads]) * 1e3
        between = np.concatenate([each.between for each in loads]) * 1e3
        rows.append([
            way, str(concurrency),
            f"{np.median([len(each.answers) / each.seconds for each in loads]):.1f}",
            f"{np.median([each.tokens / each.seconds for each in loads]):.0f}",
            *(f"{value:.0f}" for value in np.percentile(first, [50, 99])),
            *(f"{value:.1f}" for value in np.percentile(between, [50, 99])),
        ])  # fmt: skip
    print_table(
        [
            "way",
            "concurrency",
            "requests/s",
            "tokens/s",
            "first token p50 ms",
            "p99",
            "between tokens p50 ms",
            "p99",
        ],
        rows,
    )
    most = 32 if 32 in given.concurrency else given.concurrency[-1]
    ratios = [
        alone.seconds / batched.seconds
        for alone, batched in zip(
            found["one at a time", most], found["continuous batching", most], strict=True
        )
    ]
    ratio = float(np.median(ratios))
    target = verdict(ratio, TARGET[given.size], at_most=False)
    print(f"throughput at {most}, batched / one at a time: {ratio:.2f} x; {target}")
    print(check(model, requests, found["continuous batching", most][0], found["one at a time", most][0]))
    print(load_after())


if __name__ == "__main__":
    main()
