"""Peak memory while a generated stream of pictures, many times larger than the memory allowed, goes through.

    python benchmarks/stream_memory.py                       # read and decode
    python benchmarks/stream_memory.py --through embed       # and embed with nano's encoder

The process is forbidden more than ``--allowed`` megabytes of data beyond what it has after start-up
(RLIMIT_DATA), so a version that keeps what it has read fails with a MemoryError instead of printing a larger
number.
"""

import argparse
import io
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from imagebind_llm.common.errors import BadSample
from imagebind_llm.data.mixture import SourceMixture
from imagebind_llm.data.sources.base import Record
from imagebind_llm.data.sources.captions import caption_record

SIDE = 600
"""Of a picture, pixels; as BMP it is a megabyte, and decoding it costs little beside reading it."""


class GeneratedStream:
    """A stream of ``count`` pictures, made one by one, each different, one in a hundred broken."""

    name = "generated"
    fingerprint = "generated"

    def __init__(self, count: int) -> None:
        self.count = count
        pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format="BMP")
        self._picture = file.getvalue()

    @property
    def bytes(self) -> int:
        """Of one picture."""
        return len(self._picture)

    def stream(self, start: int = 0) -> Iterator[Record | BadSample]:
        """See :class:`~imagebind_llm.data.sources.base.StreamingSource`."""
        for number in range(start, self.count):
            if number % 100 == 50:
                yield BadSample(f"stream:{number}", "broken on purpose")
                continue
            head, tail = self._picture[:1000], self._picture[1008:]
            picture = head + number.to_bytes(8, "little") + tail
            yield caption_record(f"stream:{number}", self.name, picture, f"picture {number}", "What is it?")


def resident() -> float:
    """Largest resident memory so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def through_mixture(source: GeneratedStream) -> int:
    """Read and decode everything; the number of good samples."""
    return sum(1 for _ in SourceMixture([source], [1.0]).iterate())


def through_embedding(source: GeneratedStream) -> int:
    """Embed everything with nano's encoder; the number of good samples."""
    from imagebind_llm.data.embed import run
    from imagebind_llm.data.embed.shard import Job
    from imagebind_llm.data.sources import SourceSettings

    class GeneratedJob(Job):
        def open(self, number: int) -> GeneratedStream:  # type: ignore[override]
            return source

    job = GeneratedJob((SourceSettings("folder", "generated"),), "nano", shard_rows=64, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        return run.embed_sources(job, Path(folder) / "out", progress=False).rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--through", choices=("read", "embed"), default="read")
    parser.add_argument("--allowed", type=int, default=1024, help="megabytes of data beyond start-up")
    parser.add_argument("--times", type=int, default=20, help="how many times that is streamed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    work = through_mixture if options.through == "read" else through_embedding
    size = GeneratedStream(1).bytes
    work(GeneratedStream(200))  # libraries, models and allocators have what they need from here on
    started = resident()
    data = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line)
    limit = int(data.split()[1]) * 1024 + options.allowed * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    rows = []
    for times in sorted({1, max(1, options.times // 4), options.times}):
        count = times * options.allowed * 2**20 // size
        begin = time.perf_counter()
        good = work(GeneratedStream(count))
        seconds = time.perf_counter() - begin
        rows.append(
            {
                "times": times,
                "gigabytes": round(count * size / 1e9, 2),
                "samples": count,
                "good": good,
                "peak_mb": round(resident(), 1),
                "growth_mb": round(resident() - started, 1),
                "samples_per_second": round(count / seconds, 1),
            }
        )
        if not options.json:
            print(json.dumps(rows[-1]), file=sys.stderr)
    if options.json:
        print(json.dumps({"allowed_mb": options.allowed, "through": options.through, "runs": rows}))


if __name__ == "__main__":
    main()
