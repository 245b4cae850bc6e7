"""Answers of an evaluation that goes on: read back as they were given, whatever letters they hold."""

from types import SimpleNamespace

import pytest

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.evaluation.kept import KeptAnswers
from imagebind_llm.training.report import read_metrics

IDENTITY = {"schema": 1, "task": "x", "model": {}, "settings": {}}
ODD = "one\u2028two\u2029three\x85four\x0bfive\x1csix\rseven\n"


def test_answers_are_read_back_with_every_letter(tmp_path):
    items = [SimpleNamespace(key=f"k\u2028{number}") for number in range(3)]
    with KeptAnswers(tmp_path, IDENTITY).opened() as kept:
        kept.add(items, [ODD, "plain", ValueError(ODD)])
    with KeptAnswers(tmp_path, IDENTITY).opened() as again:
        assert [item.key in again for item in items] == [True, True, False]  # what failed is asked again
        assert [again.answer(item.key) for item in items] == [ODD, "plain", None]
        assert [again.error(item.key) for item in items] == [None, None, ODD]


def test_metrics_are_read_back_with_every_letter(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"step": 1, "note": "a\u2028b\x85c"}\n{"step": 2}\n', encoding="utf-8")
    assert read_metrics(tmp_path / "m.jsonl") == [{"step": 1, "note": "a\u2028b\x85c"}, {"step": 2}]


def contents(folder):
    files = folder.iterdir() if folder.is_dir() else [folder]
    return {file.name: file.read_bytes() for file in files if file.name != ".lock"}


def refused(folder, words):
    before = contents(folder)
    with pytest.raises(ConfigError, match=words) as caught, KeptAnswers(folder, IDENTITY).opened():
        pass
    assert "\n" not in str(caught.value)
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["answers.jsonl", "identity.json", "results.json", "results.md"])
@pytest.mark.parametrize("content", ["", "[1]", '{"key": "a", "answer": "b"}\n', "a\x00b"])
def test_a_folder_of_somebody_else_is_refused(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    refused(tmp_path, f"holds '{name}', which is not known to be ours")
    assert not (tmp_path / ".lock").exists()


def test_other_files_may_lie_there(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with KeptAnswers(tmp_path, IDENTITY).opened() as kept:
        kept.add([SimpleNamespace(key="a")], ["b"])
    with KeptAnswers(tmp_path, IDENTITY).opened() as again:
        assert again.answer("a") == "b"


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(tmp_path / "file", "is a file; give a folder")
    with (
        pytest.raises(ConfigError, match="it is a file"),
        KeptAnswers(tmp_path / "file" / "x", IDENTITY).opened(),
    ):
        pass


@pytest.mark.parametrize(
    "line", ["[1]", "{", '{"key": 5, "answer": "b"}', '{"key": "a"}', "\xff", "[" * 5000]
)
def test_tampered_answers_are_refused(tmp_path, line):
    with KeptAnswers(tmp_path, IDENTITY).opened() as kept:
        kept.add([SimpleNamespace(key="a")], ["b"])
    with (tmp_path / "answers.jsonl").open("a", encoding="latin-1") as file:
        file.write(line + "\n")
    refused(tmp_path, "line 2 is no answer of an evaluation")
    (tmp_path / "identity.json").write_text("{")
    refused(tmp_path, "identity.json' is damaged or alone")
    (tmp_path / "identity.json").unlink()
    refused(tmp_path, "answers.jsonl' is damaged or alone")
    (tmp_path / "identity.json").write_text('{"schema": 1, "task": "y"}')
    refused(tmp_path, "that differs in model, settings, task")


def test_what_failed_and_then_came_is_kept_and_the_same_failure_is_not_written_twice(tmp_path):
    item = SimpleNamespace(key="a")
    with KeptAnswers(tmp_path, IDENTITY).opened() as kept:
        kept.add([item], [ValueError("gone")])
        kept.add([item], [ValueError("gone")])
    assert (tmp_path / "answers.jsonl").read_text().count("\n") == 1
    with KeptAnswers(tmp_path, IDENTITY).opened() as again:
        again.add([item], ["here"])
    with KeptAnswers(tmp_path, IDENTITY).opened() as last:
        assert last.answer("a") == "here"
        assert last.error("a") is None


def test_half_letters_are_kept_as_replaced(tmp_path):
    item = SimpleNamespace(key="a")
    with KeptAnswers(tmp_path, IDENTITY).opened() as kept:
        kept.add([item], ["yes \ud800"])
    with KeptAnswers(tmp_path, IDENTITY).opened() as again:
        assert again.answer("a") == "yes ?"
