"""A served model answers as the one in this process."""

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
    {"question": "What is this?", "point": str(INPUTS / "car.ply"), "cache": False},
    {"question": "What is this?", "video": str(INPUTS / "ship.mp4")},
    {
        "question": "What is it?",
        "image": [(str(INPUTS / "four.png"), 0.7)],
        "audio": [str(INPUTS / "seven.ogg")],
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


def test_a_server_that_ends_ends_the_run(bot):
    with live(bot) as server:
        endpoint = Endpoint(f"{server.url}/v1", at_once=1)
        answers = endpoint.answers({"question": "Who are you?", "max_new_tokens": 2} for _ in range(20))
        assert isinstance(next(answers), str)
        endpoint.url = "http://127.0.0.1:9/v1"
        endpoint._pause = 0.0
        with pytest.raises(UserError, match="cannot reach"):
            list(answers)
