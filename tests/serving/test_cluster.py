"""Ray Serve on a local cluster of two machines (raylets), and a writer killed under load."""

import json
import os
import signal
import socket
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from support.live_server import picture, words

from imagebind_llm import Assistant
from imagebind_llm.serving.settings import ServeSettings

pytest.importorskip("ray.serve", reason="needs ray[serve]")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def cluster():
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    from imagebind_llm.serving.cluster import APP, ClusterSettings, application

    os.environ["RAY_DEDUP_LOGS"] = "0"
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    machines.add_node(num_cpus=2)
    ray.init(address=machines.address, log_to_driver=False)
    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    settings = ClusterSettings(
        "nano", {"device": "cpu"}, ServeSettings(timeout=60), fronts=1, writers=2,
        front_cpus=0.5, writer_cpus=0.5,
    )  # fmt: skip
    serve.run(application(settings), name=APP)
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()
    ray.shutdown()
    machines.shutdown()


def ask(url: str, given: dict) -> dict:
    asked = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(given).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=90) as reply:
        return json.load(reply)


def writers() -> list[int]:
    """Process ids of the writers that are alive."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if "ServeReplica:imagebind-llm:writer" in " ".join(process.info["cmdline"] or ())
    ]


def body(text: str, *parts, **more) -> dict:
    return {"messages": [{"role": "user", "content": [*parts, words(text)]}], **more}


def text_of(reply: dict) -> str:
    return reply["choices"][0]["message"]["content"]


@pytest.mark.timeout(600)
def test_a_writer_killed_under_load_loses_no_request(cluster):
    bot = Assistant.from_pretrained("nano", device="cpu")
    names = ("bird.jpg", "car.jpg", "dog.jpg", "ship.jpg")
    expected = text_of(ask(cluster, body("What is this?", picture(names[0]))))
    from support.live_server import INPUTS

    assert expected == bot.ask("What is this?", image=INPUTS / names[0]).text
    requests = [body("What is this?", picture(names[n % 4])) for n in range(60)]
    requests += [body(f"Tell me {n}.", temperature=0.9, seed=n, max_completion_tokens=40) for n in range(60)]
    calm = [text_of(ask(cluster, one)) for one in requests[:4] + requests[60:64]]
    before = writers()
    assert len(before) == 2
    with ThreadPoolExecutor(24) as threads:
        answers = [threads.submit(ask, cluster, one) for one in requests]
        while sum(one.done() for one in answers) < 10:
            time.sleep(0.02)
        os.kill(before[0], signal.SIGKILL)
        texts = [text_of(one.result()) for one in answers]
    assert texts[:4] + texts[60:64] == calm
    assert texts[:60] == (texts[:4] * 15)


@pytest.mark.timeout(300)
def test_a_stream_and_the_page_come_through(cluster):
    asked = urllib.request.Request(
        f"{cluster}/v1/chat/completions",
        json.dumps(body("Hello", stream=True)).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=60) as reply:
        events = reply.read().decode().split("\n\n")
    assert events[-2] == "data: [DONE]"
    assert len(events) > 3
    with urllib.request.urlopen(f"{cluster}/readyz", timeout=60) as reply:
        assert json.load(reply)["status"] == "ready"
    dialog = body("Hello", prompt_cache_key="mine")
    assert text_of(ask(cluster, dialog)) == text_of(ask(cluster, dialog))
