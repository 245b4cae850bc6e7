"""A call is made only if it may be, ends in time, and always comes back as a record of one line."""

import asyncio
import threading
import time
from concurrent.futures import Future

import pytest

from imagebind_llm import UserError
from imagebind_llm.skills.tools import CALCULATOR, Limits, Tool, Toolbox
from imagebind_llm.skills.tools.stopping import Stop, check_time, ended_by, stopped_by

pytest.importorskip("jsonschema")
pytest.importorskip("pydantic")


def double(number: int) -> int:
    """Doubles."""
    return 2 * number


def raising(text: str = "no") -> str:
    raise ValueError(text)


async def later(number: int) -> int:
    await asyncio.sleep(0)
    return number


def unwritable() -> object:
    return object()


def long_text(size: int) -> str:
    return "x" * size


def failed(call):
    assert call.result is None
    assert call.error
    assert "\n" not in call.error
    return call.error


def test_a_call_is_logged_with_what_it_took():
    call = Toolbox([double]).call("double", {"number": 4})
    assert (call.name, call.arguments, call.result, call.error) == ("double", {"number": 4}, "8", None)
    assert 0 <= call.seconds < 5
    assert call.to_dict()["result"] == "8"
    assert str(call).startswith("double(number=4) → 8 (")


def test_a_coroutine_function_is_a_tool():
    assert Toolbox([later]).call("later", {"number": 3}).result == "3"


def test_only_what_is_allowed_is_called():
    box = Toolbox([double, raising], allow=["raising"])
    assert [tool.name for tool in box.tools] == ["raising"]
    assert failed(box.call("double", {"number": 1})) == "double is not allowed here"
    assert "there is no tool 'triple'" in failed(box.call("triple", {}))
    with pytest.raises(UserError, match="did you mean 'double'"):
        Toolbox([double], allow=["duble"])


def test_a_definition_alone_is_not_called():
    box = Toolbox([{"type": "function", "function": {"name": "f"}}])
    assert "definition only" in failed(box.call("f", {}))


def test_confirmation():
    asked, ran = [], []

    def delete(name: str) -> str:
        ran.append(name)
        return "deleted"

    tool = Tool.of(delete, confirm=True)
    assert "nobody to ask" in failed(Toolbox([tool]).call("delete", {"name": "a"}))

    def confirm(call):
        asked.append((call.name, dict(call.arguments)))
        return call.arguments["name"] == "b"

    box = Toolbox([tool, double], confirm=confirm)
    assert failed(box.call("delete", {"name": "a"})) == "delete was not confirmed"
    assert failed(box.call("delete", {"name": 5}))
    assert ran == []
    assert box.call("delete", {"name": "b"}).result == "deleted"
    assert box.call("double", {"number": 1}).result == "2"
    assert asked == [("delete", {"name": "a"}), ("delete", {"name": "b"})], (
        "only what is valid is asked about"
    )


def test_wrong_types_reach_no_tool():
    ran = []

    def note(number: int) -> str:
        ran.append(number)
        return ""

    assert "number: 'four' is not of type 'integer'" in failed(
        Toolbox([note]).call("note", {"number": "four"})
    )
    assert "expected an object" in failed(Toolbox([note]).call("note", [4]))
    assert ran == []


def test_a_tool_that_raises():
    call = Toolbox([raising]).call("raising", {"text": "first\nsecond"})
    assert failed(call) == "ValueError: first"


def test_a_tool_that_does_not_end():
    end = threading.Event()

    def slow() -> str:
        end.wait(20)
        return "late"

    box = Toolbox([slow, double], limits=Limits(call_seconds=0.05))
    started = time.perf_counter()
    for _ in range(8):
        assert failed(box.call("slow", {})) == "slow did not end in 0.05 s"
    assert failed(box.call("double", {"number": 1})) == (
        "8 calls ran out of time and still run (8 of slow); no further call is made before one of them ends"
    )
    assert time.perf_counter() - started < 10
    end.set()
    for thread in threading.enumerate():
        if thread.name == "tool slow":
            thread.join(5)
    end.clear()
    assert failed(box.call("slow", {})) == "slow did not end in 0.05 s", "those that have ended do not count"
    end.set()


def alive(name):
    return [thread for thread in threading.enumerate() if thread.name == f"tool {name}"]


def ends_soon(name):
    for thread in alive(name):
        thread.join(10)
    return not alive(name)


def test_a_tool_that_looks_at_the_time_ends_when_it_is_over():
    def counting() -> str:
        while True:
            time.sleep(0.005)
            check_time()

    box = Toolbox([counting], limits=Limits(call_seconds=0.05))
    for _ in range(10):  # more than may be left behind
        assert failed(box.call("counting", {})) == "counting did not end in 0.05 s"
        assert ends_soon("counting")


def test_a_coroutine_is_cancelled():
    cleaned = []

    async def waiting() -> str:
        try:
            await asyncio.sleep(30)
        finally:
            cleaned.append(True)
        return "late"

    box = Toolbox([waiting], limits=Limits(call_seconds=0.05))
    assert failed(box.call("waiting", {})) == "waiting did not end in 0.05 s"
    assert ends_soon("waiting")
    assert cleaned == [True]


def test_what_a_tool_waits_for_can_be_ended():
    future = Future()

    def waiting() -> str:
        with ended_by(future.cancel):
            return future.result(30)

    box = Toolbox([waiting], limits=Limits(call_seconds=0.05))
    assert failed(box.call("waiting", {})) == "waiting did not end in 0.05 s"
    assert ends_soon("waiting")
    assert future.cancelled()


def test_outside_of_a_call_there_is_no_time_to_be_over():
    check_time()
    with ended_by(lambda: pytest.fail("nothing ends it")):
        pass
    stop = Stop()
    stop.set()
    with stopped_by(stop), pytest.raises(UserError, match="time is over"):
        check_time()
    found = Future()
    with stopped_by(stop), ended_by(found.cancel):
        assert found.cancelled(), "at once, where the time is over"


def test_a_result_is_cut():
    box = Toolbox([long_text], limits=Limits(result=50))
    assert box.call("long_text", {"size": 50}).result == "x" * 50
    assert box.call("long_text", {"size": 10**6}).result == "x" * 50 + " … (cut: 50 of 1,000,000 characters)"


def test_a_result_that_is_no_text():
    assert "neither text nor JSON" in failed(Toolbox([unwritable]).call("unwritable", {}))
    assert Toolbox([long_text]).call("long_text", {"size": 0}).result == ""


def test_limits_are_numbers_above_zero():
    for values in ({"steps": 0}, {"seconds": -1}, {"result": True}, {"call_seconds": float("nan")}):
        with pytest.raises(UserError, match="above 0"):
            Limits(**values)


def test_the_calculator_is_a_tool():
    assert Toolbox([CALCULATOR]).call("calculator", {"expression": "6 * 7"}).result == "42"
    assert Toolbox([CALCULATOR]).call("calculator", {"expression": "1+" * 500 + "1"}).error
