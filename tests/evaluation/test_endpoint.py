"""A served model answers as the one in this process."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
from support.live_server import live

from imagebind_llm import Assistant
from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.endpoint import Endpoint
from imagebind_llm.evaluation.engine import LocalEngine

INPUTS = Path(__file__).parents[2] / "examples" / "inputs"
REQUESTS = [
    {"question": "What is this?", "image": str(INPUTS / "ship.jpg")},
    {"question": "What do you hear?", "audio": str(INPUTS / "cat.ogg"), "max_new_tokens": 5},
    {"question": "What is this?", "point": str(INPUTS / "three.ply"), "cache": False},
    {"question": "What is this?", "video": str(INPUTS / "ship.mp4")},
    {
        "question": "What is it?",
        "image": [(str(INPUTS / "four.png"), 0.7)],
        "audio": [str(INPUTS / "eight.ogg")],
    },
    {"question": "Which digit?", "text": "the digit four"},
    {"question": "What is this?", "image": str(INPUTS / "none.png")},
    {"question": "What is this?", "image": b"no picture"},
    {"question": "Who are you?", "temperature": 0.8, "seed": 3},
]
MEDIA = [{"image": str(INPUTS / "ship.jpg")}, {"text": "a ship"}, {"imu": str(INPUTS / "seven_imu.csv")}]


@pytest.fixture(scope="module")
def bot():
    return Assistant.from_pretrained("nano", device="cpu")


@pytest.fixture(scope="module")
def served(bot):
    with live(bot) as found:
        yield found


def test_answers_and_embeddings_are_the_same(bot, served):
    endpoint = Endpoint(f"{served.url}/v1")
    local, there = (list(engine.answers(REQUESTS)) for engine in (LocalEngine(bot), endpoint))
    failed = [isinstance(answer, Exception) for answer in there]
    assert failed == [isinstance(answer, Exception) for answer in local]
    assert failed.count(True) == 2
    assert [a for a in there if isinstance(a, str)] == [a for a in local if isinstance(a, str)]
    sure = [[a.confidence for a in some if isinstance(a, str)] for some in (local, there)]
    assert sure[0] == pytest.approx(sure[1], abs=1e-4)
    assert all(0 < value <= 1 for value in sure[1])
    assert "none.png" in str(there[6])
    assert "refused (400)" in str(there[7])
    for one, other in zip(LocalEngine(bot).embeddings(MEDIA), endpoint.embeddings(MEDIA), strict=True):
        assert one == pytest.approx(other, abs=1e-6)
    about = endpoint.about()
    assert about["name"] == endpoint.model
    assert about["served"]["modalities"]


def test_what_is_not_there_is_said_in_one_line(served):
    for url, words in (
        ("127.0.0.1:8000", "is no address of an API"),
        ("http://127.0.0.1:9/v1", "cannot reach http://127.0.0.1:9/v1"),
        (f"{served.url}/v2", "refused"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            Endpoint(url)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="does not serve 'llama'; --model is one of"):
        Endpoint(f"{served.url}/v1", "llama")


SECRET = "sk-very-secret"


@contextmanager
def told(*replies):
    """A server that gives these statuses and bodies, one a request, the last one for ever."""
    left = list(replies)

    class Handler(BaseHTTPRequestHandler):
        def _reply(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = (200, MODELS) if self.path.endswith("/models") else left[0]
            if not self.path.endswith("/models") and len(left) > 1:
                left.pop(0)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _reply  # noqa: N815

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}/v1", key=SECRET, at_once=1)
        endpoint._pause = 0.0
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


MODELS = {"data": [{"id": "m", "permission": [{"id": "random"}], "created": 5, "modalities": ["image"]}]}
ANSWER = {"choices": [{"message": {"content": "yes"}}]}
ASKED = [{"question": "Well?"}]


def test_a_server_that_stumbles_is_asked_again():
    with told((500, {}), (503, {}), (200, ANSWER)) as endpoint:
        assert list(endpoint.answers(ASKED)) == ["yes"]
        assert endpoint.about()["served"] == {"id": "m", "modalities": ["image"]}  # what changes is left out


def test_the_key_is_told_to_nobody():
    with told((400, {"error": {"message": f"bad key Bearer {SECRET}"}})) as endpoint:
        (error,) = endpoint.answers(ASKED)
        assert "bad key" in str(error)
        assert SECRET not in str(error) + str(endpoint.about())
    with pytest.raises(UserError) as caught:
        Endpoint("http://somebody:hunter2@127.0.0.1/v1")
    assert "hunter2" not in str(caught.value)
    for key in ("sk-SECRET\nx", "sk-\0SECRET", "sk-SÉCRET"):
        with pytest.raises(UserError, match="characters that no key has") as caught:
            Endpoint("http://127.0.0.1:9/v1", key=key)
        assert "CRET" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [b"", b"[" * 10**6, b"[]", b"{}", {"choices": []}, {"choices": [{"message": {"content": [1]}}]}],
)
def test_what_is_no_answer_is_an_error_of_its_item(body):
    with told((200, body), (200, ANSWER)) as endpoint:
        first, second = endpoint.answers(ASKED * 2)
        assert isinstance(first, UserError)
        assert "\n" not in str(first)
        assert second == "yes"


def test_an_endless_answer_is_cut(monkeypatch):
    monkeypatch.setattr("imagebind_llm.evaluation.endpoint._LARGEST", 1000)
    with told((200, b" " * 10**6)) as endpoint:
        (error,) = endpoint.answers(ASKED)
        assert "more than 1,000 bytes" in str(error)


def test_a_server_that_ends_ends_the_run(bot):
    with live(bot) as server:
        endpoint = Endpoint(f"{server.url}/v1", at_once=1)
        answers = endpoint.answers({"question": "Who are you?", "max_new_tokens": 2} for _ in range(20))
        assert isinstance(next(answers), str)
        endpoint.url = "http://127.0.0.1:9/v1"
        endpoint._pause = 0.0
        with pytest.raises(UserError, match="cannot reach"):
            list(answers)
