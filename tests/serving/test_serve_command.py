"""``imagebind-llm serve`` as a process: it says where it is, asks for keys, and ends in order."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

LONG = {
    "messages": [{"role": "user", "content": "Tell me a story."}],
    "temperature": 2,
    "top_p": 1,
    "seed": 1,
    "n": 8,
    "max_completion_tokens": 200,
    "stream": True,
}

FORM = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nwords\r\n'
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n--b--\r\n'
)


@contextmanager
def serving(*arguments, environment=None):
    """The process and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "imagebind_llm", "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found, line + process.stderr.read()
        url = found[0].rstrip("/")
        end = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                    break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.05)
        yield process, url
    finally:
        process.kill()
        process.wait()


def run(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "imagebind_llm", *arguments], capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout, done.stderr


def post(url, body, key=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    return urllib.request.urlopen(
        urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers), timeout=60
    )


def send(url, key, body=None, kind="application/json"):
    headers = {"Content-Type": kind, "Authorization": f"Bearer {key}"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as reply:
        return json.load(reply)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_answers_under_way_are_finished_before_it_ends(how):
    with serving() as (process, url):
        with post(url, LONG) as reply:
            assert reply.readline().startswith(b"data: ")
            process.send_signal(how)
            rest = reply.read()
        assert rest.rstrip().endswith(b"data: [DONE]")
        assert rest.count(b'"finish_reason":"') == 8
        assert process.wait(30) in (0, 130, -how)
        assert "Traceback" not in process.stderr.read()


def test_keys(tmp_path):
    file = str(tmp_path / "keys.json")
    code, key, note = run("serve", "keys", "new", "alice", "--file", file)
    assert (code, "not kept" in note) == (0, True)
    key = key.strip()
    assert key not in (tmp_path / "keys.json").read_text()
    assert run("serve", "keys", "list", "--file", file)[1].startswith("alice\t")
    with serving("--keys", file) as (_, url):
        with urllib.request.urlopen(f"{url}/") as page:
            assert b"<title>" in page.read()
        for wrong in (None, "ibl-wrong"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                post(url, {**LONG, "stream": False, "n": 1}, wrong)
            assert refused.value.code == 401
            assert json.load(refused.value)["error"]["code"] == "invalid_api_key"
        with post(url, {**LONG, "stream": False, "n": 1}, key) as reply:
            assert json.load(reply)["choices"]
        other = run("serve", "keys", "new", "bob", "--file", file)[1].strip()
        mine = send(f"{url}/v1/files", key, FORM, "multipart/form-data; boundary=b")
        assert send(f"{url}/v1/files/{mine['id']}", key)["filename"] == "a.txt"
        assert send(f"{url}/v1/files", other)["data"] == []
        with pytest.raises(urllib.error.HTTPError) as refused:
            send(f"{url}/v1/files/{mine['id']}/content", other)
        assert refused.value.code == 404
        assert run("serve", "keys", "remove", "alice", "--file", file)[0] == 0
        with pytest.raises(urllib.error.HTTPError):
            post(url, {**LONG, "stream": False, "n": 1}, key)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "no API key is set"),
        (["--host", "192.0.2.77"], "no API key is set"),
        (["--host", "192.0.2.77", "--insecure"], "cannot listen at 192.0.2.77"),
        (["--engine", "vllm"], "needs --vllm-python"),
        (["--engine", "vlm"], "use local or vllm"),
        (["--vllm-python", "x"], "is for --engine vllm"),
        (["--engine", "vllm", "--vllm-python", "x", "--ray", "local"], "leave out --engine vllm"),
        (["--model", "no/such/folder"], "no/such/folder"),
        (["--keys", "no-such.json"], "no-such.json"),
        (["--rate-limit", "0"], "rate limit"),
        (["--allow-origin", "nonsense"], "nonsense"),
        (["--prot", "1"], "did you mean --port"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments, says):
    code, _, err = run("serve", "--port", "0", *arguments)
    assert code == 2, err
    assert says in err
    assert len(err.strip().splitlines()) == 1, err


def test_a_port_that_is_taken_is_told_before_the_model_is_loaded():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        started = time.monotonic()
        code, _, err = run("serve", "--port", str(taken.getsockname()[1]), "--model", "nano")
    assert code == 2
    assert "choose another --port" in err
    assert time.monotonic() - started < 30
