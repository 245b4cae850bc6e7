"""OpenAI's own client against a live server with nano: everything it does for text, embeddings and files."""

import math

import openai
import pytest
from support.live_server import INPUTS, encoded, live, picture, words

from imagebind_llm import Assistant


@pytest.fixture(scope="module")
def bot():
    return Assistant.from_pretrained("nano", device="cpu")


@pytest.fixture(scope="module")
def running(bot):
    with live(bot) as found:
        yield found


@pytest.fixture(scope="module")
def client(running):
    return openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0, timeout=60)


def user(*parts):
    return {"role": "user", "content": list(parts)}


def spoken(name="four.wav"):
    return {"type": "input_audio", "input_audio": {"data": encoded(INPUTS / name), "format": "wav"}}


DOG = user(picture("dog.jpg"), words("What is this?"))


def test_a_question_about_a_picture(client, bot):
    answer = client.chat.completions.create(model="nano", messages=[DOG])
    asked = bot.ask("What is this?", image=INPUTS / "dog.jpg")
    assert answer.choices[0].message.content == asked.text
    assert "dog" in asked.text
    assert answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (asked.prompt_tokens, asked.new_tokens)
    assert usage.total_tokens == asked.prompt_tokens + asked.new_tokens
    assert answer.imagebind["media"] == [{"modality": "image", "weight": 1.0}]


def test_the_stream_is_the_answer_in_pieces(client):
    whole = client.chat.completions.create(model="nano", messages=[DOG])
    chunks = list(
        client.chat.completions.create(
            model="nano", messages=[DOG], stream=True, stream_options={"include_usage": True}
        )
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    assert len([piece for piece in pieces if piece]) > 2
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({chunk.id for chunk in chunks}) == 1


def test_without_being_asked_a_stream_tells_no_usage(client):
    chunks = client.chat.completions.create(model="nano", messages=[DOG], stream=True)
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in chunks)


def test_the_cache_explains_in_the_first_chunk(client, bot):
    stream = client.chat.completions.create(
        model="nano",
        messages=[user(spoken(), words("What do you hear?"))],
        stream=True,
        extra_body={"explain": True, "cache": {"k": 3}},
    )
    found = next(iter(stream)).imagebind
    stream.close()
    assert found["cached"] is True
    expected = bot.retrieve(3, audio=INPUTS / "four.wav")
    assert [hit["caption"] for hit in found["retrieved"]] == [hit.caption for hit in expected]
    assert [hit["index"] for hit in found["retrieved"]] == [hit.index for hit in expected]
    assert found["retrieved"][0]["picture"] is None  # nano's cache keeps none


def test_seeds_repeat_and_choices_differ(client):
    asked = {
        "model": "nano",
        "messages": [user(words("Tell me something."))],
        "temperature": 2.0,
        "top_p": 1.0,
    }
    first = client.chat.completions.create(**asked, seed=7, n=4, max_completion_tokens=12)
    again = client.chat.completions.create(**asked, seed=7, n=4, max_completion_tokens=12)
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in again.choices]
    assert [choice.index for choice in first.choices] == [0, 1, 2, 3]
    assert len(set(texts)) > 1
    assert first.usage.completion_tokens <= 4 * 12


def test_the_length_is_kept(client):
    answer = client.chat.completions.create(model="nano", messages=[DOG], max_completion_tokens=2)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 2
    old = client.chat.completions.create(model="nano", messages=[DOG], max_tokens=2)
    assert old.choices[0].message.content == answer.choices[0].message.content


def test_logprobs(client):
    answer = client.chat.completions.create(model="nano", messages=[DOG], logprobs=True, top_logprobs=3)
    tokens = answer.choices[0].logprobs.content
    assert "".join(token.token for token in tokens).strip() == answer.choices[0].message.content
    for token in tokens:
        assert token.logprob == max(other.logprob for other in token.top_logprobs)  # greedy
        assert token.token == token.top_logprobs[0].token
        assert sum(math.exp(other.logprob) for other in token.top_logprobs) <= 1.0001
        assert bytes(token.bytes).decode() == token.token


def test_how_sure_the_model_is(client, bot):
    asked = bot.ask("What is this?", image=INPUTS / "dog.jpg")
    for more in ({}, {"temperature": 0.01, "seed": 1}, {"logprobs": True}):
        answer = client.chat.completions.create(model="nano", messages=[DOG], **more)
        assert answer.choices[0].confidence == pytest.approx(asked.confidence, abs=1e-4)
        assert answer.imagebind["nearest"] is None
    several = client.chat.completions.create(model="nano", messages=[DOG], n=3, temperature=0.01, seed=1)
    assert [one.confidence for one in several.choices] == pytest.approx([asked.confidence] * 3, abs=1e-4)
    chunks = list(client.chat.completions.create(model="nano", messages=[DOG], stream=True))
    told = [getattr(chunk.choices[0], "confidence", None) for chunk in chunks]
    assert told[:-1] == [None] * (len(told) - 1)
    assert told[-1] == pytest.approx(asked.confidence, abs=1e-4)
    heard = client.chat.completions.create(
        model="nano", messages=[user(spoken("dog.ogg"), words("What do you hear?"))]
    )
    here = bot.ask("What do you hear?", audio=INPUTS / "dog.ogg")
    assert heard.imagebind["nearest"] == pytest.approx(here.nearest, abs=1e-4)
    shown = client.chat.completions.create(model="nano", messages=[DOG], extra_body={"explain": True})
    assert shown.imagebind["nearest"] == shown.imagebind["retrieved"][0]["similarity"]


def test_many_at_once_are_as_sure_as_one(client, bot):
    from concurrent.futures import ThreadPoolExecutor

    names = ("dog.jpg", "car.jpg", "bird.jpg", "ship.jpg") * 4

    def ask(name):
        message = user(picture(name), words("What is this?"))
        return client.chat.completions.create(model="nano", messages=[message]).choices[0].confidence

    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(ask, names))
    alone = {name: bot.ask("What is this?", image=INPUTS / name).confidence for name in set(names)}
    assert found == pytest.approx([alone[name] for name in names], abs=1e-4)


def test_stop_texts_end_the_answer_and_are_not_in_it(client):
    whole = client.chat.completions.create(model="nano", messages=[DOG]).choices[0].message.content
    cut = client.chat.completions.create(model="nano", messages=[DOG], stop=["a dog", "zebra"])
    assert cut.choices[0].message.content == whole.partition("a dog")[0]
    assert cut.choices[0].finish_reason == "stop"
    streamed = client.chat.completions.create(model="nano", messages=[DOG], stop="a dog", stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == whole.partition("a dog")[0]


def test_a_dialog_goes_on_about_the_same_medium(client, bot):
    first = client.chat.completions.create(model="nano", messages=[DOG]).choices[0].message.content
    turns = [DOG, {"role": "assistant", "content": first}, user(words("Is it an animal?"))]
    answer = client.chat.completions.create(model="nano", messages=turns)
    chat = bot.chat()
    chat.send("What is this?", image=INPUTS / "dog.jpg")
    assert answer.choices[0].message.content == chat.send("Is it an animal?").text


def test_a_mixture_with_weights(client, bot):
    parts = [{**picture("dog.jpg"), "weight": 0.7}, {**spoken(), "weight": 0.3}]
    answer = client.chat.completions.create(model="nano", messages=[user(*parts, words("Describe it."))])
    asked = bot.ask("Describe it.", image=(INPUTS / "dog.jpg", 0.7), audio=(INPUTS / "four.wav", 0.3))
    assert answer.choices[0].message.content == asked.text
    assert [item["weight"] for item in answer.imagebind["media"]] == [0.7, 0.3]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("point", "three.ply"),
        ("depth", "eight_depth.png"),
        ("thermal", "three_thermal.png"),
        ("imu", "seven_imu.csv"),
    ],
)
def test_other_modalities(client, bot, kind, name):
    part = {"type": kind, kind: {"data": encoded(INPUTS / name)}}
    answer = client.chat.completions.create(model="nano", messages=[user(part, words("What is this?"))])
    assert answer.choices[0].message.content == bot.ask("What is this?", **{kind: INPUTS / name}).text


def test_embeddings_are_those_of_the_assistant(client, bot):
    found = client.embeddings.create(model="nano", input=["a dog", "a cat"])
    expected = bot.embed(text=["a dog", "a cat"])
    for row, own in zip(found.data, expected, strict=True):
        assert row.embedding == pytest.approx(own.tolist(), abs=1e-6)
    (image,) = client.embeddings.create(
        model="nano", input=[picture("dog.jpg")], encoding_format="float"
    ).data
    assert image.embedding == pytest.approx(bot.embed(image=INPUTS / "dog.jpg")[0].tolist(), abs=1e-5)


def test_an_embedding_asks_as_its_medium_does(client, bot):
    vector = bot.embed(image=INPUTS / "dog.jpg")[0].tolist()
    part = {"type": "embedding", "embedding": vector}
    answer = client.chat.completions.create(model="nano", messages=[user(part, words("What is this?"))])
    assert answer.choices[0].message.content == bot.ask("What is this?", image=INPUTS / "dog.jpg").text


@pytest.mark.parametrize(
    ("vector", "says"),
    [([1.0, 0.0], "shape [2]"), ([0.5] * 128, "length 5.65"), ([1e300] * 128, "length inf"), ([], "is []")],
)
def test_a_vector_that_is_no_embedding_is_refused(client, vector, says):
    part = {"type": "embedding", "embedding": vector}
    with pytest.raises(openai.BadRequestError, match="embedding") as refused:
        client.chat.completions.create(model="nano", messages=[user(part, words("What is this?"))])
    assert says in refused.value.message


def test_responses(client, bot):
    content = [
        {"type": "input_image", "image_url": picture("dog.jpg")["image_url"]["url"]},
        {"type": "input_text", "text": "What is this?"},
    ]
    answer = client.responses.create(model="nano", input=[{"role": "user", "content": content}])
    asked = bot.ask("What is this?", image=INPUTS / "dog.jpg")
    assert answer.output_text == asked.text
    assert answer.status == "completed"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (asked.prompt_tokens, asked.new_tokens)
    with client.responses.stream(model="nano", input=[{"role": "user", "content": content}]) as stream:
        events = list(stream)
        assert stream.get_final_response().output_text == asked.text
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(pieces) == asked.text
    cut = client.responses.create(model="nano", input="What is this?", max_output_tokens=1)
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_completions_go_on_with_a_text(client):
    answer = client.completions.create(model="nano", prompt="What is", max_tokens=4, logprobs=2)
    assert answer.choices[0].text
    ends = answer.choices[0].finish_reason == "stop"  # the end token is counted, and is no text
    assert len(answer.choices[0].logprobs.tokens) + ends == answer.usage.completion_tokens <= 4
    chunks = client.completions.create(model="nano", prompt="What is", max_tokens=4, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == answer.choices[0].text


def test_models(client):
    (model,) = client.models.list().data
    assert model.id == "nano"
    assert set(model.modalities) == {"image", "video", "audio", "text", "point", "depth", "thermal", "imu"}
    assert client.models.retrieve("nano") == model
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-4'"):
        client.models.retrieve("gpt-4")


def test_files(client, bot):
    file = client.files.create(file=INPUTS / "dog.jpg", purpose="user_data")
    assert file.bytes == (INPUTS / "dog.jpg").stat().st_size
    assert client.files.retrieve(file.id).filename == "dog.jpg"
    assert file.id in [other.id for other in client.files.list().data]
    assert client.files.content(file.id).read() == (INPUTS / "dog.jpg").read_bytes()
    for part in (
        {"type": "file", "file": {"file_id": file.id}},
        {"type": "image", "image": {"file_id": file.id}},
    ):
        answer = client.chat.completions.create(model="nano", messages=[user(part, words("What is this?"))])
        assert answer.choices[0].message.content == bot.ask("What is this?", image=INPUTS / "dog.jpg").text
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)
    with pytest.raises(openai.BadRequestError, match="no file"):
        client.chat.completions.create(
            model="nano",
            messages=[user({"type": "file", "file": {"file_id": file.id}}, words("What is this?"))],
        )


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"response_format": {"type": "xml"}}, "response_format", "expected an object with a 'type'"),
        ({"response_format": {"type": "grammar", "grammar": {}}}, "response_format", "send a JSON schema"),
        ({"presence_penalty": 0.5}, "presence_penalty", "cannot honour"),
        ({"logit_bias": {"5": 1}}, "logit_bias", "cannot honour"),
        ({"temperature": -1}, "temperature", "greater than or equal"),
        ({"temperature": 1e-9}, "temperature", "at least 1e-06"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"n": 1000}, "n", "less than or equal"),
        ({"n": 100}, "n", "at most 16"),
        ({"seed": 1.5}, "seed", "valid integer"),
        ({"stop": ["a"] * 5}, "stop", "at most 4"),
        ({"stop": [""]}, "stop", "empty"),
        ({"extra_body": {"temprature": 1}}, "temprature", "did you mean 'temperature'"),
        ({"extra_body": {"cache": {"k": 10**9}}}, "cache.k", "less than or equal"),
        ({"top_logprobs": 2}, "top_logprobs", "logprobs"),
        ({"messages": []}, "messages", "at least 1 item"),
        ({"messages": [{"role": "usr", "content": "x"}]}, "messages", "did you mean 'user'"),
        ({"messages": [user({"type": "imagee"})]}, "messages[0].content[0]", "did you mean 'image'"),
        (
            {"messages": [user({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}})]},
            "messages[0].content[0]",
            "no address that can be read",
        ),
        (
            {"messages": [user({"type": "image", "image": "/etc/passwd"})]},
            "messages[0].content[0]",
            "no address that can be read",
        ),
        (
            {"messages": [user({"type": "image", "path": "/etc/passwd"})]},
            "messages[0].content[0]",
            "unknown key",
        ),
        (
            {"messages": [user({"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}})]},
            "messages[0].content[0]",
            "remote addresses are off",
        ),
        (
            {"messages": [user({"type": "image_url", "image_url": {"url": "data:image/png;base64,!!"}})]},
            "messages[0].content[0]",
            "not base64",
        ),
        ({"messages": [user(words("x" * 5000))]}, None, "shorten"),
        ({"extra_body": {"cache": {"kk": 3}}}, "cache.kk", "use one of enabled, k, temperature, weight"),
        (
            {
                "messages": [
                    {"role": "system", "content": "Be kind."},
                    DOG,
                    {"role": "assistant", "content": "It is a dog."},
                    user(words("And"), picture("dog.jpg"), {"type": "image", "image": {"data": "AAAA"}}),
                ]
            },
            "messages[3].content[2]",
            "not a readable image",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(client, running, body, param, says):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**{"model": "nano", "messages": [DOG], **body})
    assert says in refused.value.message
    assert refused.value.body["param"] == param
    assert refused.value.body["type"] == "invalid_request_error"
    assert running.quiet()


def test_neutral_values_of_what_cannot_be_done_are_taken(client):
    answer = client.chat.completions.create(
        model="nano", messages=[DOG], presence_penalty=0, frequency_penalty=0.0, logit_bias={}, tools=[],
        response_format={"type": "text"}, user="me", metadata={"a": "b"}, store=False,
    )  # fmt: skip
    assert answer.choices[0].message.content
