"""Embedding once: complete, checked, the same however often it is killed and whoever does the work."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from support import embed_samples as made
from support import source_samples

from imagebind_llm.common.errors import TrainingDataError
from imagebind_llm.data.embed.executors import in_processes, in_this_process
from imagebind_llm.data.embed.run import embed_sources
from imagebind_llm.data.mixture import SourceMixture
from imagebind_llm.data.quarantine import Quarantine
from imagebind_llm.data.sources import Embedded, SourceSettings, open_source
from imagebind_llm.model.messages import read_messages

SHARDS = 12
"""Of the job, of ten samples each."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("embed")


@pytest.fixture(scope="module")
def job(place):
    return made.write_job(place)


@pytest.fixture(scope="module")
def processes():
    """Makes processes out of one that has the libraries loaded and no threads, which a fork would break."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["imagebind_llm.data.embed.run", "imagebind_llm.encoders.imagebind", "pytest"]
    )
    return context


@pytest.fixture(scope="module")
def reference(job, place):
    embed_sources(job, place / "reference", progress=False)
    return place / "reference"


def opened(folder, place):
    return open_source(SourceSettings("embedded", str(folder)), place / "index")


def vectors_of(record):
    return [item.source.vector for turn in read_messages(record.messages) for item in turn.media]


def test_every_sample_is_there_once_and_bad_ones_are_listed(reference, place):
    source = opened(reference, place)
    assert (source.rows, source.views, len(source)) == (made.GOOD, 2, 2 * made.GOOD)
    keys = [source.read(n).key for n in range(source.rows)]
    pairs = [f"captions.tsv:{row + 2}" for row in range(made.PAIRS) if row not in (7, 40)]
    texts = [f"text.jsonl:{row + 1}" for row in range(made.TEXTS) if row != 20]
    assert keys == pairs + texts
    bad = [json.loads(line) for line in (reference / "quarantine.jsonl").read_text().splitlines()]
    assert [entry["key"] for entry in bad] == ["captions.tsv:9", "captions.tsv:42", "text.jsonl:21"]
    manifest = json.loads((reference / "manifest.json").read_text())
    assert (manifest["rows"], manifest["bad"], manifest["media"]) == (made.GOOD, 3, made.PAIRS - 2)
    assert not [path for path in reference.iterdir() if path.name.startswith(".shard")]


def test_vectors_are_the_encoders_and_text_stays_text(job, reference, place):
    import torch

    from imagebind_llm.common.modality import Modality
    from imagebind_llm.encoders import load_encoder, media_of_encoder

    plain = replace(job, views=0)
    embed_sources(plain, place / "plain", progress=False)
    source = opened(place / "plain", place)
    encoder = load_encoder(job.encoder)
    assert source.encoder_fingerprint == encoder.fingerprint
    reader = media_of_encoder(job.encoder, encoder)
    for index, row in ((0, 0), (12, 13), (87, 89)):
        record = source.read(index)
        tensor = reader.load(Modality.IMAGE, str(place / "data" / f"{row % 10}.png"))
        with torch.no_grad():
            expected = encoder.encode(Modality.IMAGE, tensor[None])[0].numpy()
        (found,) = vectors_of(record)
        assert found.dtype == np.float32
        assert abs(np.linalg.norm(found) - 1) < 1e-6
        assert found @ expected > 0.99999
        assert record.messages[1]["content"] == f"picture {row}"
    text = source.read(made.GOOD - 1)
    assert text.messages[0] == {"role": "user", "content": "Say 24"}
    first, second = opened(reference, place).read(0), opened(reference, place).read(made.GOOD)
    assert first.key == second.key
    (one,), (two,) = vectors_of(first), vectors_of(second)
    assert 0.2 < one @ two < 0.99999  # another view of the same picture


def _embed(job, folder):
    embed_sources(job, folder, progress=False)


def _embed_in_two(job, folder):
    embed_sources(job, folder, in_processes(2), progress=False)


def _marks(folder):
    """How many shards of ``folder`` are done."""
    return len(list(folder.glob("shard-*.json")))


@pytest.mark.timeout(600)
def test_killed_at_random_moments_no_row_is_lost_or_doubled(job, reference, place, processes):
    """SIGKILL at ten random moments; whenever a run gets through, its files are those of the quiet one."""
    luck = random.Random(4)
    folder = place / "killed"
    kills = completed = partly = 0
    while kills < 10 or not completed:
        process = processes.Process(target=_embed, args=(job, folder))
        process.start()
        if kills < 10:
            goal = _marks(folder) + luck.randint(0, 3)
            while _marks(folder) < goal and process.is_alive():
                time.sleep(0.002)
            process.join(luck.uniform(0, 0.1 if goal else 0.5))
        else:
            process.join()
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += 1
            partly += 0 < _marks(folder) < SHARDS
        else:
            assert process.exitcode == 0
            assert made.contents(folder) == made.contents(reference)
            completed += 1
            shutil.rmtree(folder)
    assert partly >= 2  # some kills did interrupt the work in its midst


@pytest.mark.timeout(600)  # worker processes import torch, which takes long on a busy machine
def test_processes_give_the_same_and_die_with_their_parent(job, reference, place, processes):
    import psutil

    folder = place / "processes"
    process = processes.Process(target=_embed_in_two, args=(job, folder))
    process.start()
    end = time.monotonic() + 200
    while _marks(folder) < 3:
        assert process.is_alive()
        assert time.monotonic() < end
        time.sleep(0.02)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= 2
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
    assert _marks(folder) < SHARDS
    outcome = embed_sources(job, folder, progress=False)
    assert outcome.resumed >= 15
    assert made.contents(folder) == made.contents(reference)


def test_a_lost_or_damaged_shard_is_made_again_and_never_read(job, reference, place):
    folder = place / "damaged"
    shutil.copytree(reference, folder)
    path = folder / "shard-000002.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    source = opened(folder, place)
    source.read(0)
    with pytest.raises(TrainingDataError, match=r"shard-000002\.npy' is damaged"):
        source.read(25)
    (folder / "shard-000003.jsonl").write_text("{}\n")
    with pytest.raises(TrainingDataError, match=r"shard-000003\.jsonl' is damaged"):
        opened(folder, place)


def test_another_job_or_encoder_is_refused(job, reference, place, tmp_path):
    with pytest.raises(TrainingDataError, match="begun with views 2, this run has 3"):
        embed_sources(replace(job, views=3), reference, progress=False)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    with pytest.raises(TrainingDataError, match="holds other files"):
        embed_sources(job, tmp_path / "full", progress=False)
    with pytest.raises(TrainingDataError, match="no embeddings"):
        opened(tmp_path / "full", tmp_path)


def test_too_many_bad_samples_stop_and_are_listed(job, tmp_path):
    source_samples.pictures(tmp_path / "data")
    rows = "".join(f"{'gone' if n % 2 else n % 10}.png\tx\n" for n in range(60))
    (tmp_path / "data" / "captions.tsv").write_text("url\tcaption\n" + rows)
    bad = replace(job, sources=(SourceSettings("tsv", str(tmp_path / "data" / "captions.tsv")),))
    with pytest.raises(TrainingDataError, match=r"of 20 samples are bad.*quarantine\.jsonl"):
        embed_sources(
            bad, tmp_path / "out", quarantine=Quarantine(max_rate=0.1, min_count=10), progress=False
        )
    assert len((tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()) == 10
    with pytest.raises(TrainingDataError, match="not complete"):
        opened(tmp_path / "out", tmp_path)


def test_a_stream_is_embedded_and_gone_on_with(job, tmp_path):
    pytest.importorskip("datasets")
    settings = source_samples.write_stream(tmp_path / "data")
    streamed = replace(job, sources=(settings,), views=0, shard_rows=64)
    with pytest.raises(_EnoughError):
        embed_sources(streamed, tmp_path / "out", _few, progress=False)
    outcome = embed_sources(streamed, tmp_path / "out", progress=False)
    assert outcome.resumed == 3 * 64
    assert outcome.rows == source_samples.ROWS - source_samples.BAD
    assert outcome.bad == {"data": source_samples.BAD}
    whole = replace(streamed, sources=(replace(settings, streaming=False),))
    embed_sources(whole, tmp_path / "whole", progress=False)
    ours, theirs = made.contents(tmp_path / "out"), made.contents(tmp_path / "whole")
    assert {name for name in ours if ours[name] != theirs[name]} == {"manifest.json"}  # the source differs


class _EnoughError(Exception):
    pass


def _few(job, tasks):
    for number, result in enumerate(in_this_process(job, tasks)):
        if number == 3:
            raise _EnoughError
        yield result


def test_embeddings_can_be_drawn_and_become_a_cache(reference, place, tmp_path):
    from imagebind_llm.cache import VisualCache
    from imagebind_llm.data.embed.cache import build_cache_from_embeddings

    source = opened(reference, place)
    record = SourceMixture([source], [1]).draw(np.random.default_rng(1))
    assert all(isinstance(i.source, Embedded) for t in read_messages(record.messages) for i in t.media)
    build_cache_from_embeddings(reference, tmp_path / "cache", "exact", index_folder=place / "index")
    cache = VisualCache.load(tmp_path / "cache", expected_fingerprint=source.encoder_fingerprint)
    assert cache.size == made.PAIRS - 2
    assert cache.entry(10).caption == "picture 11"


def test_the_commands(job, tmp_path, monkeypatch, capsys):
    from imagebind_llm.cli import main

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = job.sources[0].path
    out = str(tmp_path / "out")
    given = ["data", "embed", data, "--encoder", job.encoder, "--out", out, "--workers", "1", "--json"]
    with pytest.raises(SystemExit) as left:
        main([*given, "--shard-rows", "50", "--views", "1"])
    assert left.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["left_out"]) == (made.PAIRS - 2, {"captions.tsv": 2})
    with pytest.raises(SystemExit) as left:
        main(["data", "check", data, out, "--json"])
    assert left.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["good"] == {"captions.tsv": made.PAIRS - 2, "out": made.PAIRS - 2}
    assert found["bad"] == {"captions.tsv": 2}
    with pytest.raises(SystemExit) as left:
        main(["data", "check", data, "--max-bad", "0.001"])
    assert left.value.code == 2
    assert "2 of 90 samples are bad" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        main(["cache", "build", "--from-embeddings", out, "--out", str(tmp_path / "c"), "--json"])
    assert left.value.code == 0
    assert json.loads(capsys.readouterr().out)["count"] == made.PAIRS - 2
