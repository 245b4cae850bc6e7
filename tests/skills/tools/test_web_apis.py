"""A web API by its OpenAPI document, against a real server on this machine."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from imagebind_llm import UserError
from imagebind_llm.skills.tools import Toolbox, openapi
from imagebind_llm.skills.tools.openapi import read_api

pytest.importorskip("jsonschema")
pytest.importorskip("httpx")


class Handler(BaseHTTPRequestHandler):
    seen: ClassVar[list] = []

    def do_GET(self):
        Handler.seen.append((self.command, self.path, dict(self.headers)))
        body, status, headers = b'{"sky": "blue"}', 200, {"Content-Type": "application/json"}
        if self.path.startswith("/v1/moved"):
            status, headers = 302, {"Location": "http://example.org/"}
        elif self.path.startswith("/v1/large"):
            body = b"x" * (openapi.MOST_BYTES + 1)
        elif self.path.startswith("/v1/broken"):
            status, body = 500, b"it\nbroke"
        elif self.path.startswith("/v1/bytes"):
            body, headers = b"\xff\xfe\x00", {"Content-Type": "image/png"}
        elif self.path.startswith("/v1/slow"):
            time.sleep(1)
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        content = self.rfile.read(length)
        Handler.seen.append((self.command, self.path, json.loads(content)))
        self.send_response(201)
        self.end_headers()
        self.wfile.write(b"made")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def port():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


def document(port):
    days = {"name": "days", "in": "query", "schema": {"type": "integer", "maximum": 7, "example": 3}}
    operations = {
        "/weather/{city}": {
            "parameters": [{"name": "city", "in": "path", "required": True, "schema": {"type": "string"}}],
            "get": {"operationId": "weather", "summary": "The weather.", "parameters": [days]},
        },
        "/notes": {
            "post": {
                "operationId": "note",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Note"}}},
                },
            }
        },
        "/loop": {
            "post": {
                "operationId": "loop",
                "requestBody": {
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Loop"}}}
                },
            }
        },
        **{
            f"/{name}": {"get": {"operationId": name}}
            for name in ("moved", "large", "broken", "bytes", "slow")
        },
    }
    note = {
        "type": "object",
        "properties": {"text": {"type": "string"}, "example": {"type": "integer"}},
        "required": ["text"],
        "additionalProperties": False,
    }
    loop = {"type": "object", "properties": {"inner": {"$ref": "#/components/schemas/Loop"}}}
    return {
        "openapi": "3.1.0",
        "servers": [{"url": f"http://127.0.0.1:{port}/v1/"}],
        "paths": operations,
        "components": {"schemas": {"Note": note, "Loop": loop}},
    }


@pytest.fixture
def entry(port, tmp_path):
    (tmp_path / "api.json").write_text(json.dumps(document(port)))
    Handler.seen.clear()

    def made(*operations, **changes):
        given = {"document": "api.json", "hosts": ["127.0.0.1"], "operations": list(operations), **changes}
        return read_api(given, "api", tmp_path)

    return made


def test_only_what_is_listed_becomes_a_tool(entry):
    (tool,) = entry("weather")
    assert (tool.name, tool.description, tool.confirm) == ("weather", "The weather.", False)
    assert tool.parameters["properties"]["days"] == {"type": "integer", "maximum": 7}
    assert tool.parameters["required"] == ["city"]
    with pytest.raises(UserError, match="did you mean 'weather'"):
        entry("wether")


def test_a_call_goes_where_the_document_says(entry, monkeypatch):
    monkeypatch.setenv("WEATHER_KEY", "secret")
    box = Toolbox(entry("weather", headers={"Authorization": "Bearer ${WEATHER_KEY}"}))
    call = box.call("weather", {"city": "Bad Homburg/../x?y=1", "days": 2})
    assert call.result == '{"sky": "blue"}'
    ((method, path, headers),) = Handler.seen
    assert (method, path) == ("GET", "/v1/weather/Bad%20Homburg%2F..%2Fx%3Fy%3D1?days=2")
    assert headers["Authorization"] == "Bearer secret"
    assert "secret" not in json.dumps(call.to_dict())
    assert "greater than the maximum of 7" in box.call("weather", {"city": "Bonn", "days": 9}).error
    assert "no part of a path" in box.call("weather", {"city": ".."}).error
    assert len(Handler.seen) == 1


def test_what_changes_something_is_confirmed(entry):
    tools = entry("note")
    assert "nobody to ask" in Toolbox(tools).call("note", {"body": {"text": "a"}}).error
    assert Handler.seen == []
    box = Toolbox(tools, confirm=lambda call: True)
    assert box.call("note", {"body": {"text": "a", "example": 1}}).result == "made"
    assert Handler.seen == [("POST", "/v1/notes", {"text": "a", "example": 1})]
    assert "'text' is a required property" in box.call("note", {"body": {}}).error


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        ("moved", "points to 'http://example.org/'; it is not followed"),
        ("large", "more than 1,048,576 bytes"),
        ("broken", "HTTP 500: it broke"),
        ("bytes", "(image/png) is no text"),
        ("slow", "ReadTimeout|timed out"),
    ],
)
def test_what_goes_wrong_is_one_line(entry, operation, says, monkeypatch):
    monkeypatch.setattr(openapi, "SECONDS", 0.3)
    call = Toolbox(entry(operation)).call(operation, {})
    assert any(one in call.error for one in says.split("|"))
    assert "\n" not in call.error


def test_nobody_is_there(entry):
    (tool,) = entry("weather", base="http://127.0.0.1:9")
    assert Toolbox([tool]).call("weather", {"city": "Bonn"}).error.startswith("127.0.0.1:9: ")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hosts": ["example.org"]}, "not at one of the hosts example.org"),
        ({"hosts": []}, "expected a list of names"),
        ({"base": "http://example.org@127.0.0.1/"}, "no plain address"),
        ({"base": "file:///etc"}, "not at one of the hosts"),
        ({"document": "none.json"}, "cannot be read"),
        ({"headers": {"A": "${NOT_SET_ANYWHERE}"}}, "NOT_SET_ANYWHERE, which is not set"),
        ({"host": []}, "unknown key"),
    ],
)
def test_a_malformed_entry_is_refused(entry, changes, says):
    with pytest.raises(UserError, match=says):
        entry("weather", **changes)


def test_a_schema_that_holds_itself_is_refused(entry):
    with pytest.raises(UserError, match="holds itself"):
        entry("loop")


def test_a_document_of_another_kind_is_refused(tmp_path):
    (tmp_path / "old.yaml").write_text("swagger: '2.0'\n")
    given = {"document": "old.yaml", "hosts": ["a"], "operations": ["b"]}
    with pytest.raises(UserError, match="no OpenAPI 3 document"):
        read_api(given, "api", tmp_path)
