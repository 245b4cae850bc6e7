"""How others lay data out: Hugging Face's folders, img2dataset's output, archives of macOS, lists of shards."""

# ruff: noqa: E501
import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest
from support.source_samples import png

from imagebind_llm.common.errors import BadSample, TrainingDataError
from imagebind_llm.common.file_urls import path_of_file_url
from imagebind_llm.data.embed.cache import _list_pictures
from imagebind_llm.data.pairs import read_pairs
from imagebind_llm.data.sources import SourceSettings, open_source
from imagebind_llm.data.sources.base import braces
from imagebind_llm.data.sources.guess import guess_kind


def read(tmp_path: Path, path: object, **settings: object) -> dict[str, tuple[str, str]]:
    """Key → picture (its name, or ``bytes``) and caption of every sample of what ``path`` holds."""
    kind = guess_kind(str(path))
    source = open_source(SourceSettings(kind, str(path), **settings), tmp_path / "index")
    found = {}
    for number in range(len(source)):
        record = source.read(number).load()
        picture = source.read(number).messages[0]["content"][0]["image"]
        found[record.key] = (
            "bytes" if isinstance(picture, bytes) else Path(picture).name,
            record.messages[1]["content"],
        )
    assert len(found) == len(source), "keys are unique"
    return found


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png())
    return folder


def table(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text(
            "\n".join(",".join(map(str, row)) for row in [rows[0].keys(), *(row.values() for row in rows)])
        )


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("caption", ["text", "caption"])
def test_hugging_face_s_folders(tmp_path, suffix, caption):
    rows = [{"label": 1, caption: f"words {n}", "file_name": f"{n}.png"} for n in range(3)]
    flat = put(tmp_path / "flat", "0.png", "1.png", "2.png")
    table(flat / f"metadata.{suffix}", rows)
    words = [(f"{n}.png", f"words {n}") for n in range(3)]
    assert list(read(tmp_path, flat).values()) == words
    # below a folder for the split, and in several folders
    deep = tmp_path / "deep"
    for part in ("train/a", "train/b"):
        put(deep / part, "0.png", "1.png", "2.png")
        table(deep / part / f"metadata.{suffix}", rows)
    assert list(read(tmp_path, deep).values()) == words * 2
    # one table for folders below
    whole = put(tmp_path / "whole", "x/0.png", "y/1.png")
    table(
        whole / f"metadata.{suffix}",
        [{"file_name": "x/0.png", caption: "one"}, {"file_name": "y/1.png", caption: "two"}],
    )
    assert list(read(tmp_path, whole).values()) == [("0.png", "one"), ("1.png", "two")]
    # columns of other names
    other = put(tmp_path / "other", "0.png")
    table(other / f"metadata.{suffix}", [{"pic": "0.png", "text": "no", "blip": "yes"}])
    assert list(read(tmp_path, other, columns={"image": "pic", "caption": "blip"}).values()) == [
        ("0.png", "yes")
    ]


def test_folders_that_mislead_are_refused(tmp_path):
    rows = [{"file_name": "0.png", "text": "words"}]

    def refused(folder, match):
        with pytest.raises(TrainingDataError, match=match) as caught:
            open_source(SourceSettings("folder", str(folder)), tmp_path / "index")
        assert "\n" not in str(caught.value)

    splits = put(tmp_path / "splits", "train/0.png", "validation/0.png", "test/0.png")
    for split in ("train", "validation", "test"):
        table(splits / split / "metadata.csv", rows)
    refused(
        splits,
        r"holds the splits train and test and validation; give one of them, for example '.*splits/train'",
    )
    assert len(read(tmp_path, splits / "test")) == 1
    named = put(tmp_path / "named", "train/0.png", "plane/0.png")  # a class, no split
    for place in ("train", "plane"):
        (named / place / "0.txt").write_text(place)
    assert [words for _, words in read(tmp_path, named).values()] == ["plane", "train"]
    two = put(tmp_path / "two", "0.png")
    table(two / "metadata.csv", rows)
    table(two / "metadata.jsonl", rows)
    refused(two, "holds metadata.csv and metadata.jsonl; keep one of them")
    partly = put(tmp_path / "partly", "a/0.png", "b/1.png")
    table(partly / "a" / "metadata.csv", rows)
    refused(
        partly, "holds a/metadata.csv, but also pictures .* such as b/1.png; give the folder of the table"
    )
    names = put(tmp_path / "names", "0.png")
    table(names / "metadata.csv", [{"path": "0.png", "label": "3"}])
    refused(names, "names no columns 'file_name' and 'caption'")
    table(tmp_path / "names" / "metadata.parquet", rows)
    (names / "metadata.csv").unlink()
    table(names / "metadata.parquet", [{"file_name": "0.png", "label": 3}])
    refused(names, "has no column 'caption', only file_name, label; set columns")


def image2dataset(folder: Path, form: str) -> Path:
    """Two shards of two samples, one of which could not be fetched, as img2dataset leaves them."""
    for shard in ("00000", "00001"):
        reports = []
        folder.mkdir(exist_ok=True)
        packed = {}
        for number in range(2):
            key = f"{shard}{number:04}"
            good = number == 0
            facts = {"url": "http://example.com/a.jpg", "caption": f"words {key}", "key": key,
                     "status": "success" if good else "failed_to_download"}  # fmt: skip
            members = {
                "jpg": png(),
                "txt": facts["caption"].encode(),
                "json": json.dumps(facts, indent=4).encode(),
            }
            if form == "parquet":
                facts = {
                    **facts,
                    "jpg": members["jpg"] if good else None,
                    "txt": facts["caption"] if good else None,
                }
            reports.append(facts)
            for suffix, data in members.items() if good else ():
                packed[f"{key}.{suffix}"] = data
                if form == "files":
                    (folder / shard).mkdir(exist_ok=True)
                    (folder / shard / f"{key}.{suffix}").write_bytes(data)
        if form == "webdataset":
            tar(folder / f"{shard}.tar", packed)
        table(folder / f"{shard}.parquet", reports)
        (folder / f"{shard}_stats.json").write_text("{}")
    return folder


def test_img2dataset_as_files_and_tars(tmp_path):
    for form, kind in (("files", "folder"), ("webdataset", "webdataset")):
        folder = image2dataset(tmp_path / form, form)
        assert guess_kind(str(folder)) == kind
        found = read(tmp_path, folder)
        assert [words for _, words in found.values()] == ["words 000000000", "words 000010000"]
    with pytest.raises(TrainingDataError, match="has no column 'image', only url, caption, key, status"):
        open_source(SourceSettings("parquet", str(tmp_path / "files")), tmp_path / "index")


def test_img2dataset_as_parquet(tmp_path):
    source = open_source(SourceSettings("parquet", str(image2dataset(tmp_path / "p", "parquet"))))
    assert guess_kind(str(tmp_path / "p")) == "parquet"
    assert source.read(0).load().messages[1]["content"] == "words 000000000"
    with pytest.raises(BadSample, match="no picture"):
        source.read(1)


def test_captions_beside_pictures(tmp_path):
    folder = put(tmp_path / "d", "a.png", "B.PNG", "c.d.jpg", "e.png", "f.png")
    (folder / "a.caption").write_text("one")
    (folder / "B.TXT").write_text("two")
    (folder / "c.d.txt").write_text("three")
    (folder / "e.JSON").write_text('{"caption": "four", "other": "five"}')
    (folder / "f.txt").write_text("six")
    (folder / "f.caption").write_text("six")
    words = dict(read(tmp_path, folder).values())
    assert words == {"B.PNG": "two", "a.png": "one", "c.d.jpg": "three", "e.png": "four", "f.png": "six"}
    (folder / "f.caption").write_text("seven")
    source = open_source(SourceSettings("folder", str(folder)))
    with pytest.raises(BadSample, match=r"two captions, in \.txt and \.caption; keep one"):
        source.read(4)
    source = open_source(SourceSettings("folder", str(folder), columns={"caption": "other"}))
    assert source.read(3).messages[1]["content"] == "five"


def tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


def test_what_macos_adds_is_no_data(tmp_path):
    junk = b"\0\5\x16\7Mac OS X"
    folder = put(tmp_path / "d", "a/1.png")
    (folder / "a" / "1.txt").write_text("words")
    for name in ("a/._1.png", "__MACOSX/a/._1.png", "__MACOSX/2.png", ".cache/3.png", "._metadata.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(junk)
    assert list(read(tmp_path, folder)) == ["a/1.png"]
    assert [path.name for path in _list_pictures(folder)] == ["1.png"]

    members = {
        "./1.jpg": png(),
        "./._1.jpg": junk,
        "__MACOSX/2.jpg": junk,
        "__MACOSX/2.txt": b"x",
        "./1.txt": b"words",
    }
    shards = tar(tmp_path / "t" / "0.tar", members).parent
    (shards / "._0.tar").write_bytes(junk)
    assert list(read(tmp_path, shards).values()) == [("bytes", "words")]

    pairs = put(tmp_path / "p", "train/a.png", "test/b.png")
    for name in ("train/a.npy", "train/._b.npy", "test/b.npy", "__MACOSX/train/c.npy"):
        (pairs / name).parent.mkdir(parents=True, exist_ok=True)
        (pairs / name).write_bytes(junk)
    assert len(read_pairs(pairs).train) == 1


def test_two_members_of_a_kind_are_refused(tmp_path):
    tar(
        tmp_path / "0.tar",
        {"1.jpg": png(), "1.png": png(), "1.txt": b"x", "2.jpg": png(), "2.caption": b"words"},
    )
    source = open_source(SourceSettings("webdataset", str(tmp_path / "0.tar")), tmp_path / "index")
    with pytest.raises(BadSample, match="two members of one kind"):
        source.read(0)
    assert source.read(1).messages[1]["content"] == "words"


def test_lists_of_shards(tmp_path):
    for number in range(8, 12):
        tar(tmp_path / "s" / f"{number:03}.tar", {f"{number}.jpg": png(), f"{number}.txt": b"words"})
    for pattern, count in (
        ("{008..011}.tar", 4),
        ("{008..009}.tar", 2),
        ("{008,011}.tar", 2),
        ("0{08..10}.tar", 3),
    ):
        assert len(read(tmp_path, tmp_path / "s" / pattern)) == count
    with pytest.raises(TrainingDataError, match=r"there is no file '.*012.tar', of '.*\{008..012\}.tar'"):
        open_source(SourceSettings("webdataset", str(tmp_path / "s" / "{008..012}.tar")))
    with pytest.raises(TrainingDataError, match="over 1000000 files"):
        open_source(SourceSettings("webdataset", "{0..99999}/{0..99999}.tar"))
    assert braces("{8..11}") == ["8", "9", "10", "11"]
    assert braces("a{01..02}b{x,y}") == ["a01bx", "a01by", "a02bx", "a02by"]
    assert braces("{0..10}") == [str(number) for number in range(11)]
    assert braces("{only}") == ["{only}"]
    literal = tar(tmp_path / "{1..2}.tar", {"1.jpg": png(), "1.txt": b"words"})
    assert len(read(tmp_path, literal)) == 1


def test_files_of_one_name_have_keys_of_their_own(tmp_path):
    for place in ("a", "b"):
        tar(tmp_path / "t" / place / "0.tar", {"1.jpg": png(), "1.txt": b"words"})
    assert list(read(tmp_path, tmp_path / "t")) == ["a/0.tar/1", "b/0.tar/1"]


@pytest.mark.parametrize("name", ["0.tar.gz", "0.tgz", "0.tar"])
def test_compressed_tars_are_refused_by_name(tmp_path, name):
    plain = tar(tmp_path / "plain.tar", {"1.jpg": png(), "1.txt": b"words"})
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / name).write_bytes(gzip.compress(plain.read_bytes()))
    for path in (tmp_path / "d", tmp_path / "d" / name):
        with pytest.raises(TrainingDataError, match=r"is compressed, .*; unpack it to a plain .tar first"):
            read(tmp_path, path)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_file_addresses_in_tables(tmp_path, kind):
    folder = put(tmp_path / "d", "a b#1%.png", "ä.png")
    address = (folder / "a b#1%.png").absolute().as_uri()
    assert "%20" in address
    rows = [{"file_name": url, "text": "words"} for url in (address, (folder / "ä.png").as_uri(), "ä.png")]
    table(folder / f"metadata.{kind}", rows)
    assert [name for name, _ in read(tmp_path, folder).values()] == ["a b#1%.png", "ä.png", "ä.png"]


def test_what_a_file_address_names():
    assert path_of_file_url("file:///a/b%20c%C3%A4.png") == "/a/b cä.png"
    assert path_of_file_url("FILE://localhost/a.png") == path_of_file_url("file:/a.png") == "/a.png"
    assert path_of_file_url("file:///100%.png") == "/100%.png"
    for wrong in (
        "file://images/1.png",
        "file:a.png",
        "file://",
        "file:///a?b",
        "file:///a#b",
        "file:///a%00b",
        "file://[abc",
    ):
        with pytest.raises(ValueError, match="the address"):
            path_of_file_url(wrong)


@pytest.mark.parametrize(
    "address", ["http://x.org/a.png", "s3://b/a.png", "file://other/a.png", "file:///a#b.png"]
)
def test_other_addresses_are_put_aside(tmp_path, address):
    (tmp_path / "t.tsv").write_text(f"url\tcaption\n{address}\twords\n")
    source = open_source(SourceSettings("tsv", str(tmp_path / "t.tsv")), tmp_path / "index")
    with pytest.raises(
        BadSample, match=r"is remote; download it first|names no file of this machine|write %3F and %23"
    ):
        source.read(0)
