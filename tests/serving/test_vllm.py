"""The vLLM backend with the real vLLM, against the engine in this process (make test-vllm)."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from support.vllm_worlds import LoopThread, all_events, events_of, grouped_llama, mixed_requests, vector

from imagebind_llm import Assistant, UserError
from imagebind_llm.inference.driver import Driver
from imagebind_llm.inference.engine import Engine, TokenRequest
from imagebind_llm.inference.sampler import Sampling
from imagebind_llm.serving.backend import BackendLostError
from imagebind_llm.serving.vllm import salts
from imagebind_llm.serving.vllm.backend import VllmBackend
from imagebind_llm.serving.vllm.options import VllmOptions

PYTHON = os.environ.get("IMAGEBIND_LLM_VLLM", "")
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not PYTHON, reason="no environment with vLLM (make test-vllm)"),
]
OPTIONS = VllmOptions(max_rows=32, max_prefill=64, max_conditions=64, block_size=32)
CHILD = Path(__file__).with_name("vllm_without_salt.py")


@pytest.fixture(scope="module", autouse=True)
def own_compile_cache(tmp_path_factory):
    """Nothing is taken from, or left in, the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CACHE_ROOT", str(tmp_path_factory.mktemp("vllm_cache")))
        yield


@pytest.fixture(scope="module")
def loop():
    thread = LoopThread()
    yield thread
    thread.stop()


@pytest.fixture(scope="module")
def nano():
    return Assistant.from_pretrained("nano", device="cpu", cache=False).model


@pytest.fixture(scope="module")
def backend(loop, nano):
    found = VllmBackend(nano, PYTHON, OPTIONS)
    began = time.perf_counter()
    loop.run(found.start(), 600)
    print(f"started in {time.perf_counter() - began:.1f} s")
    yield found
    loop.run(found.close())


@pytest.fixture
def started(loop):
    """Starts further backends and closes them after the test."""
    running = []

    def start(model, options=OPTIONS, kind=VllmBackend):
        found = kind(model, PYTHON, options)
        running.append(found)
        loop.run(found.start(), 600)
        return found

    yield start
    for one in running:
        loop.run(one.close())


def expected_of(model, requests):
    return [completion.ids for completion in Driver(Engine(model)).complete(requests)]


def tokens_of(events):
    return [event.token for event in events]


def compare(loop, backend, model, what):
    requests = mixed_requests(model)
    expected = expected_of(model, requests)
    assert len(requests) >= 24
    assert len({tuple(ids) for ids in expected}) > 20, "the answers must differ for the test to say something"
    began = time.perf_counter()
    found = loop.run(all_events(backend, requests))
    took = time.perf_counter() - began
    same = sum(tokens_of(one) == ids for one, ids in zip(found, expected, strict=True))
    again = loop.run(all_events(backend, requests))  # prompts are now in the prefix cache
    still = sum(tokens_of(one) == ids for one, ids in zip(again, expected, strict=True))
    print(f"{what}: {same}/{len(requests)} identical, again {still}/{len(requests)}, {took:.1f} s")
    assert (same, still) == (len(requests), len(requests))
    assert all(one[-1].finish_reason == "length" for one in found)


def test_nano_answers_as_the_engine_in_this_process(loop, backend, nano):
    compare(loop, backend, nano, "nano")


@pytest.mark.parametrize(("style", "tuned", "layers"), [("residual", False, [0, 2]), ("value", True, None)])
def test_grouped_queries_in_both_styles(loop, started, style, tuned, layers):
    model = grouped_llama(style, tuned, layers=layers)
    compare(loop, started(model), model, f"grouped Llama, {style}{', tuned' if tuned else ''}")


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs g++")
def test_a_compiled_model_reads_the_rows_too(loop, started):
    """The hooks are traced with the layers, and the graph reads buffers that are written in place."""
    model = grouped_llama()
    options = replace(OPTIONS, compiled=True, environment={"VLLM_CPU_CI_ENV": "0"})
    compare(loop, started(model, options), model, "grouped Llama, compiled")


def test_end_tokens_logprobs_and_sampling(loop, backend, nano):
    request = mixed_requests(nano)[7]
    (ids,) = expected_of(nano, [request])
    ending = replace(
        request, sampling=Sampling(max_new_tokens=12, end_tokens=frozenset([ids[5]]), logprobs=3)
    )
    events = loop.run(events_of(backend, ending))
    first = ids.index(ids[5])
    assert tokens_of(events) == ids[: first + 1]
    assert events[-1].finish_reason == "stop"
    assert events[-1].token == ids[5]
    engine = Engine(nano)
    engine.add(ending)
    own = []
    while not engine.idle:
        own += engine.step()
    for event, reference in zip(events, own, strict=True):
        assert event.logprob == pytest.approx(reference.logprob, abs=1e-3)
        assert [token for token, _ in event.top] == [token for token, _ in reference.top]
    sampled = replace(request, sampling=Sampling(max_new_tokens=12, temperature=1.5, top_p=0.9, seed=2**63))
    once, twice = loop.run(all_events(backend, [sampled, sampled]))
    assert tokens_of(once) == tokens_of(twice)
    other = loop.run(events_of(backend, replace(sampled, sampling=replace(sampled.sampling, seed=1))))
    assert tokens_of(other) != tokens_of(once)


def test_a_cancelled_request_frees_its_place(loop, backend, nano):
    request = replace(mixed_requests(nano)[6], sampling=Sampling(max_new_tokens=200))

    async def three():
        stream = backend.stream(request)
        for _ in range(3):
            await anext(stream)
        busy = await backend.state()
        await stream.aclose()
        return busy, await backend.state()

    busy, free = loop.run(three())
    assert (busy["running"], busy["conditions"]) == (1, 1)
    assert (free["running"], free["waiting"], free["conditions"], free["kv_usage"]) == (0, 0, 0, 0)
    assert (backend.load().running, backend.load().waiting) == (0, 0)


def test_bad_requests_are_refused_alone(loop, backend, nano):
    good = mixed_requests(nano)[0]
    (ids,) = expected_of(nano, [good])
    broken = torch.full((1, nano.config.embedding_dim), float("nan"))

    async def together():
        return await asyncio.gather(
            events_of(backend, good),
            events_of(backend, replace(good, input_ids=[])),
            events_of(backend, replace(good, input_ids=[10**6])),
            events_of(backend, replace(good, input_ids=[5] * 300)),
            events_of(backend, replace(good, condition_ids=[0] * len(good.input_ids))),
            events_of(backend, TokenRequest([5], [0], broken)),
            return_exceptions=True,
        )

    found, *errors = loop.run(together())
    assert tokens_of(found) == ids
    assert all(isinstance(error, UserError) and "\n" not in str(error) for error in errors), errors


def test_more_conditions_than_places_wait(loop, started):
    model = grouped_llama()
    backend = started(model, replace(OPTIONS, max_conditions=2))
    requests = mixed_requests(model)
    requests = [one for one in requests if one.conditions is not None]
    found = loop.run(all_events(backend, requests))
    assert [tokens_of(one) for one in found] == expected_of(model, requests)
    three = TokenRequest([5, 6, 7], [0, 1, 2], torch.randn(3, model.config.embedding_dim))
    with pytest.raises(UserError, match="3 different media"):
        loop.run(events_of(backend, three))


def test_a_killed_process_loses_its_requests_and_can_be_started_again(loop, started):
    model = grouped_llama()
    backend = started(model)
    request = replace(mixed_requests(model)[6], sampling=Sampling(max_new_tokens=200))

    async def killed():
        stream = backend.stream(request)
        await anext(stream)
        backend._process.kill()
        with pytest.raises(BackendLostError):
            async for _ in stream:
                pass
        with pytest.raises(BackendLostError):
            await events_of(backend, request)

    loop.run(killed())
    loop.run(backend.start(), 600)
    short = mixed_requests(model)[6]
    assert [tokens_of(loop.run(events_of(backend, short)))] == expected_of(model, [short])


class Unsalted(VllmBackend):
    """Its process takes the same salt for all requests."""

    def _command(self):
        return [self.python, "-P", str(CHILD)]


def same_text_other_media(model):
    """One after the other, each could take the keys and values of the one before."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, model.config.text_config.vocab_size, (100,), generator=generator).tolist()
    media = [None, *(vector(generator, model.config.embedding_dim) for _ in range(5))]
    return [
        TokenRequest(ids, None if one is None else [0] * len(ids), one, Sampling(max_new_tokens=12))
        for one in media
    ]


def one_by_one(loop, backend, requests):
    return [tokens_of(loop.run(events_of(backend, request))) for request in requests]


def test_the_same_text_about_other_media_shares_nothing(loop, backend, nano, started, monkeypatch):
    requests = same_text_other_media(nano)
    expected = expected_of(nano, requests)
    assert all(one != other for one, other in pairwise(expected))
    assert one_by_one(loop, backend, requests) == expected
    assert one_by_one(loop, backend, requests[::-1]) == expected[::-1]
    # and the salt is what does it: without, answers are about what the others were shown
    unsalted = started(nano, kind=Unsalted)
    monkeypatch.setattr(salts, "salt_of", lambda keys, runs: "the same for all")
    wrong = one_by_one(loop, unsalted, requests)
    print(
        f"without the salt {sum(a != b for a, b in zip(wrong, expected, strict=True))} of {len(wrong)} differ"
    )
    assert wrong[0] == expected[0]
    assert wrong[1:] != expected[1:]


def test_the_engine_refuses_another_salt(loop, backend, nano, monkeypatch):
    request = mixed_requests(nano)[6]
    for salt, words in (("", "no cache_salt"), ("0" * 32, "not the hash")):
        with monkeypatch.context() as patch:
            patch.setattr(salts, "salt_of", lambda keys, runs, salt=salt: salt)
            with pytest.raises(UserError, match=words):
                loop.run(events_of(backend, request))
    assert [tokens_of(loop.run(events_of(backend, request)))] == expected_of(nano, [request])


def test_a_dialog_that_goes_on_finds_its_keys_and_values(loop, backend, nano):
    """Turns without new media keep their salt."""
    request = mixed_requests(nano)[-1]
    longer = [*request.input_ids, 17, 18, 19]
    one = salts.runs_of(request.condition_ids)
    two = salts.runs_of([*request.condition_ids, *[request.condition_ids[-1]] * 3])
    assert salts.salt_of(["a", "b"], one) == salts.salt_of(["a", "b"], two)
    follow = replace(request, input_ids=longer, condition_ids=[*request.condition_ids, 1, 1, 1])
    follow = replace(follow, sampling=Sampling(max_new_tokens=5))
    loop.run(events_of(backend, request))
    assert [tokens_of(loop.run(events_of(backend, follow)))] == expected_of(nano, [follow])


def test_the_second_runners_state_fits_vllms_interfaces():
    """Without a GPU only this: the class is made of vLLM's own, by vLLM's own choice."""
    script = Path(__file__).with_name("vllm_second_runner.py")
    source = Path(sys.modules["imagebind_llm"].__file__).parents[1]
    done = subprocess.run(
        [PYTHON, "-P", str(script)],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == "fits"
