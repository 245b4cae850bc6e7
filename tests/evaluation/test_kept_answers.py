"""Answers of an evaluation that goes on: read back as they were given, whatever letters they hold."""

from types import SimpleNamespace

from imagebind_llm.evaluation.runner import _Answers
from imagebind_llm.training.report import read_metrics

ODD = "one\u2028two\u2029three\x85four\x0bfive\x1csix\rseven\n"


def test_answers_are_read_back_with_every_letter(tmp_path):
    items = [SimpleNamespace(key=f"k\u2028{number}") for number in range(3)]
    with _Answers(tmp_path, {"suite": "x"}).opened() as kept:
        kept.add(items, [SimpleNamespace(text=ODD), SimpleNamespace(text="plain"), ValueError(ODD)])
    with _Answers(tmp_path, {"suite": "x"}).opened() as again:
        assert again.found == {
            items[0].key: {"answer": ODD},
            items[1].key: {"answer": "plain"},
            items[2].key: {"error": ODD},
        }


def test_metrics_are_read_back_with_every_letter(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"step": 1, "note": "a\u2028b\x85c"}\n{"step": 2}\n', encoding="utf-8")
    assert read_metrics(tmp_path / "m.jsonl") == [{"step": 1, "note": "a\u2028b\x85c"}, {"step": 2}]
