"""A Ray cluster of two nodes on this machine, one of which is killed in the midst of the work."""

import inspect
import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support import SUPPORT
from support import embed_samples as made

from imagebind_llm.data.embed.run import embed_sources

ray = pytest.importorskip("ray")


def _ports(names=("metrics_agent", "metrics_export", "dashboard_agent_listen", "runtime_env_agent")):
    """Free ports for a node's agents: Ray waits for those that it is to choose itself."""
    sockets = [socket.create_server(("", 0)) for _ in names]
    ports = {f"{name}_port": opened.getsockname()[1] for name, opened in zip(names, sockets, strict=True)}
    for opened in sockets:
        opened.close()
    return ports


def _patient(monkeypatch):
    """Ray gives the dashboard's agent 15 s (a constant) to write down its port, and the node dies if a busy
    machine is slower. No test needs that port, so it is written beforehand, as agents do that have none."""
    from ray._private import services

    start = services.start_raylet

    def start_raylet(*args, **kwargs):
        given = inspect.signature(start).bind(*args, **kwargs).arguments
        path = Path(given["session_dir"]) / f"dashboard_agent_listen_port_{given['node_id']}"
        path.write_text("-1")
        return start(*args, **kwargs)

    monkeypatch.setattr(services, "start_raylet", start_raylet)
    monkeypatch.setenv("RAY_agent_register_timeout_ms", "200000")


@pytest.fixture
def cluster(monkeypatch):
    from ray.cluster_utils import Cluster

    # the workers must find this folder's modules, whatever they were started from
    here = str(SUPPORT.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    _patient(monkeypatch)
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    started = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False, **_ports()})
    second = started.add_node(**small, **_ports())
    started.wait_for_nodes(timeout=120)
    ray.init(address=started.address, log_to_driver=False, logging_level="ERROR")
    yield started, second
    ray.shutdown()
    started.shutdown()


def _nodes_alive(count: int, patience: float) -> bool:
    """Whether the cluster comes to see ``count`` live nodes; a death is noticed after missed heartbeats."""
    until = time.monotonic() + patience
    while sum(node["Alive"] for node in ray.nodes()) != count:
        if time.monotonic() > until:
            return False
        time.sleep(0.5)
    return True


@pytest.mark.timeout(900)  # on a busy machine it took seven minutes
def test_a_node_dies_and_the_result_is_complete_and_equal(cluster, tmp_path, monkeypatch):
    from imagebind_llm.data.embed import store
    from imagebind_llm.data.embed.run import on_cluster

    started, second = cluster
    job = replace(made.write_job(tmp_path), shard_rows=4)
    killed = []
    write = store.EmbeddingStore.write

    def write_and_kill(self, result):
        facts = write(self, result)
        if len(self.done) == 6 and not killed:  # tasks are running and waiting on both nodes
            started.remove_node(second, allow_graceful=False)
            killed.append(len(self.done))
        return facts

    monkeypatch.setattr(store.EmbeddingStore, "write", write_and_kill)
    outcome = embed_sources(job, tmp_path / "ray", on_cluster(started.address), progress=False)
    assert killed == [6]
    assert outcome.rows == made.GOOD
    assert _nodes_alive(1, patience=120)
    embed_sources(job, tmp_path / "here", progress=False)
    assert made.contents(tmp_path / "ray") == made.contents(tmp_path / "here")
