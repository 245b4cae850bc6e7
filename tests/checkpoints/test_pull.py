"""Pulling weights from a hub (a local server that speaks its protocol) and from plain addresses."""

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
import yaml
from support.hub_server import HubServer, Repository

from imagebind_llm.checkpoints.registry import read_registry
from imagebind_llm.common.errors import CheckpointError, ConfigError
from imagebind_llm.common.files import require_space

BIG = bytes(range(256)) * 8_000  # 2 MB
SMALL = b'{"dim": 8}\n'
PULL = (sys.executable, "-m", "imagebind_llm", "pull")


@pytest.fixture
def hub():
    server = HubServer()
    server.repositories["maker/model"] = Repository(
        {"weights.pth": BIG, "sub/params.json": SMALL, "model.safetensors": BIG[::-1], "config.json": SMALL},
        lfs={"weights.pth", "model.safetensors"},
    )
    server.plain["plain.pth"] = BIG
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def place(hub, tmp_path):
    """A registry, and an environment in which the hub is ours."""
    entries = {
        "thing": {
            "what": "a thing",
            "licence": "Research only",
            "licence_text": "Not for sale.",
            "repo": "maker/model",
            "files": [{"path": "weights.pth"}, {"path": "sub/params.json"}],
            "then": "imagebind-llm convert adapter {file} --out thing",
        },
        "known": {
            "what": "a thing whose hash is known",
            "licence": "MIT",
            "repo": "maker/model",
            "files": [{"path": "weights.pth", "size": len(BIG), "sha256": hashlib.sha256(BIG).hexdigest()}],
        },
        "other": {
            "what": "a thing that was replaced",
            "licence": "MIT",
            "repo": "maker/model",
            "files": [{"path": "weights.pth", "sha256": "0" * 64}],
        },
        "lost": {"what": "x", "licence": "MIT", "repo": "maker/model", "files": [{"path": "gone.pth"}]},
        "plain": {
            "what": "a plain file",
            "licence": "MIT",
            "url": f"{hub.url}/files/plain.pth",
            "files": [{"path": "plain.pth", "size": len(BIG), "sha256": hashlib.sha256(BIG).hexdigest()}],
        },
        "unhashed": {
            "what": "a plain file of unknown size",
            "licence": "MIT",
            "url": f"{hub.url}/files/plain.pth",
            "files": [{"path": "plain.pth"}],
        },
        "byhand": {
            "what": "x",
            "licence": "MIT",
            "manual": "https://example.org/form",
            "files": [{"path": "by-hand.pth"}],
            "then": "imagebind-llm convert imagebind by-hand.pth",
        },
    }
    (tmp_path / "registry.yaml").write_text(yaml.safe_dump(entries))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    environment = {**kept, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN_PATH": "/no"}
    return namedtuple("Place", "folder registry environment")(
        tmp_path, tmp_path / "registry.yaml", environment
    )


@pytest.fixture
def pull(place, hub, monkeypatch, capfd):
    """Run the command here; ``(exit code, stdout, last line of stderr, whole stderr)``.

    The environment is read when the hub's library is imported, so what it read is replaced instead.
    """
    from huggingface_hub import constants

    from imagebind_llm.cli import main

    home = place.folder / "home"
    monkeypatch.setattr(logging, "raiseExceptions", False)  # the hub's logger holds an older stderr
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100_000)  # it writes, and resumes, by these

    def run(*words, accept=True, offline=False, endpoint=hub.url):
        for name, value in {
            "ENDPOINT": endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": endpoint + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_HUB_OFFLINE": offline,
        }.items():
            assert hasattr(constants, name)
            monkeypatch.setattr(constants, name, value)
        capfd.readouterr()
        line = ["pull", *map(str, words), "--registry", str(place.registry)]
        with pytest.raises(SystemExit) as leaving:
            main(line + (["--accept-licence"] if accept else []))
        printed, shown = capfd.readouterr()
        assert "Traceback" not in shown
        return leaving.value.code, printed, (shown.strip().splitlines() or [""])[-1], shown

    return run


def pull_apart(place, *words, **environment):
    """The same in a process and an environment of its own."""
    line = [*PULL, *map(str, words), "--registry", str(place.registry), "--accept-licence"]
    environment = {**place.environment, **environment}
    return subprocess.run(line, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_fresh_download_to_a_folder_is_checked_and_says_what_is_next(hub, place, pull):
    out = place.folder / "out"
    code, printed, _, shown = pull("thing", "--out", out)
    assert code == 0
    assert "licence: Research only" in shown
    assert "Not for sale." in shown
    assert (out / "weights.pth").read_bytes() == BIG
    assert (out / "sub" / "params.json").read_bytes() == SMALL
    assert f"{out / 'weights.pth'}  2.0 MB, SHA-256 as expected" in printed
    assert f"next: imagebind-llm convert adapter {out / 'weights.pth'} --out thing" in printed
    code, printed, _, _ = pull("thing", "--out", out, "--json")
    assert code == 0
    values = json.loads(printed)
    assert values["files"][0]["sha256"] == hashlib.sha256(BIG).hexdigest()
    assert [file["checked"] for file in values["files"]] == ["sha256", "size"]
    assert len(hub.gets("weights.pth")) == 1  # the second time nothing is downloaded
    assert {path.name for path in out.rglob("*")} == {"weights.pth", "sub", "params.json"}
    (out / "weights.pth").write_bytes(BIG[:-1])  # an older version, or one that somebody spoilt
    assert pull("thing", "--out", out)[0] == 0
    assert (out / "weights.pth").read_bytes() == BIG


def test_without_out_the_files_go_to_the_hubs_cache(hub, place, pull):
    code, printed, _, _ = pull("known", "--json")
    assert code == 0
    values = json.loads(printed)
    assert values["folder"].startswith(str(place.folder / "home" / "hub"))
    assert (place.folder / "home" / "hub" / "models--maker--model").is_dir()
    code, printed, _, _ = pull("known", "--json", offline=True)
    assert code == 0
    assert json.loads(printed)["files"][0]["checked"] == "sha256"
    code, _, last, _ = pull("known", "--out", place.folder / "out", offline=True)
    assert code == 0, last
    assert (place.folder / "out" / "weights.pth").read_bytes() == BIG


@pytest.mark.parametrize("name", ["known", "plain"])
def test_a_cut_line_is_mended_by_asking_for_the_rest(name, hub, place, pull):
    file = "weights.pth" if name == "known" else "plain.pth"
    hub.cut_after[file] = [700_000]
    code, _, last, _ = pull(name, "--out", place.folder / "out")
    assert code == 0, last
    assert (place.folder / "out" / file).read_bytes() == BIG
    first, second = hub.gets(file)
    assert first is None
    assert second is not None
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= 700_000


@pytest.mark.parametrize(("name", "to_cache"), [("known", False), ("known", True), ("plain", False)])
def test_a_killed_download_goes_on_where_it_stopped(name, to_cache, hub, place, pull):
    file = "weights.pth" if name == "known" else "plain.pth"
    where = [] if to_cache else ["--out", place.folder / "out"]
    content = BIG * 12
    hub.repositories["maker/model"].files["weights.pth"] = hub.plain["plain.pth"] = content
    rename = {hashlib.sha256(BIG).hexdigest(): hashlib.sha256(content).hexdigest(), "2048000": "24576000"}
    text = place.registry.read_text()
    for old, new in rename.items():
        text = text.replace(old, new)
    place.registry.write_text(text)
    hub.cut_after[file] = [12_000_000] + [0] * 20  # then nothing but broken lines: it waits and retries
    line = [*PULL, name, *map(str, where), "--registry", str(place.registry), "--accept-licence"]
    process = subprocess.Popen(line, env=place.environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(hub.gets(file)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not [path for path in place.folder.rglob("weights.pth") if path.is_file()]
    (kept,) = (path.stat().st_size for path in place.folder.rglob("*.incomplete"))
    assert kept > 0
    hub.cut_after.clear()
    hub.requests.clear()
    code, printed, last, _ = pull(name, *where, "--json")
    assert code == 0, last
    (found,) = json.loads(printed)["files"]
    assert Path(found["path"]).read_bytes() == content
    assert hub.gets(file) == [f"bytes={kept}-"]


@pytest.mark.parametrize(("name", "file"), [("known", "weights.pth"), ("plain", "plain.pth")])
@pytest.mark.parametrize("to_cache", [False, True])
def test_damaged_content_is_one_line_and_is_not_kept(name, file, to_cache, hub, place, pull):
    hub.damaged.add(file)
    where = [] if to_cache else ["--out", place.folder / "out"]
    code, _, last, _ = pull(name, *where)
    assert code == 2
    assert last.startswith(f"error: {file} came with sha256 ")
    assert hashlib.sha256(BIG).hexdigest() in last
    assert not [path for path in place.folder.rglob("*") if path.is_file() and path.stat().st_size > 10_000]
    hub.damaged.clear()
    code, _, last, _ = pull(name, *where)
    assert code == 0, last


def test_a_file_that_was_replaced_on_the_hub_is_not_downloaded(hub, place, pull):
    code, _, last, _ = pull("other")
    assert code == 2
    assert f"has sha256 {hashlib.sha256(BIG).hexdigest()} now, the registry knows {'0' * 64}" in last
    assert hub.gets("weights.pth") == []


def test_the_hubs_environment_counts(hub, place):
    done = pull_apart(place, "known", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["folder"].startswith(place.environment["HF_HOME"])
    assert hub.gets("weights.pth") == [None]
    hub.requests.clear()
    done = pull_apart(place, "known", "--json", HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert hub.requests == []


def test_offline(hub, place, pull):
    for name in ("known", "plain", "maker/model"):
        code, _, last, _ = pull(name, offline=True)
        assert code == 2
        assert last.startswith("error: offline mode is on (HF_HUB_OFFLINE)"), last
    assert hub.requests == []


def test_what_is_not_there(hub, place, pull):
    code, _, last, _ = pull("lost")
    assert (code, "maker/model has no file 'gone.pth'" in last) == (2, True), last
    code, _, last, _ = pull("maker/nothing")
    assert (code, "no model repository 'maker/nothing'" in last) == (2, True), last
    code, _, last, _ = pull("maker/model", "--revision", "v9")
    assert (code, "maker/model has no revision 'v9'" in last) == (2, True), last
    code, _, last, _ = pull("maker/model", "--include", "*.onnx")
    assert (code, "holds no file like *.onnx" in last) == (2, True), last
    del hub.plain["plain.pth"]
    code, _, last, _ = pull("plain")
    assert (code, "plain.pth from 127.0.0.1 was not downloaded" in last) == (2, True), last
    assert not list(place.folder.rglob("*.incomplete"))


def test_gated_and_unreachable(hub, place, pull):
    hub.repositories["maker/model"].gated = True
    code, _, last, _ = pull("known")
    assert (code, "accept them at https://huggingface.co/maker/model" in last) == (2, True), last
    code, _, last, _ = pull("known", endpoint="http://127.0.0.1:9")
    assert (code, "maker/model was not downloaded" in last) == (2, True), last


def test_the_hubs_library_keeps_its_retries_to_itself(place):
    program = (
        "from imagebind_llm.cli.app import quieten; quieten();"
        "from huggingface_hub.utils import _http; _http.logger.warning('Retrying in 8s')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=place.environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


def test_nothing_is_downloaded_before_the_licence_is_accepted(hub, place, pull):
    for name in ("known", "plain", "maker/model"):
        code, _, last, _ = pull(name, accept=False)
        assert code == 2
        assert "was not accepted; read it and add --accept-licence" in last
    assert not [request for request in hub.requests if "resolve" in request[1] or "files" in request[1]]


@pytest.mark.parametrize("answer", ["n", "y"])
def test_the_licence_is_asked_about_on_a_terminal(answer, monkeypatch, pull, hub):
    import io

    answers = io.StringIO(f"{answer}\n")
    answers.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", answers)
    code, _, last, shown = pull("known", accept=False)
    assert "licence: MIT" in shown
    assert (code, len(hub.gets("weights.pth"))) == ((0, 1) if answer == "y" else (2, 0))
    assert answer == "y" or "the licence of known was refused; nothing was downloaded" in last


def test_a_hub_id_brings_what_a_model_needs_and_says_its_licence(hub, place, pull):
    hub.repositories["maker/model"].licence = "llama3"
    code, printed, _, shown = pull("maker/model", "--out", place.folder / "out", "--json")
    assert code == 0
    assert "licence: llama3" in shown
    names = {os.path.relpath(file["path"], place.folder / "out") for file in json.loads(printed)["files"]}
    assert names == {"sub/params.json", "model.safetensors", "config.json"}  # no pickle
    assert (place.folder / "out" / "model.safetensors").read_bytes() == BIG[::-1]
    code, printed, _, _ = pull("maker/model", "--include", "*.pth", "--json")
    assert [os.path.basename(file["path"]) for file in json.loads(printed)["files"]] == ["weights.pth"]


def test_a_size_that_nobody_knew_is_asked_for(hub, place, pull):
    code, printed, _, _ = pull("unhashed", "--out", place.folder / "out")
    assert code == 0
    assert "nothing to compare with" in printed
    assert ("HEAD", "/files/plain.pth", None) in hub.requests


def test_by_hand(hub, place, pull):
    code, _, last, _ = pull("byhand")
    assert code == 2
    assert "get by-hand.pth yourself at https://example.org/form" in last
    assert "then run: imagebind-llm convert imagebind by-hand.pth" in last


def test_room_on_the_disk(monkeypatch, tmp_path):
    import shutil

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**10, 0, 7 * 10**9))
    require_space(tmp_path / "not" / "yet", 6 * 10**9, "it")
    with pytest.raises(CheckpointError, match=r"it needs 8.0 GB, but the disk of '.*' has 7.0 GB free"):
        require_space(tmp_path / "not" / "yet", 8 * 10**9, "it")


@pytest.mark.parametrize(("name", "file"), [("known", "weights.pth"), ("plain", "plain.pth")])
def test_a_full_disk_stops_before_the_download(name, file, hub, monkeypatch, pull):
    import shutil

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9, 9, 10))
    code, _, last, _ = pull(name)
    assert code == 2
    assert "needs 2.0 MB, but the disk of" in last
    assert hub.gets(file) == []


def test_list_and_the_registry_in_the_package():
    done = subprocess.run([*PULL, "--list", "--json"], capture_output=True, text=True, check=True)
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert {"imagebind-huge", "imagebind-w3d", "imagebind-llm-7b", "cc3m-cache"} <= rows.keys()
    assert rows["imagebind-huge"]["files"][0]["bytes"] == 4_803_584_173
    assert all(row["licence"] and row["from"] for row in rows.values())
    done = subprocess.run([*PULL, "--list"], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in rows)
    done = subprocess.run([*PULL, "nothing"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "nothing is called 'nothing'; known are imagebind-huge" in done.stderr


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"what": "x", "licence": "y"}, "expected exactly one of repo, url, manual, package, bundle"),
        ({"what": "x", "licence": "y", "repo": "a/b", "url": "c"}, "has repo and url"),
        ({"what": "x", "repo": "a/b"}, "has no 'licence'"),
        ({"what": "x", "licence": "y", "repo": "a/b", "colour": 1}, "unknown field 'colour'"),
        (
            {"what": "x", "licence": "y", "repo": "a/b", "files": [{"path": "../x"}]},
            "expected a relative one",
        ),
        (
            {"what": "x", "licence": "y", "repo": "a/b", "files": [{"path": "x", "sha256": "abc"}]},
            "expected 64 hex",
        ),
        (
            {"what": "x", "licence": "y", "repo": "a/b", "files": [{"path": "x", "size": "5"}]},
            "expected bytes",
        ),
        ({"what": "x", "licence": "y", "url": "http://a"}, "expected one file"),
        ({"what": "x", "licence": "y", "repo": "a/b", "files": 3}, "has files 3; expected list"),
        ({"what": ["x"], "licence": "y", "repo": "a/b"}, "expected str"),
        ({"what": "x", "licence": "y", "repo": 3}, "has repo 3; expected str"),
        (
            {"what": "x", "licence": "y", "repo": "a/b", "then": "do {nope}"},
            "it may hold {file} and {folder}",
        ),
        ("text", "expected a mapping"),
    ],
)
def test_a_registry_with_a_mistake(entry, message, tmp_path):
    file = tmp_path / "registry.yaml"
    file.write_text(yaml.safe_dump({"it": entry}))
    with pytest.raises(ConfigError, match=message):
        read_registry(file)


def test_the_next_commands_of_the_registry_exist():
    import shlex
    from importlib import import_module

    import typer

    found = [artefact.next_command(Path("here")) for artefact in read_registry().values()]
    commands = [command for command in found if command is not None]
    assert len(commands) > 8
    for command in commands:
        program, name, *words = shlex.split(command)
        assert program == "imagebind-llm"
        command = typer.main.get_command(import_module(f"imagebind_llm.cli.{name}").app)
        if name == "convert":
            command = command.commands[words.pop(0)]
        command.make_context(name, words)  # parses; an option that is not there is an error
