"""Captions with the letters that end lines elsewhere, files of other editors, and what quotes mean."""

import io
import json
import tarfile

import pytest
from support.source_samples import png

from imagebind_llm.common.errors import BadSample, TrainingDataError, UserError
from imagebind_llm.data.clean.rules import _read_words
from imagebind_llm.data.pairs import read_pairs
from imagebind_llm.data.sources import SourceSettings, open_source
from imagebind_llm.data.sources.cells import comma_cells, tab_cells
from imagebind_llm.data.sources.guess import guess_kind

ODD = "one\x0btwo\x0cthree\x1cfour\x1dfive\x1esix\x85seven\u2028eight\u2029nine"
"""Everything at which ``str.splitlines`` cuts and a text editor does not."""
KINDS = ["tsv", "csv", "quoted csv", "llava", "llava lines", "alpaca", "txt", "json", "tar txt", "tar json"]


def written(folder, kind: str, caption: str, mark: bytes = b"", end: str = "\n") -> SourceSettings:
    """One sample with ``caption``, in a file that begins with ``mark`` and has this line end."""
    folder.mkdir(exist_ok=True)
    (folder / "1.png").write_bytes(png())
    base = kind.partition(" ")[0]
    turns = [{"from": "human", "value": "<image>\nSay"}, {"from": "gpt", "value": caption}]
    item = {"image": "1.png", "conversations": turns}
    text = {
        "tsv": f"url\tcaption{end}1.png\t{caption}{end}",
        "csv": f"url,caption{end}1.png,{caption}{end}",
        "quoted csv": f'url,caption{end}1.png,"{caption}"{end}',
        "llava": json.dumps([item], ensure_ascii=False),
        "llava lines": json.dumps(item, ensure_ascii=False) + end,
        "alpaca": json.dumps([{"instruction": "Say", "output": caption}], ensure_ascii=False),
        "txt": caption,
        "json": json.dumps({"caption": caption}, ensure_ascii=False),
    }
    if base == "tar":
        with tarfile.open(folder / "0.tar", "w") as tar:
            suffix = kind.partition(" ")[2]
            for name, data in (("1.png", png()), (f"1.{suffix}", mark + text[suffix].encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        return SourceSettings("webdataset", str(folder / "0.tar"))
    if kind in ("txt", "json"):
        (folder / f"1.{kind}").write_bytes(mark + text[kind].encode())
        return SourceSettings("folder", str(folder))
    suffix = {"llava lines": "jsonl", "llava": "json", "alpaca": "json"}.get(
        kind, "csv" if "csv" in kind else base
    )
    (folder / f"table.{suffix}").write_bytes(mark + text[kind].encode())
    return SourceSettings("csv" if kind == "quoted csv" else base, str(folder / f"table.{suffix}"))


def caption_of(settings: SourceSettings, tmp_path) -> str:
    source = open_source(settings, tmp_path / "index")
    assert len(source) == 1
    return source.read(0).messages[-1]["content"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_letter_of_a_caption_is_read(tmp_path, kind):
    assert caption_of(written(tmp_path / "d", kind, ODD), tmp_path) == ODD


@pytest.mark.parametrize("kind", KINDS)
def test_a_byte_order_mark_is_no_letter(tmp_path, kind):
    assert caption_of(written(tmp_path / "d", kind, "a cat", b"\xef\xbb\xbf"), tmp_path) == "a cat"


@pytest.mark.parametrize("kind", ["tsv", "csv", "quoted csv", "llava lines"])
@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_line_ends_of_other_systems(tmp_path, kind, end):
    settings = written(tmp_path / "d", kind, ODD, end=end)
    assert caption_of(settings, tmp_path) == ODD
    assert guess_kind(settings.path) == settings.kind


def test_old_line_ends_with_breaks_in_cells_are_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(b'url,caption\r1.png,"two\nlines"\r2.png,one\r')
    with pytest.raises(TrainingDataError, match="names no columns"):
        open_source(SourceSettings("csv", str(tmp_path / "t.csv")), tmp_path / "index")
    (tmp_path / "u.csv").write_bytes(b"url,caption\n1.png,one\r2.png,two\n3.png,three\n")
    source = open_source(SourceSettings("csv", str(tmp_path / "u.csv")), tmp_path / "index")
    with pytest.raises(BadSample, match="odd line ends"):
        source.read(0)
    assert source.read(1).messages[1]["content"] == "three"


@pytest.mark.parametrize("kind", ["tsv", "csv", "llava", "llava lines", "alpaca"])
def test_utf16_is_named(tmp_path, kind):
    settings = written(tmp_path / "d", kind, "a cat")
    for encoding in ("utf-16", "utf-16-be"):
        with open(settings.path, "r+b") as file:
            text = file.read().decode()
            file.seek(0)
            file.write(text.encode(encoding))
        with pytest.raises(TrainingDataError, match="is UTF-16, not UTF-8; save it as UTF-8"):
            open_source(settings, tmp_path / "index")
        written(tmp_path / "d", kind, "a cat")
    for caption in ("txt", "tar json"):
        settings = written(tmp_path / caption, caption, "x" * 30)
        file = tmp_path / caption / ("1.txt" if caption == "txt" else "0.tar")
        if caption == "txt":
            file.write_text("a cat", encoding="utf-16")
            with pytest.raises(BadSample, match="UTF-16"):
                open_source(settings, tmp_path / "index").read(0)


@pytest.mark.parametrize(
    ("line", "cells"),
    [
        ('a\t"Meow" says "Tom"', ["a", '"Meow" says "Tom"']),
        ('a\t"Meow"', ["a", "Meow"]),
        ('a\t"say ""Meow"" twice"', ["a", 'say "Meow" twice']),
        ('a\t"""Meow"""', ["a", '"Meow"']),
        ('a\tfive 5" disks', ["a", 'five 5" disks']),
        ('a\t"Meow" is a word\r\n', ["a", '"Meow" is a word']),
        ('a\t"Tom" and "Jerry"\tb', ["a", '"Tom" and "Jerry"', "b"]),
        ('a\t""', ["a", ""]),
        ("a\t'Meow'", ["a", "'Meow'"]),
    ],
)
def test_quotes_between_tabs(line, cells):
    assert tab_cells(line) == cells


@pytest.mark.parametrize("line", ['a\t"it goes on', 'a\t"', 'a\t"five 5" disks"'])
def test_a_quote_that_never_closes_is_refused_between_tabs(line):
    with pytest.raises(ValueError, match="never closed"):
        tab_cells(line)


def test_quotes_between_commas():
    assert comma_cells('a,"say ""Meow"", Tom\nand go"\n') == ["a", 'say "Meow", Tom\nand go']
    assert comma_cells('a,five 5" disks') == ["a", 'five 5" disks']
    for row in ('a,"Meow" says "Tom"', 'a,"it goes on'):
        with pytest.raises(ValueError, match="not a row of comma-separated values"):
            comma_cells(row)


def test_a_quoted_caption_over_two_lines_of_a_tsv_is_put_aside(tmp_path):
    (tmp_path / "t.tsv").write_text('url\tcaption\n1.png\t"one\ntwo"\n2.png\tthree\n')
    source = open_source(SourceSettings("tsv", str(tmp_path / "t.tsv")), tmp_path / "index")
    for row in (0, 1):
        with pytest.raises(BadSample):
            source.read(row)
    assert source.read(2).messages[1]["content"] == "three"


def test_word_lists(tmp_path):
    (tmp_path / "w.txt").write_bytes("bad\u2028word\r\nBär # rude\r\n".encode("utf-8-sig"))
    assert _read_words(tmp_path / "w.txt") == ["bad\u2028word", "Bär", ""]
    (tmp_path / "w.txt").write_text("bad", encoding="utf-16")
    with pytest.raises(UserError, match="UTF-16"):
        _read_words(tmp_path / "w.txt")


def test_manifests_of_pairs(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.npy").touch()
        (tmp_path / f"{name}.png").touch()
    odd = '"x" and \u2028 "y"'
    rows = "".join(
        f"{name}.npy\t{name}.png\t{odd}\t{split}\r"
        for name, split in zip("abc", ("train", "", "test"), strict=True)
    )
    (tmp_path / "p.tsv").write_bytes(("array\timage\tlabel\tsplit\r" + rows).encode("utf-8-sig"))
    sets = read_pairs(tmp_path / "p.tsv")
    assert sets.labels == (odd,)
    assert [pair.array.name for pair in sets.train] == ["a.npy", "b.npy"]
    (tmp_path / "p.csv").write_text("array,image,label,split\na.npy,a.png,one, two,train\n")
    with pytest.raises(UserError, match="row 2 has 5 columns; expected 4"):
        read_pairs(tmp_path / "p.csv")
    (tmp_path / "p.jsonl").write_text('{"array": "a.npy", "image": "a.png"}', encoding="utf-16")
    with pytest.raises(UserError, match="UTF-16"):
        read_pairs(tmp_path / "p.jsonl")
