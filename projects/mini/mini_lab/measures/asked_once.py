"""A process that loads a model, asks one question a few times, and says what it took, as one line of JSON.

It is started by :mod:`mini_lab.measures.cost`, so that the peak of its memory is that of one question::

    python -m mini_lab.measures.asked_once MODEL --question "What is this?" --image cat.jpg --quantize int8
"""

import argparse
import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError

_ROUNDS = 5
_LONGEST = 32


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m mini_lab.measures.asked_once", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--question", required=True)
    parser.add_argument("--quantize", default=None)
    for modality in ("image", "audio", "point", "text"):
        parser.add_argument(f"--{modality}", default=None)
    given = parser.parse_args()
    try:
        found = measured(given)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """Seconds to load; of the first question, and the median of five more, seconds to the first token and to
    the last; tokens of the answer; and the process's largest memory in bytes."""
    started = time.perf_counter()
    from imagebind_llm.inference.assistant import Assistant

    bot = Assistant.from_pretrained(given.model, device="cpu", dtype="float32", quantization=given.quantize)
    loaded = time.perf_counter() - started
    media = {name: getattr(given, name) for name in ("image", "audio", "point", "text")}
    media = {name: source for name, source in media.items() if source is not None}
    rounds = []
    for _ in range(_ROUNDS + 1):
        bot.pipeline.perception.renew()  # what is remembered of a file is no part of a question
        start, first = time.perf_counter(), 0.0
        stream = bot.stream(given.question, **media, max_new_tokens=_LONGEST)
        for _ in stream:
            first = first or time.perf_counter() - start
        assert stream.answer is not None, "the stream was read to its end"
        rounds.append((first, time.perf_counter() - start, stream.answer.new_tokens))
    return {
        "load": loaded,
        "first_question": rounds[0][1],
        "first_token": statistics.median(one[0] for one in rounds[1:]),
        "answer": statistics.median(one[1] for one in rounds[1:]),
        "tokens": rounds[-1][2],
        "peak_bytes": _peak(),
    }


def _peak() -> int:
    """Bytes. On Linux not ``ru_maxrss``, which a process inherits from the one that started it."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise UserError("this system does not tell a process its peak memory (VmHWM); use Linux")


if __name__ == "__main__":
    sys.exit(main())
