"""Fetching data sets: from a mirror, by registries' clients, from the cache; and what is refused."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module

import pytest
from support.hub_server import HubServer
from support.packages import deb, known, tar, wheel

from imagebind_llm.checkpoints.packages import download
from imagebind_llm.common.errors import UserError
from imagebind_llm.data.fetch import run
from imagebind_llm.data.fetch.catalogue import CATALOGUE

SAMPLES = "./usr/share/sonic-pi/samples"
CONTENT = {
    f"{SAMPLES}/README.md": b"* `:drum_roll` - http://sounds.example/1\n",
    f"{SAMPLES}/drum_roll.flac": b"roll" * 2000,
    f"{SAMPLES}/bd_pure.flac": bytes(range(256)) * 40,
    "./usr/share/doc/sonic-pi-samples/copyright": b"License: CC0\n",
    "./usr/bin/harm": b"#!/bin/sh\n",
}
POOL = "pool/main/t/tiny/tiny_1.0_all.deb"
FETCH = (sys.executable, "-m", "imagebind_llm", "data", "fetch")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/imagebind-llm/fetch"


@pytest.fixture
def tiny(monkeypatch):
    """Put a package of ours where a data set's is: name → how to take it."""

    def put(name, package):
        monkeypatch.setitem(CATALOGUE, name, replace(CATALOGUE[name], packages=(package,)))

    return put


@pytest.fixture
def mirror(tiny):
    """A Debian mirror with a package of two sounds."""
    server = HubServer()
    server.plain["tiny_1.0_all.deb"] = deb(CONTENT)
    tiny("sonic-pi", known("debian", POOL, server.plain["tiny_1.0_all.deb"]))
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Programs of ours as the only ones that are found: ``client("npm", script)``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name, script):
        (folder / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        (folder / name).chmod(0o755)

    return put


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_data_set_is_written_and_described(mirror, tmp_path):
    out = tmp_path / "sounds"
    fetched = run.fetch("sonic-pi", out, mirror=f"{mirror.url}/files/")
    assert (fetched.counts, fetched.was_there) == ({"sounds": 2, "classes": 2}, False)
    assert [path for _, path, _ in mirror.requests] == [f"/files/{POOL}"] * len(mirror.requests)
    assert (out / "labels.csv").read_text() == (
        "file_name,class,caption,page\n"
        "audio/bass_drum/bd_pure.flac,bass drum,bass drum: pure,\n"
        "audio/drum/drum_roll.flac,drum,drum: roll,http://sounds.example/1\n"
    )
    assert (out / "audio/drum/drum_roll.flac").read_bytes() == CONTENT[f"{SAMPLES}/drum_roll.flac"]
    assert (out / "licences/copyright").read_text() == "License: CC0\n"
    source = json.loads((out / "source.json").read_text())
    content = mirror.plain["tiny_1.0_all.deb"]
    assert source["licence"] == "CC0"
    assert source["packages"] == [
        {
            "registry": "debian",
            "name": "tiny",
            "version": "1.0",
            "path": POOL,
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    ]
    assert not list(out.rglob("harm"))
    checked = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=out, capture_output=True)
    assert checked.returncode == 0, checked.stderr


def test_the_second_time_nothing_is_asked_or_changed_and_other_folders_come_from_the_cache(mirror, tmp_path):
    run.fetch("sonic-pi", tmp_path / "one", mirror=f"{mirror.url}/files")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*")}
    mirror.requests.clear()
    assert run.fetch("sonic-pi", tmp_path / "one").was_there
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*")} == before
    assert not run.fetch("sonic-pi", tmp_path / "two").was_there
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    assert not mirror.requests


def test_a_changed_missing_or_added_file_is_found(mirror, tmp_path):
    out = tmp_path / "sounds"
    run.fetch("sonic-pi", out, mirror=f"{mirror.url}/files")
    sound = out / "audio/drum/drum_roll.flac"
    sound.write_bytes(b"other")
    with pytest.raises(UserError, match=r"drum_roll\.flac' is not as it was written"):
        run.fetch("sonic-pi", out)
    sound.unlink()
    with pytest.raises(UserError, match=r"drum_roll\.flac' is not as it was written"):
        run.fetch("sonic-pi", out)
    sound.write_bytes(CONTENT[f"{SAMPLES}/drum_roll.flac"])
    assert run.fetch("sonic-pi", out).was_there
    (out / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"mine\.txt' is not as it was written"):
        run.fetch("sonic-pi", out)


def test_a_folder_of_something_else_is_refused_before_anything_is_asked(mirror, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match=r"holds 'letter\.txt', which is not known to be ours"):
        run.fetch("sonic-pi", out, mirror=f"{mirror.url}/files")
    assert not mirror.requests
    assert files_of(out) == {"letter.txt": b"dear"}
    run.fetch("sonic-pi", tmp_path / "sounds", mirror=f"{mirror.url}/files")
    with pytest.raises(UserError, match="holds the data set 'sonic-pi'; give another folder"):
        run.fetch("easy-vqa", tmp_path / "sounds")


def test_a_download_that_was_killed_goes_on_where_it_stopped(mirror, tmp_path, cache):
    name = "tiny_1.0_all.deb"
    (cache / "tiny").mkdir(parents=True)
    (cache / "tiny" / f"{name}.incomplete").write_bytes(mirror.plain[name][:500])
    assert run.fetch("sonic-pi", tmp_path / "sounds", mirror=f"{mirror.url}/files").counts["sounds"] == 2
    assert mirror.gets(name) == ["bytes=500-"]


def test_a_line_that_is_cut_is_mended_by_asking_for_the_rest(mirror, tmp_path, tiny):
    name = "tiny_1.0_all.deb"
    content = deb({**CONTENT, f"{SAMPLES}/sn_long.flac": os.urandom(12_000_000)}, "gz")
    mirror.plain[name], mirror.cut_after[name] = content, [11_000_000]
    tiny("sonic-pi", known("debian", POOL, content))
    assert run.fetch("sonic-pi", tmp_path / "sounds", mirror=f"{mirror.url}/files").counts["sounds"] == 3
    first, second = mirror.gets(name)
    assert first is None
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= 11_000_000


def test_a_mirror_that_does_not_have_it_is_one_line(mirror, tmp_path):
    del mirror.plain["tiny_1.0_all.deb"]
    with pytest.raises(UserError, match=r"tiny_1\.0_all\.deb") as found:
        run.fetch("sonic-pi", tmp_path / "sounds", mirror=f"{mirror.url}/files")
    assert "\n" not in str(found.value)
    assert not (tmp_path / "sounds").exists()


def test_a_password_in_an_address_is_not_shown(mirror, tmp_path):
    mirror.plain.clear()
    address = f"{mirror.url}/files".replace("://", "://name:secret@")
    with pytest.raises(UserError, match="was not downloaded") as caught:
        run.fetch("sonic-pi", tmp_path / "sounds", address)
    assert "127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_another_content_is_refused_and_not_kept(mirror, tmp_path, cache):
    mirror.damaged.add("tiny_1.0_all.deb")
    for _ in range(2):
        with pytest.raises(UserError, match=r"came with \d+ bytes and SHA-256 .* it was deleted"):
            run.fetch("sonic-pi", tmp_path / "sounds", mirror=f"{mirror.url}/files")
        assert not (tmp_path / "sounds").exists()
        assert not list(cache.rglob("*.deb"))
    mirror.damaged.clear()
    run.fetch("sonic-pi", tmp_path / "sounds", mirror=f"{mirror.url}/files")


def test_a_damaged_file_in_the_cache_is_downloaded_again(mirror, tmp_path, cache):
    (cache / "tiny").mkdir(parents=True)
    (cache / "tiny/tiny_1.0_all.deb").write_bytes(b"!<arch>\n")
    assert run.fetch("sonic-pi", tmp_path / "sounds", mirror=f"{mirror.url}/files").counts["sounds"] == 2


def test_without_apt_one_line_says_what_to_do(mirror, tmp_path, client, cache):
    with pytest.raises(UserError) as found:
        run.fetch("sonic-pi", tmp_path / "sounds")
    said = str(found.value)
    assert said.startswith("tiny is fetched with apt-get, which is not here")
    assert f"--mirror with the address of a Debian mirror, which has it as {POOL}" in said
    assert f"put tiny_1.0_all.deb into {str(cache / 'tiny')!r} yourself" in said
    assert "\n" not in said
    (cache / "tiny/tiny_1.0_all.deb").write_bytes(mirror.plain["tiny_1.0_all.deb"])
    assert run.fetch("sonic-pi", tmp_path / "sounds").counts["sounds"] == 2
    assert not mirror.requests


def apt(folder):
    """A script that has only version 2.0, as apt of another Debian release has."""
    return f"""
case "$1 $2" in
"download tiny") cp {folder}/tiny_1%3a2.0_all.deb . ;;
*) echo "Reading lists"; echo "E: Version '1.0' for 'tiny' was not found" >&2; exit 100 ;;
esac
"""


def test_another_version_is_taken_only_when_told_and_recorded(mirror, tmp_path, client):
    newer = deb({**CONTENT, f"{SAMPLES}/sn_dub.flac": b"dub"})
    (tmp_path / "tiny_1%3a2.0_all.deb").write_bytes(newer)
    client("apt-get", apt(tmp_path))
    with pytest.raises(UserError, match=r"apt-get did not give tiny 1\.0 \(E: Version '1\.0' for 'tiny' was"):
        run.fetch("sonic-pi", tmp_path / "sounds")
    assert not (tmp_path / "sounds").exists()
    assert run.fetch("sonic-pi", tmp_path / "sounds", any_version=True).counts["sounds"] == 3
    package = json.loads((tmp_path / "sounds/source.json").read_text())["packages"][0]
    assert package["version"] == "1:2.0"
    assert package["sha256"] == hashlib.sha256(newer).hexdigest()
    assert run.fetch("sonic-pi", tmp_path / "sounds", any_version=True).was_there
    with pytest.raises(UserError, match="--any-version asks apt-get, so give no --mirror"):
        run.fetch("sonic-pi", tmp_path / "two", mirror="http://127.0.0.1:1", any_version=True)


def test_npm_packs_a_package_without_running_it(tmp_path, tiny, client):
    content = tar({"package/assets/1f415.webp": b"no picture"}, "gz")
    (tmp_path / "served.tgz").write_bytes(content)
    tiny("fluent-emoji", known("npm", "@x/tiny/-/tiny-1.0.tgz", content, name="@x/tiny"))
    client("npm", f'echo "$@" > {tmp_path}/asked; cp {tmp_path}/served.tgz x-tiny-1.0.tgz')
    package = CATALOGUE["fluent-emoji"].packages[0]
    got = download.obtain(package, mirror="http://registry.example")
    assert got.path.read_bytes() == content
    asked = (tmp_path / "asked").read_text().split()
    assert asked == ["pack", "@x/tiny@1.0", "--ignore-scripts", "--registry", "http://registry.example"]


def test_pip_downloads_a_wheel_from_the_index_that_is_given(tmp_path, monkeypatch):
    content = wheel({"tiny/data.txt": b"data"})
    (tmp_path / "index/tiny").mkdir(parents=True)
    (tmp_path / "index/tiny/tiny-1.0-py3-none-any.whl").write_bytes(content)
    (tmp_path / "index/tiny/index.html").write_text(
        '<a href="tiny-1.0-py3-none-any.whl">tiny-1.0-py3-none-any.whl</a>'
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    package = known("pypi", "tiny-1.0-py3-none-any.whl", content)
    got = download.obtain(package, mirror=(tmp_path / "index").as_uri())
    assert got.path.read_bytes() == content
    with pytest.raises(UserError, match=r"pip did not give tiny 3\.0 \(ERROR"):
        download.obtain(
            replace(package, version="3.0", path="tiny-3.0-py3-none-any.whl"),
            mirror=(tmp_path / "index").as_uri(),
        )


def test_looking_for_pip_leaves_setuptools_as_it_is():
    """Compiling needs it in the same process."""
    code = (
        "from imagebind_llm.checkpoints.packages import download\n"
        "from imagebind_llm.data.fetch.catalogue import CATALOGUE\n"
        "package, = CATALOGUE['easy-vqa'].packages\n"
        "print(download._command(package, None, None)[2])\n"
        "import setuptools, distutils.core; print(setuptools.__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (["pip", "setuptools"], "")


def test_a_package_of_another_layout_is_refused(mirror, tmp_path, tiny):
    for missing in (f"{SAMPLES}/README.md", "./usr/share/doc/sonic-pi-samples/copyright"):
        content = deb({path: data for path, data in CONTENT.items() if path != missing})
        mirror.plain["tiny_1.0_all.deb"] = content
        tiny("sonic-pi", known("debian", POOL, content))
        with pytest.raises(UserError, match="layout is another than that of the known version"):
            run.fetch("sonic-pi", tmp_path / "sounds", mirror=f"{mirror.url}/files")
        assert not (tmp_path / "sounds").exists()


def call(*words, **settings):
    return subprocess.run([*FETCH, *map(str, words)], capture_output=True, text=True, **settings)


def test_the_licence_is_shown_and_must_be_accepted(tmp_path, cache):
    done = call("sonic-pi", "--out", tmp_path / "sounds", stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert "licence: CC0\n" in done.stderr
    assert "was not accepted; read it and add --accept-licence" in done.stderr
    assert not (tmp_path / "sounds").exists()
    assert not cache.exists()


def test_what_can_be_fetched_is_listed(tmp_path):
    for words in ((), ("--list",)):
        done = call(*words)
        assert done.returncode == 0
        assert all(f"{name}\n" in done.stdout for name in CATALOGUE)
    rows = json.loads(call("--list", "--json").stdout)
    assert [row["name"] for row in rows] == list(CATALOGUE)
    done = call("sonicpi")
    assert done.returncode == 2
    assert "did you mean 'sonic-pi'?" in done.stderr


def test_the_catalogue_names_writers_and_whole_hashes():
    for name, data_set in CATALOGUE.items():
        assert callable(import_module(f"{run.__package__}.{data_set.writer}").write), name
        for package in data_set.packages:
            assert len(package.sha256) == 64
            assert package.size > 0
            assert "://" not in package.path
