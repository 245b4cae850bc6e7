"""The visual cache over HTTP: searched, shown, drawn."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from support.live_server import live

from imagebind_llm import Assistant
from imagebind_llm.cache import build_cache


@pytest.fixture(scope="module")
def running(bot, tmp_path_factory):
    vectors = np.random.default_rng(1).normal(size=(40, 28)).astype(np.float32)
    pictures = [Image.new("RGB", (32, 32), (number, 2 * number, 200)) for number in range(40)]
    cache = build_cache(
        vectors,
        "exact",
        captions=[f"picture {number}" for number in range(40)],
        thumbnails=pictures,
        encoder_fingerprint=bot.encoder_fingerprint,
    )
    with live(Assistant(bot.model, bot.processor, cache)) as found:
        yield found


@pytest.fixture(scope="module")
def without(bot):
    with live(Assistant(bot.model, bot.processor)) as found:
        yield found


def picture(media_folder, name="red.png", **more):
    data = base64.b64encode((media_folder / name).read_bytes()).decode()
    return {"type": "image", "image": {"data": data}, **more}


def test_search_finds_what_the_assistant_finds(running, media_folder):
    status, found = running.request("/v1/cache/search", {"input": picture(media_folder), "k": 3})
    assert status == 200
    expected = running.server.service.assistant.retrieve(3, image=media_folder / "red.png")
    assert [(hit["index"], hit["caption"]) for hit in found["data"]] == [
        (hit.index, hit.caption) for hit in expected
    ]
    assert sum(hit["share"] for hit in found["data"]) == pytest.approx(1, abs=1e-3)
    mixed = [picture(media_folder, weight=0.7), picture(media_folder, "blue.png", weight=0.3)]
    status, found = running.request("/v1/cache/search", {"input": mixed, "k": 3})
    expected = running.server.service.assistant.retrieve(
        3, image=[(media_folder / "red.png", 0.7), (media_folder / "blue.png", 0.3)]
    )
    assert [hit["index"] for hit in found["data"]] == [hit.index for hit in expected]


def test_pictures_are_shown(running):
    import urllib.request

    with urllib.request.urlopen(f"{running.url}/v1/cache/pictures/7") as reply:
        assert reply.headers["Content-Type"] == "image/png"
        shown = Image.open(BytesIO(reply.read()))
    assert abs(np.asarray(shown).mean((0, 1)) - (7, 14, 200)).max() < 6
    for index in ("40", "-1", "x"):
        status, found = running.request(f"/v1/cache/pictures/{index}")
        assert status in (400, 404)
        assert "index" in (found["error"]["param"] or found["error"]["message"])


def test_the_map_has_a_place_for_every_picture_and_for_a_question(running, media_folder):
    status, drawn = running.request("/v1/cache/map")
    assert (status, len(drawn["points"]), drawn["pictures"]) == (200, 40, True)
    assert drawn["captions"]["3"] == "picture 3"
    asked = {"input": picture(media_folder), "cache": {"k": 1, "weight": 1.0}}
    status, place = running.request("/v1/cache/map", asked)
    assert status == 200
    (nearest,) = place["retrieved"]
    where = next(point[:2] for point in drawn["points"] if point[2] == nearest["index"])
    assert place["after"] == pytest.approx(where, abs=1e-3)  # moved all the way
    assert place["before"] != place["after"]
    assert len(running.request("/v1/cache/map?most=10")[1]["points"]) == 10


def test_without_a_cache_it_says_so(without, media_folder):
    for path, body in (
        ("/v1/cache/map", None),
        ("/v1/cache/search", {"input": picture(media_folder)}),
        ("/v1/cache/pictures/0", None),
    ):
        status, found = without.request(path, body)
        assert (status, found["error"]["code"]) == (404, "no_cache")
    asked = {
        "messages": [{"role": "user", "content": [picture(media_folder), {"type": "text", "text": "?"}]}]
    }
    status, found = without.request("/v1/chat/completions", {**asked, "cache": True})
    assert status == 400
    assert "cache" in found["error"]["message"]
