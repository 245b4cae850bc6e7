"""Where benchmarks' files and media are looked for, and what of their tables is refused."""

import pytest

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.benchmarks.finding import Media, cell_source, find_file, find_table, look_for
from imagebind_llm.evaluation.benchmarks.reading import Row, by_id, csv_cells, csv_rows, json_rows, text_lines


def put(root, *names, content=b"x"):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root / names[0]


def refused(words, call, *arguments):
    with pytest.raises(UserError, match=words) as caught:
        list(call(*arguments))
    assert "\n" not in str(caught.value)


# --- files


def test_the_nearest_file_is_taken_then_the_first_name(tmp_path) -> None:
    put(tmp_path, "deep/a.json", "deep/b.json", "deep/deeper/c.json")
    assert find_file(tmp_path, "b.json", "*.json") == tmp_path / "deep/b.json"
    near = put(tmp_path, "x.json")
    assert find_file(tmp_path, "b.json", "*.json") == near
    assert look_for(tmp_path, "c.json", "*.txt") is None
    assert find_table(near, "*.txt") == near


def test_what_is_hidden_is_no_file_of_a_benchmark(tmp_path) -> None:
    put(tmp_path, "._gt.txt", ".old/gt.txt", "__MACOSX/gt.txt")
    assert look_for(tmp_path, "*gt.txt") is None
    assert find_file(put(tmp_path, "new/gt.txt").parent.parent, "*gt.txt") == tmp_path / "new/gt.txt"


def test_files_are_not_guessed(tmp_path) -> None:
    put(tmp_path, "a/one.csv", "b/two.csv")
    refused(r"one.csv', and '.*two.csv'; give the right one", find_file, tmp_path, "*.csv")
    refused(r"no 'c.csv' or 'd.csv' in .* or its folders", find_file, tmp_path, "c.csv", "d.csv")
    refused("is no folder; give the one that holds 'a'", find_file, tmp_path / "a/one.csv", "a")
    put(tmp_path, "a[1].csv")
    assert find_file(tmp_path, "a[1].csv") == tmp_path / "a[1].csv"


# --- media


def test_media_beside_the_table_below_it_and_above_it(tmp_path) -> None:
    table = put(tmp_path, "annotations/t.json")
    for place in ("annotations", "annotations/images", ".", "images"):
        found = put(tmp_path, f"{place}/{len(place)}.jpg")
        assert Media(table, "images").path("here", found.name) == str(tmp_path / place / found.name)
        assert Media(table.parent, "images").find("here", found.name) is not None
    media = Media(table, "images")
    refused("here needs '3.jpg' or '4.jpg', which is not there", media.path, "here", "3.jpg", "4.jpg")
    assert Media(put(tmp_path, "tables/t.json")).find("here", "1.jpg") is None


def test_names_may_begin_with_the_folder(tmp_path) -> None:
    put(tmp_path, "release/a.jpg")
    assert Media(tmp_path / "release").find("here", "release/a.jpg") == str(tmp_path / "release/a.jpg")
    assert Media(tmp_path / "release").find("here", "release") is None


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../a.jpg", "x/../../a.jpg", "..\\a.jpg", "a\0.jpg"])
def test_no_name_leads_out_of_the_folder(tmp_path, name) -> None:
    put(tmp_path, "a.jpg")
    refused("here names .*; expected a file below --data", Media(tmp_path / "b").find, "here", "ok.jpg", name)


@pytest.mark.parametrize("name", ["a" * 5000, "\ud800.jpg"])
def test_names_that_no_disk_has(tmp_path, name) -> None:
    refused("here needs .*, which is not there", Media(tmp_path).path, "here", name)


def test_media_in_cells(tmp_path) -> None:
    file = put(tmp_path, "a.jpg")
    assert (
        cell_source("a.jpg", tmp_path, "here") == cell_source(str(file), tmp_path / "b", "here") == str(file)
    )
    assert cell_source({"bytes": b"x", "path": "gone"}, tmp_path, "here") == b"x"
    for value in ("a" * 5000, "a\0.jpg", "\ud800", "gone"):
        refused("here names .*, which is not there", cell_source, value, tmp_path, "here")
    for value in (b"", {"bytes": None, "path": None}, 3, " "):
        refused("here has .* for a medium", cell_source, value, tmp_path, "here")


# --- tables


def test_tables_of_commas_and_of_tabs(tmp_path) -> None:
    text = b'\xef\xbb\xbf a ,b\r\n1,"x\r\ny"\r\n,\r\n2,"say ""z"""\r\n'
    rows = csv_rows(put(tmp_path, "t.csv", content=text), ("a",))
    assert [row.values for row in rows] == [{"a": "1", "b": "x\ny"}, {"a": "2", "b": 'say "z"'}]
    assert [row.where.rpartition(": ")[2] for row in rows] == ["line 2", "line 5"]
    tabs = put(tmp_path, "t.TSV", content=b"a\tb\n1,5\t2\n")
    assert [cells for _, cells in csv_cells(tabs)] == [["a", "b"], ["1,5", "2"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "no column 'a'"),
        (b"b\n1\n", "no column 'a'"),
        (b"a,b,b\n1,2,3\n", "2 columns 'b'; its first line is 'a,b,b'"),
        (b"a\n\n", "no rows below its first line"),
        (b"a,b\n1,2\n\n3\n", "line 4 has 1 cells; expected 2"),
        (b'a,b\n1,"2\n3,4\n', "line 2 breaks the rules of CSV"),
        ("a\n1\n".encode("utf-16"), "is UTF-16, not UTF-8"),
        (b"a\n\xff\n", "is not UTF-8 text"),
    ],
)
def test_damaged_tables(tmp_path, text, words) -> None:
    refused(rf"t.csv'.*{words}", csv_rows, put(tmp_path, "t.csv", content=text), ("a",))
    refused("cannot read .*gone.csv'", csv_rows, tmp_path / "gone.csv")


def test_columns_without_a_name_are_no_repetition(tmp_path) -> None:
    (row,) = csv_rows(put(tmp_path, "t.csv", content=b"a,,\n1,,\n"), ("a",))
    assert row.text("a") == "1"


def test_json_lines_and_json_lists_are_the_same(tmp_path) -> None:
    lines = json_rows(put(tmp_path, "a.jsonl", content=b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": 2}'))
    assert [row.values for row in lines] == [{"a": 1}, {"a": 2}]
    assert lines[1].where.endswith("a.jsonl': line 3")
    rows = json_rows(put(tmp_path, "a.json", content=b'[{"a": 1}, {"a": 2}]'))
    assert [row.values for row in rows] == [row.values for row in lines]
    for text, words in [
        (b'{"a": 1}\n{"a": NaN}', "line 2 is not JSON"),
        (b'{"a": 1, "a": 2}', "line 1 is not JSON .*stands twice"),
        (b"[{}, 3]", "entry 2 is 3; expected an object"),
        ("[]".encode("utf-16"), "is UTF-16"),
    ]:
        refused(words, json_rows, put(tmp_path, "b.json", content=text))


def test_lines_say_where_they_are(tmp_path) -> None:
    file = put(tmp_path, "t.txt", content="\nein\u2028er\r\rzwei".encode())
    assert list(text_lines(file)) == [
        (f"{str(file)!r}: line 2", "ein\u2028er"),
        (f"{str(file)!r}: line 4", "zwei"),
    ]


def test_fields_are_checked(tmp_path) -> None:
    row = Row({"s": "", "n": 3, "b": True, "l": [], "o": {"k": "v"}, "z": None}, "here")
    assert row.text("s", empty=True) == ""
    assert row.rows("l", empty=True) == []
    assert row.id("n") == "3"
    assert row.row("o").text("k") == "v"
    for words, call, name in [
        ("here has no 'x'; it has s, n", row.text, "x"),
        ("here: 's' is ''; expected a text that is not empty", row.text, "s"),
        ("here: 's' is ''; expected a whole number or a text", row.id, "s"),
        ("here: 'b' is True; expected a whole number", row.whole, "b"),
        ("here: 'l' is .*; expected a list that is not empty", row.list, "l"),
        ("here: 'z' is None; expected an object", row.row, "z"),
    ]:
        refused(words, call, name)
    refused("there has the n '3', as here has; each may come once", by_id, [row, Row({"n": 3}, "there")], "n")
