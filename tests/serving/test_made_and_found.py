"""Pictures made and things found over HTTP, and answers with tools that the server runs."""

import base64
import http.client
import io
import json
import threading
import time

import numpy as np
import openai
import pytest
import soundfile
from PIL import Image
from support.live_server import INPUTS, data_url, encoded, live, picture, words

from imagebind_llm import Assistant
from imagebind_llm.serving.settings import ServeSettings
from imagebind_llm.skills.generation.bank import save_bank

pytest.importorskip("jsonschema")
pytest.importorskip("llguidance")
pytest.importorskip("diffusers")
pytest.importorskip("scipy")

from support.tiny_decoder import SIDE, write_decoder

CHAT, IMAGES, DETECT = "/v1/chat/completions", "/v1/images/generations", "/v1/detect"
RESPONSES = "/v1/responses"
NOISE = {"type": "audio", "audio": {"data": "QUJD"}}
CALL = {"type": "function_call", "call_id": "call_1", "name": "calculator", "arguments": "{}"}
TOLD = {"role": "assistant", "content": "5"}
DOG = (80, 12, 132, 64)


@pytest.fixture(scope="module")
def bot():
    return Assistant.from_pretrained("nano", device="cpu")


@pytest.fixture(scope="module")
def running(bot, tmp_path_factory):
    weights = write_decoder(tmp_path_factory.mktemp("decoder"), bot)
    bark = np.sin(np.arange(4000) / 5).astype(np.float32) / 2
    save_bank(weights, {"dog": bot.embed(text=["a dog"])[0]}, {"dog": [bark]})
    with live(bot, ServeSettings(generators=(str(weights),))) as found:
        yield found


@pytest.fixture(scope="module")
def client(running):
    return openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    found = Image.new("RGB", (208, 120), (235, 230, 210))
    for place, name in (((12, 40), "seven.png"), (DOG[:2], "dog.jpg"), ((144, 56), "ship.jpg")):
        found.paste(Image.open(INPUTS / name).convert("RGB").resize((52, 52)), place)
    path = tmp_path_factory.mktemp("scene") / "scene.png"
    found.save(path)
    return {"type": "image_url", "image_url": {"url": data_url(path, "image/png")}}


def sound(name="eight.ogg", **more):
    return {"type": "audio", "audio": {"data": encoded(INPUTS / name)}, **more}


def said(question, *parts, **more):
    return {"messages": [{"role": "user", "content": [*parts, words(question)]}], **more}


def opened(text):
    with Image.open(io.BytesIO(base64.b64decode(text))) as found:
        found.load()
        return found


TORN = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}


# --- made


def test_openais_client_makes_pictures(client):
    found = client.images.generate(prompt="a seven", n=2, response_format="b64_json", size=f"{SIDE}x{SIDE}")
    pictures = [opened(one.b64_json) for one in found.data]
    assert [one.size for one in pictures] == [(SIDE, SIDE)] * 2
    assert pictures[0].tobytes() != pictures[1].tobytes()
    assert found.created > 0
    about = json.loads(pictures[1].text["imagebind-llm"])
    assert (about["seed"], about["synthetic"], about["made_of"]) == (1, True, ["text 'a seven'"])


def test_media_make_pictures_and_settings_count(running):
    def made(**body):
        status, found = running.request(IMAGES, body)
        assert status == 200, found
        return found["data"][0]["b64_json"]

    heard = made(input=sound(), seed=3, steps=4)
    assert heard == made(input=[sound()], seed=3, steps=4)
    assert heard != made(input=sound(), seed=4, steps=4)
    assert heard != made(input=sound("dog.ogg"), seed=3, steps=4)
    assert heard != made(input=[sound(weight=0.5), picture("dog.jpg") | {"weight": 0.5}], seed=3, steps=4)
    assert heard != made(input=sound(), seed=3, steps=4, guidance=6.5)
    assert heard != made(input=sound(), seed=3, steps=4, negative_prompt="a dog")


def heard(text):
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(text)))
    return len(samples), rate, float(np.abs(samples).max())


def test_sounds_are_looked_up(running):
    status, found = running.request("/v1/audio/generations", {"input": [picture("dog.jpg")], "n": 2})
    assert status == 200, found
    assert [one["media_type"] for one in found["data"]] == ["audio/wav"] * 2
    for one in found["data"]:
        assert heard(one["b64_json"]) == (4000, 16_000, pytest.approx(0.5, abs=0.1))
    _, found = running.request(CHAT, said("Play me the sound of a dog.", server_tools=["generator"]))
    message = found["choices"][0]["message"]
    assert message["content"] == "Here is a sound of “a dog”: dog."
    assert any("audio" in json.dumps(part)[:200] for part in message["parts"])


@pytest.mark.parametrize(
    ("path", "body", "said", "param"),
    [
        (IMAGES, {}, "nothing to make", "prompt"),
        (IMAGES, {"prompt": "a seven", "size": "1024x1024", "steps": 1}, "makes 8x8 only", "size"),
        (IMAGES, {"prompt": "a seven", "response_format": "url"}, "ask for b64_json", "response_format"),
        (IMAGES, {"prompt": "a seven", "n": 17}, "at most 16", "n"),
        (IMAGES, {"prompt": "a seven", "n": 10, "steps": 900}, "more than 2000", "steps"),
        (IMAGES, {"prompt": "a seven", "style": "vivid"}, "cannot honour", "style"),
        (IMAGES, {"prompt": "a seven", "colour": 1}, "colour", "colour"),
        (IMAGES, {"input": {"type": "audio", "audio": {"data": "QUJD"}}}, "input: 3 bytes", "input"),
        (IMAGES, {"input": ["x", {"type": "audio", "audio": {"data": "QUJD"}}]}, "input[1]: 3", "input[1]"),
        (IMAGES, {"input": ["x"] * 257}, "at most 256", "input"),
        (IMAGES, {"input": ["x"] * 3000}, "at most 2048", "input"),
        (IMAGES, {"prompt": " "}, "prompt is ' '", "prompt"),
        (IMAGES, {"prompt": "x", "negative_prompt": " "}, "negative_prompt is ' '", "negative_prompt"),
        (IMAGES, {"prompt": "x", "size": "", "steps": 1}, "size is ''", "size"),
        (IMAGES, {"prompt": "x", "stream": True}, "cannot honour", "stream"),
        (IMAGES, {"prompt": "x", "output_format": "wav"}, "makes png only", "output_format"),
        (IMAGES, {"prompt": "x", "seconds": 3}, "a picture has none", "seconds"),
        (
            "/v1/audio/generations",
            {"prompt": "a seven"},
            "no sound is near to this; there are sounds of dog",
            None,
        ),
        ("/v1/audio/generations", {"prompt": "a dog", "seconds": 3}, "so seconds means nothing", None),
        ("/v1/shapes/generations", {"prompt": "a seven", "steps": 1}, "digit", None),
        (DETECT, {"input": "a dog"}, "picture is missing", "picture"),
        (DETECT, {"picture": sound(), "input": "a dog"}, "picture is no picture", "picture"),
        (DETECT, {"picture": picture("dog.jpg"), "input": []}, "input is empty", "input"),
        (DETECT, {"picture": TORN, "input": "a dog"}, "picture: 3 bytes", "picture"),
        (DETECT, {"picture": picture("dog.jpg"), "input": ["a dog", TORN]}, "input[1]: 3", "input[1]"),
        (DETECT, {"picture": picture("dog.jpg") | {"weight": 0.5}, "input": "x"}, "weight", "picture.weight"),
        (
            DETECT,
            {"picture": picture("dog.jpg"), "input": [sound(weight=0.5)]},
            "add together",
            "input[0].weight",
        ),
        (DETECT, {"picture": picture("dog.jpg"), "input": "a dog", "threshold": 2}, "threshold", "threshold"),
        (
            CHAT,
            said("Draw this.", sound(), server_tools=["printer"]),
            "printer",
            "server_tools",
        ),
        (CHAT, said("Draw what you hear.", server_tools=["generator"]), "something heard", "messages"),
        (CHAT, said("Draw this.", sound(), server_tools=["generator"], n=2), "n is above 1", "n"),
        (RESPONSES, {"input": "a", "server_tools": ["printer"]}, "printer", "server_tools"),
        (RESPONSES, {"input": "a", "tool_choice": "required"}, "server_tools is empty", "tool_choice"),
        (
            RESPONSES,
            {"input": "Draw what you hear.", "server_tools": ["generator"]},
            "something heard",
            "input",
        ),
        (RESPONSES, {"input": [CALL]}, "no message of the assistant", "input[0]"),
        (
            RESPONSES,
            {"input": [CALL, {"role": "user", "content": "and?"}]},
            "no message of the assistant",
            "input[0]",
        ),
        (
            RESPONSES,
            {"input": [CALL, TOLD, {"role": "user", "content": [NOISE, words("and?")]}]},
            "audio",
            "input[2].content[0]",
        ),
        (CHAT, said("x", server_tools=["detector"], tool_choice="printer"), "printer", "tool_choice"),
        (CHAT, said("x", response_format={"type": "text", "x": 1}), "unknown key", "response_format"),
    ],
)
def test_what_is_refused(running, path, body, said, param):
    status, found = running.request(path, body)
    assert status == 400
    assert said in found["error"]["message"]
    assert found["error"]["param"] == param
    assert running.quiet()


def test_making_holds_up_nobody(running):
    done = []

    def make():
        done.append(running.request(IMAGES, {"prompt": "a seven", "steps": 500})[0])

    thread = threading.Thread(target=make)
    thread.start()
    end = time.monotonic() + 20
    while not running.server.service.inside and time.monotonic() < end:
        time.sleep(0.01)
    status, _ = running.request("/healthz")
    assert (status, done) == (200, []), "the picture is still being made"
    status, found = running.request(CHAT, said("What is this?", picture("dog.jpg")))
    assert found["choices"][0]["message"]["content"] == "It is a dog."
    thread.join(60)
    assert done == [200]


def test_time_is_limited(bot, tmp_path):
    weights = write_decoder(tmp_path, bot)
    with live(bot, ServeSettings(generators=(str(weights),), timeout=0.2)) as found:
        status, reply = found.request(IMAGES, {"prompt": "a seven", "steps": 1000})
        assert (status, reply["error"]["code"]) == (504, "timeout")
        assert found.quiet()


def test_work_ends_when_its_client_has_left(running):
    """So that the next one does not wait for a thousand steps."""
    client = http.client.HTTPConnection(running.url.partition("//")[2])
    body = json.dumps({"prompt": "a seven", "steps": 1000})
    client.request("POST", IMAGES, body, {"Content-Type": "application/json"})
    end = time.monotonic() + 20
    while not running.server.service.inside and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.3)  # the work has begun
    client.close()
    started = time.monotonic()
    status, _ = running.request(IMAGES, {"prompt": "a seven", "steps": 1})
    assert status == 200
    assert time.monotonic() - started < 10


# --- found


def test_where_is_what_I_hear(running, scene):  # noqa: N802 - people say I
    status, found = running.request(DETECT, {"picture": scene, "input": sound("dog.ogg"), "overlay": True})
    assert status == 200
    (box,) = found["annotations"]
    x, y, width, height = box["bbox"]
    assert sum(abs(a - b) for a, b in zip((x, y, x + width, y + height), DOG, strict=True)) < 12
    assert found["categories"] == [{"id": 1, "name": "the sound"}]
    assert (found["images"][0]["width"], found["images"][0]["height"]) == (208, 120)
    assert opened(found["overlay"]["b64_json"]).size == (416, 240)


def test_several_prompts_and_a_mixture(running, scene):
    _, found = running.request(DETECT, {"picture": scene, "input": ["a dog", "a ship", "a seven"]})
    assert "overlay" not in found
    assert {one["category_id"] for one in found["annotations"]} == {1, 2, 3}
    mixture = [sound("dog.ogg", weight=0.5), words("a dog") | {"as_media": True, "weight": 0.5}]
    _, found = running.request(DETECT, {"picture": scene, "input": mixture, "together": True})
    assert len(found["annotations"]) == 1
    _, found = running.request(DETECT, {"picture": scene, "input": "a frog"})
    assert found["annotations"] == []


def test_words_of_several_lines_are_looked_for_and_drawn(running, scene):
    body = {"picture": scene, "input": "a dog\n\n\n", "overlay": True}
    status, found = running.request(DETECT, body)
    assert status == 200
    assert len(found["annotations"]) == 1, "there is a box to be labelled"
    assert found["categories"] == [{"id": 1, "name": "a dog"}]


# --- tools of the server


def test_draw_what_you_hear(running):
    status, found = running.request(CHAT, said("Draw what you hear.", sound(), server_tools=["generator"]))
    assert status == 200
    message = found["choices"][0]["message"]
    assert message["content"] == "Here is a picture of the sound."
    (part,) = message["parts"]
    assert opened(part["image_url"]["url"].partition(",")[2]).size == (SIDE, SIDE)
    (call,) = found["imagebind"]["calls"]
    assert (call["name"], call["arguments"]) == ("generator", {"kind": "picture", "of": [1]})
    seen = said("What is this?", part)
    assert running.request(CHAT, seen)[0] == 200, "what was made can be asked about"


def test_an_answer_with_parts_may_be_sent_back(running):
    asked = said("Draw what you hear.", sound(), server_tools=["generator"])
    message = running.request(CHAT, asked)[1]["choices"][0]["message"]
    again = {"role": "user", "content": "Where is the dog?"}
    body = {"messages": [*asked["messages"], message, again], "server_tools": ["detector"]}
    status, found = running.request(CHAT, body)
    assert status == 200, found
    assert "there is no picture to look in" in found["choices"][0]["message"]["content"]


def test_a_required_call_is_made(running):
    asked = said("Tell me a story.", server_tools=["calculator"], tool_choice="required")
    _, found = running.request(CHAT, asked)
    (call,) = found["imagebind"]["calls"]
    assert call["name"] in ("calculator", "")
    assert ("result" in call) != ("error" in call)
    assert running.quiet()


def test_openais_client_streams_parts(client, scene):
    chunks = list(
        client.chat.completions.create(
            model="nano",
            stream=True,
            **said("Where is the dog?", scene),
            extra_body={"server_tools": ["calculator", "detector", "generator"]},
        )
    )
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(one.content or "" for one in deltas).startswith("I found “the dog” in one place")
    (parts,) = [one.parts for one in deltas if getattr(one, "parts", None)]
    assert [one["type"] for one in parts] == ["image_url", "detections"]
    assert len(parts[1]["detections"]["annotations"]) == 1
    assert chunks[0].imagebind["calls"][0]["name"] == "detector"
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_perceived_arguments_and_plain_answers(running):
    given = {"server_tools": ["calculator", "generator"]}
    asked = said(
        "Add the number you hear to the one you see.", sound("four.wav"), picture("seven.png"), **given
    )
    _, found = running.request(CHAT, asked)
    assert found["choices"][0]["message"]["content"] == "4 + 7 = 11"
    assert len(found["imagebind"]["calls"][0]["perceived"]) == 2
    _, plain = running.request(CHAT, said("What is this?", picture("dog.jpg"), **given))
    assert plain["choices"][0]["message"]["content"] == "It is a dog."
    assert "calls" not in plain["imagebind"]
    assert "parts" not in plain["choices"][0]["message"]
    none = said("Draw this.", sound(), tool_choice="none", **given)
    assert "calls" not in running.request(CHAT, none)[1]["imagebind"]


def asked_newly(question, *parts, **more):
    return {"input": [{"role": "user", "content": [*parts, words(question)]}], **more}


def test_responses_carry_calls_as_items(running):
    asked = asked_newly("Draw what you hear.", sound(), server_tools=["generator", "calculator"])
    status, found = running.request(RESPONSES, asked)
    assert status == 200, found
    call, came, message = found["output"]
    assert [one["type"] for one in found["output"]] == ["function_call", "function_call_output", "message"]
    assert (call["name"], json.loads(call["arguments"])) == ("generator", {"kind": "picture", "of": [1]})
    assert (came["call_id"], came["status"]) == (call["call_id"], "completed")
    assert message["content"][0]["text"] == came["output"] == "Here is a picture of the sound."
    (part,) = message["parts"]
    assert opened(part["image_url"]["url"].partition(",")[2]).size == (SIDE, SIDE)
    assert found["imagebind"]["calls"][0]["id"] == call["call_id"]
    assert [one["name"] for one in found["tools"]] == ["generator", "calculator"]
    again = {"role": "user", "content": "Where is the dog?"}
    body = {"input": [*asked["input"], *found["output"], again], "server_tools": ["detector"]}
    status, found = running.request(RESPONSES, body)
    assert status == 200, found
    assert found["output"][1]["status"] == "incomplete"
    assert "there is no picture to look in" in found["output"][1]["output"]


def test_openais_client_streams_the_calls_of_responses(client):
    parts = [
        {"type": "input_image", "image_url": data_url(INPUTS / "seven.png", "image/png")},
        sound("four.wav"),
    ]
    asked = asked_newly("Add the number you hear to the one you see.", *parts)
    with client.responses.stream(
        model="nano", extra_body={"server_tools": ["calculator"]}, tool_choice="auto", **asked
    ) as stream:
        events = list(stream)
        last = stream.get_final_response()
    call, came, message = last.output
    assert (call.type, call.name, json.loads(call.arguments)) == (
        "function_call", "calculator", {"expression": "4 + 7"}
    )  # fmt: skip
    assert (came.type, came.call_id, came.output) == ("function_call_output", call.call_id, "11")
    assert message.id == next(one for one in events if one.type == "response.output_text.done").item_id
    assert last.output_text == "4 + 7 = 11"
    written = [one.delta for one in events if one.type == "response.function_call_arguments.delta"]
    assert "".join(written) == call.arguments
    assert [one.output_index for one in events if one.type == "response.output_item.done"] == [0, 1, 2]
    assert [one.sequence_number for one in events] == list(range(len(events)))


def test_responses_without_a_call_are_as_without_tools(running):
    asked = asked_newly("What is this?", picture("dog.jpg"), server_tools=["calculator"])
    _, found = running.request(RESPONSES, asked)
    (message,) = found["output"]
    assert message["content"][0]["text"] == "It is a dog."
    assert "parts" not in message
    assert (found["tool_choice"], "calls" in found["imagebind"]) == ("auto", False)
    named = asked_newly("What is 1 divided by 0?", tool_choice={"type": "function", "name": "calculator"})
    _, found = running.request(RESPONSES, {**named, "server_tools": ["calculator"]})
    assert (found["output"][1]["status"], found["output"][1]["output"]) == ("incomplete", "division by zero")


def test_the_model_says_what_it_can(running, bot, monkeypatch, tmp_path):
    _, found = running.request("/v1/models")
    assert found["data"][0]["tools"] == ["calculator", "generator", "detector"]
    assert found["data"][0]["makes"] == ["picture", "sound", "shape"]
    from imagebind_llm.skills.generation import nano

    monkeypatch.setattr(nano, "generator_folder", lambda: tmp_path)
    with live(bot) as without:
        _, found = without.request("/v1/models")
        assert (found["data"][0]["tools"], found["data"][0]["makes"]) == (["calculator", "detector"], [])
        status, found = without.request(IMAGES, {"prompt": "a seven"})
        assert status == 400
        assert "not in this installation" in found["error"]["message"]


def test_the_document_and_the_metrics_know_the_routes(running):
    _, document = running.request("/openapi.json")
    for path in (IMAGES, DETECT, "/v1/audio/generations", "/v1/shapes/generations"):
        assert "requestBody" in document["paths"][path]["post"]
    assert {"negative_prompt", "guidance"} <= set(
        document["components"]["schemas"]["GenerationBody"]["properties"]
    )
    running.request(DETECT, {})
    text = running.server.service.metrics.text().decode()
    assert 'imagebind_llm_requests_total{route="/v1/detect",status="400"}' in text
