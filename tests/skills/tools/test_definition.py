"""Tools from functions and from OpenAI's definitions."""

from typing import Annotated, Literal

import pytest

from imagebind_llm import UserError
from imagebind_llm.skills.tools import CALCULATOR, Route, Tool
from imagebind_llm.skills.tools.arguments import check_arguments
from imagebind_llm.skills.tools.definition import read_tools

pydantic = pytest.importorskip("pydantic")
pytest.importorskip("jsonschema")


def weather(
    city: str, days: Annotated[int, pydantic.Field(ge=1, le=7)] = 1, unit: Literal["C", "F"] = "C"
) -> str:
    """Tells the weather.

    Args:
        city: where.
        days: how many days ahead.
    """
    return f"{city} {days} {unit}"


DEFINED = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def test_a_function_becomes_a_tool():
    tool = Tool.of(weather)
    function = tool.to_openai()["function"]
    assert (tool.name, function["description"]) == ("weather", "Tells the weather.")
    properties = function["parameters"]["properties"]
    assert properties["city"] == {"title": "City", "type": "string", "description": "where."}
    assert (properties["days"]["minimum"], properties["days"]["maximum"]) == (1, 7)
    assert properties["unit"]["enum"] == ["C", "F"]
    assert function["parameters"]["required"] == ["city"]
    assert tool.run(city="Bonn", days=2) == "Bonn 2 C"
    assert Tool.of(weather, name="forecast", confirm=True).confirm


def test_a_definition_is_read_as_it_is_written():
    for tool in (Tool.of(weather), CALCULATOR):
        again = Tool.read(tool.to_openai())
        assert again.to_openai() == tool.to_openai()
        assert again.run is None
    routes = [route.to_dict() for route in CALCULATOR.routes]
    defined = {"type": "function", "function": {**CALCULATOR.to_openai()["function"], "x-routes": routes}}
    assert Tool.read(defined).routes == CALCULATOR.routes


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "expected {'type': 'function'"),
        ({"type": "function", "name": "f"}, "unknown key"),
        ({"type": "function", "function": "f"}, "tool.function is 'f'"),
        ({"type": "function", "function": {"name": "a b"}}, "a tool is called 'a b'"),
        ({"type": "function", "function": {"name": "f", "parameter": {}}}, "did you mean 'parameters'"),
        (
            {"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}},
            "expected 'object'",
        ),
        ({"type": "function", "function": {"name": "f", "parameters": []}}, "expected a JSON schema"),
        ({"type": "function", "function": {"name": "f", "x-routes": {}}}, "expected a list of at most"),
        ({"type": "function", "function": {"name": "f", "x-routes": [{"phrase": "{a"}]}}, "not closed"),
    ],
)
def test_a_malformed_definition_is_refused(given, says):
    with pytest.raises(UserError, match=says):
        Tool.read(given)


def test_a_function_that_cannot_be_described_is_refused():
    def untyped(a):
        return a

    def positional(a: int, /):
        return a

    def odd(a: type(weather)):
        return a

    for function, says in ((untyped, "no type hint"), (positional, "by name"), (odd, "cannot be described")):
        with pytest.raises(UserError, match=says):
            Tool.of(function)


def test_names_are_their_own():
    with pytest.raises(UserError, match="two tools are called 'f'"):
        read_tools([DEFINED, DEFINED])
    with pytest.raises(UserError, match="expected a list"):
        read_tools(DEFINED)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "'city' is a required property"),
        ({"city": 5}, "city: 5 is not of type 'string'"),
        ({"city": "Bonn", "days": 9}, "days: 9 is greater than the maximum of 7"),
        ({"city": "Bonn", "days": "2"}, "days: '2' is not of type 'integer'"),
        ({"city": "Bonn", "place": "x"}, "'place' was unexpected"),
        ("Bonn", "expected an object"),
    ],
)
def test_wrong_arguments_are_named(arguments, says):
    with pytest.raises(UserError) as error:
        check_arguments(Tool.of(weather), arguments)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_is_fetched_for_a_schema():
    tool = Tool("f", "", {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/a.json"}}})
    with pytest.raises(UserError, match="cannot be checked"):
        check_arguments(tool, {"a": 1})


def test_a_route_with_an_unknown_place_is_refused():
    with pytest.raises(UserError, match="name 'b'"):
        Route("add {a}", {"expression": "{a} + {b}"})
