"""The list of benchmarks: complete, and the same in the documentation."""

from pathlib import Path

import pytest

from imagebind_llm.cli import main
from imagebind_llm.evaluation.benchmarks import BENCHMARKS
from imagebind_llm.evaluation.suite import suite_kind

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def test_every_benchmark_is_whole():
    assert len(BENCHMARKS) > 50
    for name in BENCHMARKS:
        kind = suite_kind(name)
        assert kind.make is not None, name
        assert kind.facts is not None, name
        assert all((kind.facts.layout, kind.facts.metric, kind.facts.source, kind.facts.licence)), name
        assert kind.summary[0].isupper(), name
        assert kind.summary.endswith("."), name
        assert f"imagebind-llm eval {name} --" in kind.examples, name
        assert "--data " in kind.examples, name
        suite = kind.make()
        assert suite.name == name  # results are read again by it
        assert suite.asks in ("answers", "embeddings"), name


def test_the_table_of_the_page_is_that_of_the_command(capsys):
    with pytest.raises(SystemExit) as left:
        main(["eval", "list", "--markdown"])
    assert not left.value.code
    printed = capsys.readouterr().out
    page = PAGE.read_text(encoding="utf-8")
    shown = page.split("<!-- suites: begin -->\n")[1].split("<!-- suites: end -->")[0]
    assert shown == printed
