"""Taking files out of archives: what is left out, and what is refused."""

import os

import pytest
from support.packages import deb, tar, zipped

from imagebind_llm.checkpoints.packages import archives
from imagebind_llm.checkpoints.packages.archives import unpack
from imagebind_llm.common.errors import UserError


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(
    "path", ["../out.txt", "a/../../out.txt", "/out.txt", "C:/out.txt", "a\\..\\out.txt", "./../out.txt"]
)
@pytest.mark.parametrize(
    ("suffix", "pack"), [(".deb", deb), (".tgz", lambda f: tar(f, "gz")), (".whl", zipped)]
)
def test_a_path_that_leads_out_of_an_archive_is_refused(tmp_path, suffix, pack, path):
    archive = tmp_path / f"bad{suffix}"
    archive.write_bytes(pack({"good.txt": b"good", path: b"bad"}))
    with pytest.raises(UserError, match="which leads out of it"):
        unpack(archive, tmp_path / "inner/folder", ("*",))
    assert set(files_of(tmp_path)) <= {archive.name, "inner/folder/good.txt"}


@pytest.mark.parametrize("packing", ["xz", "gz", "bz2"])
def test_links_are_left_out_of_a_debian_package(tmp_path, packing):
    archive = tmp_path / "x.deb"
    archive.write_bytes(deb({"./a/one.txt": b"1"}, packing, links=[("./a/two.txt", "/etc/passwd")]))
    assert unpack(archive, tmp_path / "out", ("*.txt",)) == 1
    assert files_of(tmp_path / "out") == {"a/one.txt": b"1"}
    assert not os.path.lexists(tmp_path / "out/a/two.txt")


def test_too_much_is_refused(tmp_path, monkeypatch):
    archive = tmp_path / "x.deb"
    archive.write_bytes(deb({"a": b"1" * 600, "b": b"2" * 600}))
    monkeypatch.setattr(archives, "MOST_BYTES", 1000)
    with pytest.raises(UserError, match="holds more than"):
        unpack(archive, tmp_path / "one", ("*",))
    monkeypatch.setattr(archives, "MOST_BYTES", 1200)
    assert unpack(archive, tmp_path / "two", ("*",)) == 2
    monkeypatch.setattr(archives, "MOST_FILES", 1)
    with pytest.raises(UserError, match="holds more than 1 files"):
        unpack(archive, tmp_path / "three", ("*",))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.deb", b"<html>not found</html>", "something else than a Debian package"),
        ("x.deb", deb({"a": b"1"})[:400], "is damaged"),
        ("x.deb", deb({"a": b"1"}, data_name="data.tar.zst"), "is packed as data.tar.zst"),
        ("x.deb", deb({"a": b"1"}, data_name="other.tar.xz"), "no data"),
        ("x.deb", deb({}).replace(b"4         `", b"-60       `", 1), "a part of -60 bytes"),
        ("x.tgz", b"<html>not found</html>", "is damaged"),
        ("x.whl", b"<html>not found</html>", "is damaged"),
        ("x.whl", zipped({"a": b"1"})[:-30], "is damaged"),
    ],
)
def test_what_is_no_archive_is_one_line(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said) as found:
        unpack(tmp_path / name, tmp_path / "out", ("*",))
    assert "\n" not in str(found.value)
