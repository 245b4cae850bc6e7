"""Tools of real MCP servers: one that is started, and one over HTTP."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from imagebind_llm import UserError
from imagebind_llm.skills.tools import Toolbox
from imagebind_llm.skills.tools.catalogue import read_tools_file
from imagebind_llm.skills.tools.mcp_servers import read_server

pytest.importorskip("mcp")
pytest.importorskip("jsonschema")

SERVER = '''
import sys
from mcp.server.mcpserver import MCPServer

server = MCPServer("numbers")

@server.tool()
def double(number: int) -> int:
    """Doubles a number."""
    return 2 * number

@server.tool()
def fail() -> str:
    """Fails."""
    raise ValueError("it broke")

if len(sys.argv) > 1:
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
else:
    server.run()
'''


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("mcp") / "server.py"
    path.write_text(SERVER)
    return path


@pytest.fixture(scope="module")
def started(script):
    return read_server({"command": ["python", str(script)], "confirm": False}, "server")


def test_tools_of_a_server_that_is_started(started):
    assert [tool.name for tool in started] == ["double", "fail"]
    assert started[0].description == "Doubles a number."
    box = Toolbox(started, limits=None)
    assert box.call("double", {"number": 21}).result == "42"
    assert "'x' is not of type 'integer'" in box.call("double", {"number": "x"}).error
    failed = box.call("fail", {})
    assert failed.result is None
    assert "\n" not in failed.error


def test_they_have_to_be_confirmed_unless_said_otherwise(script, tmp_path):
    file = tmp_path / "tools.json"
    file.write_text(json.dumps({"mcp": [{"command": ["python", str(script)], "allow": ["double"]}]}))
    (tool,) = read_tools_file(file)
    assert "nobody to ask" in Toolbox([tool]).call("double", {"number": 1}).error
    assert Toolbox([tool], confirm=lambda call: True).call("double", {"number": 4}).result == "8"


def test_a_server_over_http(script):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(script), str(port)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "NO_PROXY": "*"},
    )
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.2)
        tools = read_server(
            {"url": f"http://127.0.0.1:{port}/mcp", "allow": ["double"], "confirm": False}, "server"
        )
        assert Toolbox(tools).call("double", {"number": 5}).result == "10"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ([], "expected {'command'"),
        ({}, "expected a command"),
        ({"command": "python server.py"}, "a list of words"),
        ({"command": ["a"], "url": "http://a"}, "expected a command"),
        ({"url": "ftp://a"}, "no http address"),
        ({"command": ["no-such-program-anywhere"]}, "cannot be used"),
        ({"command": ["python", "-c", "print('hello')"]}, "cannot be used"),
        ({"command": ["a"], "alow": []}, "unknown key"),
        ({"command": ["a"], "confirm": "no"}, "expected true or false"),
    ],
)
def test_a_server_that_cannot_be_used(entry, says):
    with pytest.raises(UserError, match=says) as error:
        read_server(entry, "server")
    assert "\n" not in str(error.value)
