"""Memory does not grow with the data: twenty times as much of a generated stream, the same peak."""

import sys
import tracemalloc
from pathlib import Path

import psutil
from support import embed_samples

from imagebind_llm.data.mixture import SourceMixture
from imagebind_llm.data.sources import SourceSettings, open_source

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import stream_memory


def megabytes():
    return psutil.Process().memory_info().rss / 2**20


def test_reading_a_stream_keeps_nothing():
    def run(count):
        highest = 0
        for number, _ in enumerate(SourceMixture([stream_memory.GeneratedStream(count)], [1]).iterate()):
            if number % 10 == 0:
                highest = max(highest, megabytes())
        return highest

    run(20)
    once = run(20)
    assert run(400) < once + 60  # 400 pictures are 430 MB, and as much again once decoded


def test_embedding_a_stream_keeps_nothing(tmp_path, monkeypatch):
    from imagebind_llm.data.embed.executors import in_this_process
    from imagebind_llm.data.embed.run import embed_sources
    from imagebind_llm.data.embed.shard import Job

    job = embed_samples.write_job(tmp_path, views=0, shard_rows=10)
    job = Job(job.sources[:1], job.encoder, shard_rows=10, batch_size=8, device="cpu")

    def run(count):
        monkeypatch.setattr(Job, "open", lambda self, number: stream_memory.GeneratedStream(count))
        highest = 0

        def watched(job, tasks):
            nonlocal highest
            for result in in_this_process(job, tasks):
                highest = max(highest, megabytes())
                yield result

        outcome = embed_sources(job, tmp_path / f"out-{count}", watched, progress=False)
        assert outcome.rows == count - sum(n % 100 == 50 for n in range(count))
        return highest

    run(9)
    once = run(10)
    assert run(200) < once + 60  # 215 MB of pictures, and as much again once decoded


def test_the_index_of_a_table_is_not_held_in_memory(tmp_path):
    def peak(rows):
        path = tmp_path / f"{rows}.tsv"
        with path.open("w") as file:
            file.write("url\tcaption\n")
            file.writelines(f"{row}.jpg\tthe caption of picture {row}\n" for row in range(rows))
        tracemalloc.start()
        source = open_source(SourceSettings("tsv", str(path)), tmp_path / "index")
        assert source.read(rows - 1).messages[1]["content"] == f"the caption of picture {rows - 1}"
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(100)
    assert peak(600_000) < peak(200_000) + 2**20  # both are larger than the 4 MB that are read at once
