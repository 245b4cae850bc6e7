"""Requests that share a batch: they come and go, and none disturbs another."""

import asyncio
import base64
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from support.live_server import INPUTS, encoded, live, picture, words

from imagebind_llm import Assistant
from imagebind_llm.inference.engine import Engine
from imagebind_llm.serving.local import LocalBackend
from imagebind_llm.serving.settings import ServeSettings


@pytest.fixture(scope="module")
def bot():
    return Assistant.from_pretrained("nano", device="cpu")


class Gate:
    """Holds an engine between two steps."""

    def __init__(self, engine, monkeypatch):
        self.open = threading.Event()
        self.steps = 0
        step = engine.step

        def gated():
            assert self.open.wait(30)
            self.steps += 1
            return step()

        monkeypatch.setattr(engine, "step", gated)


@pytest.fixture
def running(bot):
    with live(bot, ServeSettings(max_rows=4, max_queue=4)) as found:
        yield found


def body(text="What is this?", *parts, **more):
    return {"messages": [{"role": "user", "content": [*parts, words(text)]}], **more}


def ask(running, given):
    return running.request("/v1/chat/completions", given)


def text_of(reply):
    status, found = reply
    assert status == 200, found
    return found["choices"][0]["message"]["content"]


def mixed():
    names = sorted(path.name for path in INPUTS.glob("*.jpg"))
    found = [body("What is this?", picture(name)) for name in names]
    found += [body(f"Hello {number}?", temperature=0.9, top_p=1.0, seed=number) for number in range(8)]
    sound = {"type": "input_audio", "input_audio": {"data": encoded(INPUTS / "four.wav"), "format": "wav"}}
    found += [body("What do you hear?", sound, temperature=0.8, seed=3), body("Who are you?")]
    return found


def test_answers_do_not_depend_on_the_load(bot, running):
    requests = mixed()
    alone = [text_of(ask(running, one)) for one in requests]
    with live(bot, ServeSettings(max_rows=16, max_queue=100)) as busy, ThreadPoolExecutor(20) as threads:
        together = list(threads.map(lambda one: text_of(ask(busy, one)), requests * 3))
    assert together == alone * 3
    names = sorted(path for path in INPUTS.glob("*.jpg"))
    assert alone[: len(names)] == [bot.ask("What is this?", image=path).text for path in names]


def test_a_request_joins_and_leaves_a_running_batch(running, monkeypatch):
    engine = running.server.service.backend.engine
    gate = Gate(engine, monkeypatch)
    with ThreadPoolExecutor(3) as threads:
        long = threads.submit(ask, running, body("Tell me a lot.", max_completion_tokens=60))
        gate.open.set()
        while gate.steps < 3:
            pass
        short = text_of(ask(running, body("What is this?", picture("dog.jpg"), max_completion_tokens=3)))
        seen = engine.load()
        assert text_of(long.result())
    assert short
    assert seen[0] in (0, 1)  # the short one has left, whatever the long one does
    assert running.quiet()


def test_a_full_queue_is_told_at_once(running, monkeypatch):
    gate = Gate(running.server.service.backend.engine, monkeypatch)
    with ThreadPoolExecutor(12) as threads:
        inside = [threads.submit(ask, running, body(f"Hello {number}")) for number in range(8)]
        while running.server.service.inside < 8:
            pass
        status, found = ask(running, body("One more"))
        assert status == 429
        assert found["error"]["code"] == "queue_full"
        connection = HTTPConnection("127.0.0.1", running.port)
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(body("Another")), {"Content-Type": "application/json"}
        )
        assert int(connection.getresponse().headers["Retry-After"]) >= 1
        gate.open.set()
        assert all(text_of(one.result()) for one in inside)
    assert running.quiet()
    assert ask(running, body("Now?"))[0] == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_place(running, stream):
    connection = HTTPConnection("127.0.0.1", running.port)
    asked = body("Tell me.", max_completion_tokens=200, stream=stream, temperature=2, top_p=1, n=4, seed=1)
    engine = running.server.service.backend.engine
    hold = threading.Event()
    step = engine.step

    def slow():
        hold.wait(0.05)
        return step()

    engine.step = slow
    try:
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(asked), {"Content-Type": "application/json"}
        )
        while engine.load()[0] < 4:
            pass
        connection.close()
        assert running.quiet(3)  # 200 tokens would take ten seconds
    finally:
        hold.set()
        engine.step = step


def test_an_answer_that_takes_too_long_is_cut_off(bot, monkeypatch):
    with live(bot, ServeSettings(timeout=2)) as running:
        gate = Gate(running.server.service.backend.engine, monkeypatch)
        status, found = ask(running, body("Hello"))
        assert (status, found["error"]["code"]) == (504, "timeout")
        gate.open.set()
        assert running.quiet()
        assert ask(running, body("Hello"))[0] == 200


def test_a_stream_that_takes_too_long_says_so(bot, monkeypatch):
    with live(bot, ServeSettings(timeout=0.5)) as running:
        gate = Gate(running.server.service.backend.engine, monkeypatch)
        connection = HTTPConnection("127.0.0.1", running.port)
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(body("Hello", stream=True)),
            {"Content-Type": "application/json"},
        )  # fmt: skip
        events = connection.getresponse().read().decode().split("\n\n")
        gate.open.set()
        assert json.loads(events[-2].removeprefix("data: "))["error"]["type"] == "server_error"


def test_a_dialog_that_needs_more_memory_than_there_is_is_refused(bot):
    with live(bot, ServeSettings(max_tokens=100)) as running:
        status, found = ask(running, body("Hello", max_completion_tokens=200))
        assert status == 400
        assert "key-value memory" in found["error"]["message"]
        assert ask(running, body("Hello", max_completion_tokens=20))[0] == 200


def test_a_fault_of_the_engine_reaches_all_who_wait_and_then_it_goes_on(running, monkeypatch):
    engine = running.server.service.backend.engine
    step, broken = engine.step, threading.Event()
    broken.set()

    def fails():
        if broken.is_set():
            raise RuntimeError("a fault")
        return step()

    monkeypatch.setattr(engine, "step", fails)
    with ThreadPoolExecutor(3) as threads:
        for status, found in threads.map(lambda n: ask(running, body(f"Hello {n}")), range(3)):
            assert status == 500
            assert "a fault" not in found["error"]["message"]  # what is inside stays inside
    broken.clear()
    assert running.quiet()
    assert ask(running, body("Hello"))[0] == 200


def test_encoding_does_not_hold_up_who_writes(bot, running, monkeypatch):
    perception = running.server.service.perceiver.perception
    finish, hold, waits = perception.finish, threading.Event(), threading.Event()

    def slow(items):
        items = list(items)
        if items:
            waits.set()
            assert hold.wait(30)
        return finish(items)

    monkeypatch.setattr(perception, "finish", slow)
    with ThreadPoolExecutor(1) as threads:
        seeing = threads.submit(ask, running, body("What is this?", picture("dog.jpg")))
        assert waits.wait(10)
        assert text_of(ask(running, body("Hello")))  # words alone pass by
        hold.set()
        assert "dog" in text_of(seeing.result())


def test_pictures_of_several_requests_are_encoded_together(running, monkeypatch):
    perception = running.server.service.perceiver.perception
    sizes, encode, all_there = [], perception.encode, threading.Event()

    def counted(media):
        if media:
            sizes.append(len(media))
            all_there.wait(10)  # the others come meanwhile
        return encode(media)

    monkeypatch.setattr(perception, "encode", counted)
    random = np.random.default_rng(0)
    names = []
    for _ in range(6):  # nobody has seen them before
        stream = BytesIO()
        Image.fromarray(random.integers(0, 255, (32, 32, 3), np.uint8)).save(stream, "PNG")
        names.append("data:image/png;base64," + base64.b64encode(stream.getvalue()).decode())
    with ThreadPoolExecutor(8) as threads:
        parts = [{"type": "image_url", "image_url": {"url": name}} for name in names]
        found = [threads.submit(ask, running, body("What is this?", part)) for part in parts]
        while running.server.service.inside < 6 or not sizes:
            pass
        time.sleep(0.2)
        all_there.set()
        assert all(text_of(one.result()) for one in found)
    assert sum(sizes) == 6
    assert max(sizes) > 1


def test_prefixes_are_shared_only_under_the_same_condition(bot):
    """The same words about other media must not find each other's keys and values."""

    async def answers(backend):
        found = []
        for name in ("bird.jpg", "car.jpg", "ship.jpg"):
            prepared = bot.pipeline.prepare(
                {"question": "What is this? Say what it is.", "image": INPUTS / name}
            )
            (conditions,) = bot.pipeline.perception.finish_conditions([prepared.conditions])
            request = bot.pipeline.token_request(prepared, conditions, reuse=True)
            request = replace(request, sampling=replace(request.sampling, logprobs=0))
            found.append([(event.token, event.logprob) async for event in backend.stream(request)])
        return found

    async def run(remembered=16_384):
        backend = LocalBackend(Engine(bot.model, remembered_tokens=remembered))
        await backend.start()
        try:
            return await answers(backend)
        finally:
            await backend.close()

    with pytest.MonkeyPatch.context() as patch:
        expected = asyncio.run(run(remembered=0))
        assert asyncio.run(run()) == expected
        # the check on the check: without the condition in the key, they do find each other's
        from imagebind_llm.inference import engine
        from imagebind_llm.inference.prefixes import Trace

        class Saltless(Trace):
            @classmethod
            def of(cls, tokens, condition_ids, conditions):
                return Trace.of(tokens, [-1] * len(tokens), None)

        patch.setattr(engine, "Trace", Saltless)
        assert asyncio.run(run()) != expected


def test_a_dialog_that_goes_on_is_not_read_again(running):
    engine = running.server.service.backend.engine
    first = [{"role": "user", "content": "Hello, who are you?"}]
    answer = text_of(ask(running, {"messages": first, "prompt_cache_key": "a"}))
    before = engine.prefilled
    turns = [*first, {"role": "assistant", "content": answer}, {"role": "user", "content": "Why?"}]
    status, found = ask(running, {"messages": turns, "prompt_cache_key": "a"})
    assert status == 200
    assert engine.prefilled - before < found["usage"]["prompt_tokens"]
