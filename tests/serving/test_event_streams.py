"""Streams whose reader has gone."""

import asyncio

import pytest

from imagebind_llm.common.errors import UserError
from imagebind_llm.serving.backend import BackendLostError
from imagebind_llm.serving.streams import EventStream, data


def sent_by(events, disconnects_after=None):
    """What a stream sends, and whether it was closed."""
    sent, closed = [], []

    async def receive():
        if disconnects_after is None:
            await asyncio.sleep(10)
        await asyncio.sleep(disconnects_after)
        return {"type": "http.disconnect"}

    async def send(message):
        await asyncio.sleep(0)
        sent.append(message)

    async def run():
        response = EventStream(events, lambda: closed.append(True))
        await response({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)

    asyncio.run(run())
    return b"".join(message.get("body", b"") for message in sent).decode(), closed


def test_it_is_closed_even_if_nobody_asked_for_the_first_event():
    begun = []

    async def events():
        begun.append(True)
        yield data({"a": 1})

    text, closed = sent_by(events(), disconnects_after=0)
    assert closed == [True]
    assert (text == "") == (begun == [])


def test_a_reader_that_leaves_ends_the_generator():
    ended = []

    async def events():
        try:
            while True:
                yield data({"a": 1})
                await asyncio.sleep(0.01)
        finally:
            ended.append(True)

    text, closed = sent_by(events(), disconnects_after=0.1)
    assert text.startswith('data: {"a":1}\n\n')
    assert (closed, ended) == ([True], [True])


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (UserError("too long; shorten it"), 400, "too long; shorten it"),
        (BackendLostError("gone"), 503, "try again"),
        (RuntimeError("secret"), 500, "something went wrong"),
    ],
)
def test_an_error_becomes_the_last_event(error, status, says):
    async def events():
        yield data({"a": 1})
        raise error

    text, closed = sent_by(events())
    last = text.split("\n\n")[-2]
    assert f'"status":{status}' in last
    assert says in last
    assert "secret" not in text
    assert closed == [True]
