"""Requests made up from the OpenAPI document: none may meet an error that nobody meant."""

import json
from contextlib import suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from support.live_server import live

from imagebind_llm import Assistant

RUN = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def running(bot, tiny_cache_folder):
    own = Assistant(bot.model, bot.processor, tiny_cache_folder)
    with live(own) as found:
        yield found


@pytest.fixture(scope="module")
def document(running):
    return running.request("/openapi.json")[1]


def test_no_request_meets_a_fault(running):
    api = schemathesis.openapi.from_url(f"{running.url}/openapi.json")
    tried = []

    def look(case):
        response = case.call(timeout=30)
        tried.append(response.status_code)
        assert response.status_code < 500, (case.method, case.path, response.text[:300])
        if response.status_code >= 400:
            error = response.json()["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert "\n" not in error["message"]

    for found in api.get_all_operations():
        operation = found.ok()
        for mode in GenerationMode:
            cases = operation.as_strategy(generation_mode=mode)
            with suppress(Unsatisfiable):  # a route without parameters has no wrong ones
                RUN(given(cases)(look))()
    assert running.quiet()
    assert {200, 400, 404} <= set(tried)
    assert len(tried) > 120


def test_the_document_says_what_is_there(document):
    assert document["openapi"].startswith("3.")
    paths = document["paths"]
    for path in ("/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/embeddings", "/v1/files"):
        assert "requestBody" in paths[path]["post"], path
    body = document["components"]["schemas"]["ChatBody"]["properties"]
    assert {"messages", "cache", "explain", "seed"} <= set(body)
    reply = paths["/v1/chat/completions"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    said = document["components"]["schemas"][reply["$ref"].rpartition("/")[2]]["properties"]
    assert "temperature 1" in said["choices"]["items"]["properties"]["confidence"]["description"]
    assert "nearest" in said["imagebind"]["properties"]
    assert json.dumps(document)  # nothing in it that JSON cannot hold
