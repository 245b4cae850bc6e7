"""Requests that were made to hurt: each is refused in one line, and nothing of them reaches the log."""

import json
import logging
import socket

import pytest
from support.live_server import live

from imagebind_llm.serving.errors import ApiError
from imagebind_llm.serving.settings import ServeSettings


@pytest.fixture(scope="module")
def running(bot):
    with live(bot, ServeSettings(max_inputs=8)) as found:
        yield found


def chat(*parts, **more):
    return {"messages": [{"role": "user", "content": list(parts)}], **more}


LIST = [1] * 20_000
HALF = "\ud800"
REFUSED = {
    "values": ("/v1/embeddings", {"input": [1] * 200_000}, "more than 100,000 values"),
    "numbers as input": ("/v1/embeddings", {"input": LIST}, "input"),
    "numbers as messages": ("/v1/chat/completions", {"messages": LIST}, "messages"),
    "numbers as stop": (
        "/v1/chat/completions",
        {**chat({"type": "text", "text": "a"}), "stop": LIST},
        "stop",
    ),
    "numbers as responses": ("/v1/responses", {"input": LIST}, "input"),
    "many messages": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "a"}] * 5000},
        "messages",
    ),
    "many keys": ("/v1/chat/completions", {f"key{number}": 1 for number in range(5000)}, "5,000 keys"),
    "keys of a message": (
        "/v1/chat/completions",
        {"messages": [{f"key{number}": 1 for number in range(5000)}]},
        "5,000 keys",
    ),
    "many parts": ("/v1/chat/completions", chat(*[{"type": "text", "text": "a"}] * 5000), "content"),
    "many media": (
        "/v1/chat/completions",
        chat(*[{"type": "text", "text": "a", "as_media": True}] * 100),
        "more than 64 media",
    ),
    "many inputs": ("/v1/embeddings", {"input": ["a"] * 100}, "at most 8"),
    "long prompt": ("/v1/completions", {"prompt": "word and " * 100_000}, "shorten it"),
    "a number in content": ("/v1/responses", {"input": [{"role": "user", "content": [1]}]}, "input[0]"),
    "half in a prompt": ("/v1/completions", {"prompt": f"{HALF} a"}, "half of a character"),
    "half in metadata": ("/v1/responses", {"input": "a", "metadata": {"a": HALF}}, "half of a character"),
    "half in a key": ("/v1/responses", {"input": "a", "metadata": {HALF: "a"}}, "half of a character"),
    "400 digits": (
        "/v1/chat/completions",
        chat({"type": "embedding", "embedding": [10**400, 0]}),
        "too large for float64",
    ),
    "no token": ("/v1/completions", {"prompt": [], "stream": True}, "no token"),
    "unknown token": ("/v1/completions", {"prompt": [10**30], "stream": True}, "token ids from"),
    "negative token": ("/v1/completions", {"prompt": [-1]}, "token ids from"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_line(running, name):
    path, body, says = REFUSED[name]
    status, found = running.request(path, body)
    message = found["error"]["message"]
    assert status == 400, message
    assert says in message + str(found["error"]["param"])
    assert "\n" not in message
    assert len(message) < 1000
    assert running.quiet()


@pytest.mark.parametrize("charset", ["undefined", "utf-16", "punycode", "no-such"])
def test_character_sets_of_forms(running, charset):
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n--x--\r\n'
    status, _ = running.request(
        "/v1/files", form, headers={"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
    )
    assert status in (200, 400)


def test_a_long_purpose_is_refused(running):
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n'
        b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n' + b"p" * 5000 + b"\r\n--x--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    status, found = running.request("/v1/files", form, headers=headers)
    assert (status, found["error"]["param"]) == (400, "purpose")


def test_a_client_that_leaves_in_the_middle_of_a_body_is_no_fault(running, caplog):
    with caplog.at_level(logging.WARNING):
        for path in ("/v1/chat/completions", "/v1/files"):
            with socket.create_connection(("127.0.0.1", running.port)) as client:
                head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                if "files" in path:
                    head = head.replace("application/json", "multipart/form-data; boundary=x")
                client.sendall(f"{head}Content-Length: 100\r\n\r\n--x\r\n".encode())
        assert running.request("/healthz")[0] == 200
        assert running.quiet()
    assert "Traceback" not in caplog.text


def test_what_was_asked_does_not_reach_the_log(running, monkeypatch, caplog):
    def breaks(*_):
        raise RuntimeError("".join(("SECRET", "WORD")))

    monkeypatch.setattr(running.server.service.assistant.pipeline, "prepare", breaks)
    for more in ({}, {"stream": True}):
        status, found = running.request(
            "/v1/chat/completions", chat({"type": "text", "text": "SECRETWORD"}, **more)
        )
        assert status == 500
        assert "SECRETWORD" not in json.dumps(found)
    assert "RuntimeError" in caplog.text  # where it happened is there
    assert "SECRETWORD" not in caplog.text


def test_a_file_named_often_is_read_once(running, monkeypatch, media_folder):
    data = (media_folder / "red.png").read_bytes()
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        + data
        + b"\r\n--x--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    identity = running.request("/v1/files", form, headers=headers)[1]["id"]
    opened = []
    uploads = running.server.uploads
    monkeypatch.setattr(
        uploads, "open", lambda *names, given=uploads.open: opened.append(names) or given(*names)
    )
    part = {"type": "image", "image": {"file_id": identity}}
    status, _ = running.request("/v1/chat/completions", chat(*[part] * 8, {"type": "text", "text": "what?"}))
    assert status == 200
    assert len(opened) == 1


def test_retry_after_grows_with_what_answers_take(bot):
    with live(bot, ServeSettings(max_rows=1, max_queue=0)) as running:
        service = running.server.service
        assert running.request("/v1/chat/completions", chat({"type": "text", "text": "hi"}))[0] == 200
        service.took(400.0)
        service.enter()
        try:
            with pytest.raises(ApiError) as full:
                service.enter()
        finally:
            service.leave()
        assert int(full.value.headers["Retry-After"]) > 1
