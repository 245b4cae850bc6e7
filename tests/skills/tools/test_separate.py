"""Tools in a process of their own, which is killed when the time of the call is over."""

import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from imagebind_llm import UserError
from imagebind_llm.skills.tools import Limits, Tool, Toolbox
from imagebind_llm.skills.tools.catalogue import read_tools_file
from imagebind_llm.skills.tools.separate import InProcess
from imagebind_llm.skills.tools.stopping import Stop, stopped_by

pytest.importorskip("jsonschema")
pytest.importorskip("pydantic")

MODULE = '''
import os, subprocess, sys, time


def pid(times: int = 1) -> dict:
    """The number of its process."""
    print("this is no result")
    return {"pid": os.getpid(), "times": times}


def forever(file: str) -> str:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with open(file + ".new", "w") as out:
        out.write(f"{os.getpid()} {child.pid}")
    os.rename(file + ".new", file)
    time.sleep(60)


def raising(text: str) -> str:
    raise ValueError(text)


async def later() -> str:
    return "later"


def leaving() -> str:
    os._exit(5)


def unwritable() -> object:
    return object()
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    name = f"tools_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__(name)
    sys.modules.pop(name, None)


def separate(*functions):
    return Toolbox([Tool.of(one, process=True) for one in functions], limits=Limits(call_seconds=60))


def test_it_runs_elsewhere_and_gives_its_result(module):
    call = separate(module.pid).call("pid", {"times": 3})
    found = json.loads(call.result)
    assert found["times"] == 3
    assert found["pid"] != os.getpid()


def test_what_goes_wrong_there_is_one_line_here(module):
    box = separate(module.raising, module.leaving, module.unwritable, module.later)
    assert box.call("raising", {"text": "first\nsecond"}).error == "ValueError: first"
    assert box.call("leaving", {}).error == "its process ended with exit code 5"
    assert "not JSON serializable" in box.call("unwritable", {}).error
    assert box.call("later", {}).result == "later"


def is_running(number):
    try:
        status = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_it_is_killed_with_what_it_started_when_its_time_is_over(module, tmp_path):
    file = tmp_path / "numbers"
    stop, errors = Stop(), []

    def calling():
        with stopped_by(stop):
            try:
                InProcess(module.forever)(file=str(file))
            except UserError as error:
                errors.append(str(error))

    thread = threading.Thread(target=calling)
    thread.start()
    while not file.exists():
        time.sleep(0.02)
    numbers = [int(word) for word in file.read_text().split()]
    assert all(map(is_running, numbers))
    stop.set()
    thread.join(10)
    assert errors == ["its time is over"]
    deadline = time.monotonic() + 10
    while any(map(is_running, numbers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(is_running, numbers))


def test_only_what_another_process_can_import_runs_there(module):
    with pytest.raises(UserError, match="at the top of a module"):
        Tool.of(lambda: "x", name="f", process=True)


def test_a_file_of_tools_can_ask_for_it(module, tmp_path, monkeypatch):
    given = {"type": "function", "function": {"name": "pid"}, "run": f"{module.__name__}:pid"}
    path = tmp_path / "tools.json"
    path.write_text(json.dumps({"tools": [{**given, "process": True}]}))
    call = Toolbox(read_tools_file(path), limits=Limits(call_seconds=60)).call("pid", {})
    assert json.loads(call.result)["pid"] != os.getpid()
    path.write_text(json.dumps({"tools": [{**given, "process": "yes"}]}))
    with pytest.raises(UserError, match="process true or false"):
        read_tools_file(path)
