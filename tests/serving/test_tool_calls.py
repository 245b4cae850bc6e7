"""Tools and forms of answers in OpenAI's protocol, by OpenAI's own client against a live server with nano."""

import copy
import json

import openai
import pytest
from support.live_server import INPUTS, encoded, live, picture, words

from imagebind_llm import Assistant
from imagebind_llm.serving.tool_calls import CallText
from imagebind_llm.skills.tools import CALCULATOR

jsonschema = pytest.importorskip("jsonschema")
pytest.importorskip("llguidance")

ADD = "Add the number you hear to the one you see."
PICK = {
    "type": "function",
    "function": {
        "name": "pick",
        "description": "Picks fruit.",
        "parameters": {
            "type": "object",
            "properties": {"colour": {"enum": ["red", "green"]}, "count": {"type": "integer", "minimum": 1}},
            "required": ["colour", "count"],
            "additionalProperties": False,
        },
    },
}
SUM = CALCULATOR.to_openai()
READS_TOOLS = "{%- if tools %}{%- for tool in tools %}{{ tool['function']['name'] }}{%- endfor %}{%- endif %}"


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


@pytest.fixture(scope="module")
def told_of_tools(bot):
    """A server of a model whose chat template reads tools."""
    processor = copy.deepcopy(bot.processor)
    processor.tokenizer.chat_template = READS_TOOLS + processor.tokenizer.chat_template
    with live(Assistant(bot.model, processor)) as found:
        yield openai.OpenAI(base_url=f"{found.url}/v1", api_key="none", max_retries=0, timeout=60)


def asked(text=ADD):
    sound = {"type": "input_audio", "input_audio": {"data": encoded(INPUTS / "four.wav"), "format": "wav"}}
    return {"role": "user", "content": [sound, picture("seven.png"), words(text)]}


def collected(stream):
    """The calls and words of a stream, put together as OpenAI's documentation says."""
    calls, text, reason = {}, "", None
    for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reason = choice.finish_reason or reason
            for part in choice.delta.tool_calls or ():
                call = calls.setdefault(
                    part.index, {"id": part.id, "name": part.function.name, "arguments": ""}
                )
                call["arguments"] += part.function.arguments
    return list(calls.values()), text, reason


def test_a_sum_of_what_is_heard_and_seen_and_the_result_brought_back(client, running):
    dialog = [asked()]
    answer = client.chat.completions.create(model="nano", messages=dialog, tools=[SUM])
    (choice,) = answer.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    (call,) = choice.message.tool_calls
    assert (call.type, call.function.name) == ("function", "calculator")
    assert json.loads(call.function.arguments) == {"expression": "4 + 7"}
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens > 0
    dialog += [
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "11"},
    ]
    answer = client.chat.completions.create(model="nano", messages=dialog, tools=[SUM])
    assert answer.choices[0].message.content == "4 + 7 = 11"
    assert answer.choices[0].finish_reason == "stop"
    assert running.quiet()


def test_a_streamed_call_is_the_same_call(client):
    calls, text, reason = collected(
        client.chat.completions.create(model="nano", messages=[asked()], tools=[SUM], stream=True)
    )
    assert ([call["name"] for call in calls], text, reason) == (["calculator"], "", "tool_calls")
    assert json.loads(calls[0]["arguments"]) == {"expression": "4 + 7"}


def test_where_no_tool_is_asked_for_the_answer_is_in_words(client, bot):
    for more in ({}, {"stream": True}):
        reply = client.chat.completions.create(
            model="nano", messages=[asked("What do you see?")], tools=[SUM, PICK], **more
        )
        if more:
            calls, text, reason = collected(reply)
        else:
            message = reply.choices[0].message
            calls, text, reason = message.tool_calls or [], message.content, reply.choices[0].finish_reason
        assert (calls, reason) == ([], "stop")
        assert text == bot.ask("What do you see?", image=INPUTS / "seven.png", audio=INPUTS / "four.wav").text
    message = (
        client.chat.completions.create(model="nano", messages=[asked()], tools=[SUM], tool_choice="none")
        .choices[0]
        .message
    )
    assert message.tool_calls is None
    assert message.content


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "pick"}}])
def test_a_call_that_is_required_is_valid(client, stream, choice):
    for seed in range(3):
        reply = client.chat.completions.create(
            model="nano", messages=[asked("What is this?")], tools=[PICK], tool_choice=choice,
            temperature=1.5, seed=seed, stream=stream,
        )  # fmt: skip
        if stream:
            (call,), text, reason = collected(reply)
            name, arguments = call["name"], call["arguments"]
        else:
            (found,) = reply.choices[0].message.tool_calls
            name, arguments = found.function.name, found.function.arguments
            text, reason = reply.choices[0].message.content or "", reply.choices[0].finish_reason
        assert (name, text) == ("pick", "")
        if reason == "tool_calls":
            jsonschema.validate(json.loads(arguments), PICK["function"]["parameters"])
        else:  # a number of endless digits
            assert reason == "length"


def test_a_medium_without_a_number_is_said(client):
    dialog = [{"role": "user", "content": [picture("dog.jpg"), words("Double the number you see.")]}]
    choice = client.chat.completions.create(model="nano", messages=dialog, tools=[SUM]).choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.content.startswith("calculator is not called: no number is perceived")


def test_a_model_that_reads_tools_writes_its_calls(told_of_tools):
    answer = told_of_tools.chat.completions.create(
        model="nano", messages=[asked("What is this?")], tools=[PICK], tool_choice="required", max_tokens=60
    )
    assert answer.choices[0].message.tool_calls[0].function.name == "pick"
    free = told_of_tools.chat.completions.create(
        model="nano", messages=[asked("What is this?")], tools=[PICK], max_tokens=20
    )
    assert free.choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_of_a_given_form(client, stream):
    schema = {
        "type": "object",
        "properties": {"animal": {"type": "boolean"}, "legs": {"enum": [0, 2, 4]}},
        "required": ["animal", "legs"],
        "additionalProperties": False,
    }
    reply = client.chat.completions.create(
        model="nano", messages=[asked("What is this?")], temperature=1.0, seed=1, stream=stream,
        response_format={"type": "json_schema", "json_schema": {"name": "given", "schema": schema}},
    )  # fmt: skip
    text = collected(reply)[1] if stream else reply.choices[0].message.content
    jsonschema.validate(json.loads(text), schema)


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"tools": [{"type": "function"}]}, "tools[0]", "tools[0].function is None"),
        ({"tools": [PICK, PICK]}, "tools", "two tools have one name"),
        ({"tools": [PICK] * 129}, "tools", "at most 128"),
        ({"tools": [PICK], "tool_choice": "pck"}, "tool_choice", "did you mean 'pick'"),
        ({"tool_choice": "required"}, "tool_choice", "tools is empty"),
        ({"tools": [PICK], "n": 2}, "n", "ask for one answer"),
        ({"tools": [PICK], "stop": ["}"]}, "stop", "leave one out"),
        ({"tools": [PICK], "response_format": {"type": "json_object"}}, "response_format", "leave one out"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "x-routes": []}}]},
            "tools[0]",
            "unknown key",
        ),
    ],
)
def test_what_is_wrong_is_named(client, running, body, param, says):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**{"model": "nano", "messages": [asked()], **body})
    assert says in refused.value.message
    assert refused.value.body["param"] == param
    assert running.quiet()


@pytest.mark.parametrize("schema", [{"type": "word"}, {"not": {}}])
def test_a_schema_that_cannot_be_followed_is_refused(client, running, schema):
    form = {"type": "json_schema", "json_schema": {"name": "given", "schema": schema}}
    with pytest.raises(openai.BadRequestError, match="cannot be followed"):
        client.chat.completions.create(model="nano", messages=[asked()], response_format=form)
    assert running.quiet()


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize("frame", ["{}", "<tool_call>\n{}\n</tool_call>"])
def test_a_call_comes_in_pieces_of_any_size(size, frame):
    arguments = json.dumps({"a": "}{ </tool_call>", "b": [1, {"c": {}}]})
    whole = frame.format(f'{{"name": "f-1", "arguments": {arguments}}}')
    calls, deltas = CallText(), []
    for start in range(0, len(whole), size):
        deltas += [found] if (found := calls.add(whole[start : start + size])) else []
    deltas += calls.rest()
    parts = [delta["tool_calls"][0] for delta in deltas]
    assert [part.get("id") is not None for part in parts] == [True] + [False] * (len(parts) - 1)
    assert "".join(part["function"]["arguments"] for part in parts) == arguments
    assert calls.calls[0]["function"] == {"name": "f-1", "arguments": arguments}
    assert calls.reason("stop") == "tool_calls"
    assert calls.reason("length") == "length"


@pytest.mark.parametrize("text", ["It is a dog.", "", '{"name', '{"na me": 1}', "<tool", "{", " "])
def test_words_are_no_call(text):
    calls = CallText()
    deltas = [found for piece in text if (found := calls.add(piece))] + calls.rest()
    assert "".join(delta["content"] for delta in deltas) == text
    assert calls.reason("stop") == "stop"
