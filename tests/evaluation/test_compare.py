"""Two evaluations of one suite, side by side; and the list of suites."""

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagebind_llm.cli import main
from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.compare import Comparison, compare, comparison_markdown, comparison_page
from imagebind_llm.evaluation.folder import Finished, read_outcome, write_outcome
from imagebind_llm.evaluation.runner import run_suite

SUITE = '''
"""Adds up; items of one unit are the sums of one row."""

from pathlib import Path
from typing import Annotated

from imagebind_llm.evaluation.suite import Facts, Item, Sample, Suite, SuiteKind, ratio


class Adding(Suite):
    """Sums of two numbers."""

    name = "adding"
    units = {"points": "points"}

    def __init__(self, scale, table):
        self.scale = scale
        assert table is None or isinstance(table, Path)

    def items(self, data):
        for a in range(8):
            for b in range(4):
                yield Item(f"{a}+{b}", {"question": f"{a}+{b}"}, str(a + b), f"row {a % 2}", f"row {a}")

    def judge(self, items, answers):
        right = [float(answer == item.expected) for item, answer in zip(items, answers)]
        return [Sample({"n": 1, "right": one}, answer, one) for one, answer in zip(right, answers)]

    def metrics(self, sums):
        share = ratio(sums["right"], sums["n"])
        return {"points": self.scale * share, "accuracy": share}


def make(scale: Annotated[float, "Points of all."] = 1.0, table: Annotated[Path | None, "A file."] = None):
    """Add up."""
    return Adding(scale, table)


FACTS = Facts("a folder", "accuracy | points", "https://example.org/adding", "CC0-1.0", "99 (somebody 1999)")
ADDING = SuiteKind(make=make, summary="Sums of two numbers.", facts=FACTS)
OTHER = SuiteKind(make=make, summary="Differences.")
OWN = SuiteKind(command=print, summary="Makes its own results.", read=lambda path: {"task": "own"})
'''

ENTRY_POINTS = """
[imagebind_llm.suites]
adding = adding_suite:ADDING
subtracting = adding_suite:OTHER
gone = adding_suite:NOTHING
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The suite, installed as a package of its own."""
    facts = tmp_path / "site" / "adding_suite-1.0.dist-info"
    facts.mkdir(parents=True)
    (tmp_path / "site" / "adding_suite.py").write_text(SUITE)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: adding-suite\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(__import__("sys").modules, "adding_suite", raising=False)
    import adding_suite

    return adding_suite


class Adder:
    """Is wrong about some sums."""

    modalities = None

    def __init__(self, wrong: Callable[[int, int], bool]) -> None:
        self._wrong = wrong

    def answers(self, requests: Any) -> Any:
        for request in requests:
            a, b = map(int, request["question"].split("+"))
            yield "<i>猫</i>" if self._wrong(a, b) else str(a + b)

    def embeddings(self, requests: Any) -> Any:
        raise NotImplementedError


Runs = tuple[Finished, Finished]


@pytest.fixture
def runs(suite: Any, tmp_path: Path) -> Runs:
    """A is wrong about all of rows 0 to 5, B about a single sum of rows 6 and 0 each."""
    found = []
    for name, wrong in (("a", lambda a, b: a < 6), ("b", lambda a, b: b == 0 and a in (0, 6))):
        outcome = run_suite(
            suite.make(scale=10.0),
            Adder(wrong),
            out=tmp_path / name,
            about={"name": f"adder {name}", "weights_sha256": name * 64},
            arguments={"scale": 10.0, "table": "numbers.csv"},
            options={"seed": ord(name)},
        )
        outcome.results["environment"] = {}
        write_outcome(outcome, tmp_path / name, "adding", 0.0)
        found.append(read_outcome(tmp_path / name))
    return found[0], found[1]


def changed(run: Finished, **parts: Any) -> Finished:
    return replace(run, results=copy.deepcopy(run.results) | parts, samples=copy.deepcopy(run.samples))


def test_differences_have_intervals_and_p_values(runs: Runs) -> None:
    found = compare(*runs).to_dict()
    assert (found["n"], found["units"], found["left_out"]) == (32, 8, [0, 0])
    accuracy, points = found["metrics"]["accuracy"], found["metrics"]["points"]
    assert (accuracy["first"], accuracy["second"], accuracy["difference"]) == (0.25, 0.9375, 0.6875)
    assert list(found["metrics"]) == ["accuracy", "points"]
    assert 0.3 < accuracy["low"] < 0.6875 < accuracy["high"] <= 1
    # rows change by 3, 4, 4, 4, 4, 4, -1 and 0: of 2**7 exchanges 2 + 2 are as far from none as 22
    assert accuracy["p"] == pytest.approx(4 / 128, abs=0.006)
    assert accuracy["p_holm"] == pytest.approx(2 * accuracy["p"], abs=1e-4)
    # the suite was made with the arguments of the runs: its points are ten times the share
    assert points["difference"] == 6.875
    assert found["gained"][:2] == ["0+1", "0+2"]
    assert len(found["gained"]) == 23
    assert found["lost"] == ["6+0"]
    assert found["settings"] == {
        "model.name": ["adder a", "adder b"],
        "model.weights_sha256": ["a" * 64, "b" * 64],
        "settings.options.seed": ["97", "98"],
    }


def test_a_run_does_not_differ_from_itself(runs: Runs) -> None:
    found = compare(runs[0], runs[0])
    assert found.changes["accuracy"].to_dict()["difference"] == 0
    assert found.changes["accuracy"].p == 1
    assert (found.better, found.worse, found.differing()) == ([], [], [])
    assert "the same" in comparison_page(found)


def test_the_order_of_items_does_not_matter(runs: Runs) -> None:
    turned = replace(runs[1], samples=runs[1].samples[::-1])
    assert compare(runs[0], turned).changes == compare(*runs).changes


def test_other_items_are_refused_or_left_out(runs: Runs) -> None:
    fewer = replace(runs[1], samples=runs[1].samples[:-4])
    with pytest.raises(UserError, match=r"4 are only in .*a' and 0 only in .*'7\+0'.*share 28; --shared"):
        compare(runs[0], fewer)
    found = compare(runs[0], fewer, shared=True)
    assert (len(found.pairs), found.units, found.left_out) == (28, 7, (4, 0))
    assert "4 items of A and 0 of B" in comparison_markdown(found)
    none = replace(runs[1], samples=[{**sample, "key": "x" + sample["key"]} for sample in runs[1].samples])
    with pytest.raises(UserError, match=r"they share 0$"):
        compare(runs[0], none, shared=True)


def test_items_that_were_changed_are_refused(runs: Runs) -> None:
    for part, value in (("expected", "7"), ("unit", "another"), ("sums", {})):
        other = changed(runs[1])
        other.samples[3][part] = value
        with pytest.raises(UserError, match=r"item '0\+3' has another"):
            compare(runs[0], other)
    twice = replace(runs[0], samples=[*runs[0].samples, runs[0].samples[0]])
    with pytest.raises(UserError, match="a key twice"):
        compare(twice, runs[1])


def test_other_suites_are_refused(runs: Runs) -> None:
    other = changed(runs[1], task="subtracting")
    with pytest.raises(UserError, match=r"is of 'adding' and .* of 'subtracting'"):
        compare(runs[0], other)


def test_a_suite_without_sums_is_refused(runs: Runs, suite: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "ADDING", suite.OWN)
    with pytest.raises(UserError, match="cannot be compared"):
        compare(*runs)


def test_markdown_names_models_metrics_and_items(runs: Runs) -> None:
    text = comparison_markdown(compare(*runs))
    assert "A: adder a (aaaaaaaa)" in text
    assert re.search(r"\| accuracy \| 25\.0 \| 93\.8 \| \+68\.8 \(\+\d", text)
    assert "| points | 2.5 | 9.375 | +6.875 (" in text
    assert "2 metrics were tested" in text
    assert "23 items score higher in B, 1 lower." in text
    assert "| lower | 6+0 | 6 | 6 | <i>猫</i> |" in text
    assert "| settings.options.seed | 97 | 98 |" in text


def test_other_arguments_of_the_suite_are_pointed_out(runs: Runs) -> None:
    settings = runs[1].results["settings"] | {"suite": {"scale": 5.0}}
    found = compare(runs[0], changed(runs[1], settings=settings))
    assert "The suite was set otherwise" in comparison_markdown(found)


def test_the_page_shows_both_answers(runs: Runs) -> None:
    text = comparison_page(compare(*runs))
    assert "Better in B <small>12 of 23</small>" in text
    assert "Worse in B <small>1 of 1</small>" in text
    assert "&lt;i&gt;猫&lt;/i&gt;" in text
    assert "<i>猫" not in text
    assert "<script" not in text
    assert "default-src 'none'" in text
    # in turn from both groups
    assert {"row 0", "row 1"} <= set(re.findall(r"<bdi>(row \d)</bdi>", text))


def test_without_scores_other_answers_are_shown(runs: Runs) -> None:
    first, second = (changed(run) for run in runs)
    for sample in (*first.samples, *second.samples):
        sample["score"] = None
    found = compare(first, second)
    assert isinstance(found, Comparison)
    assert (found.better, found.worse) == ([], [])
    assert "Answered otherwise <small>12 of 24</small>" in comparison_page(found)


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return (int(left.value.code or 0), *capsys.readouterr())


def test_the_command(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "new" / "comparison.html"
    code, out, _ = call(capsys, "eval", "compare", tmp_path / "a", tmp_path / "b", "--out", page)
    assert (code, out) == (0, comparison_markdown(compare(*runs)))
    assert page.read_text(encoding="utf-8") == comparison_page(compare(*runs))
    code, out, _ = call(capsys, "eval", "compare", tmp_path / "a", tmp_path / "b", "--json")
    assert (code, json.loads(out)) == (0, compare(*runs).to_dict())
    code, out, error = call(capsys, "eval", "compare", tmp_path / "a", tmp_path / "c")
    assert (code, out) == (2, "")
    assert error.startswith("error: cannot read")
    assert error.count("\n") == 1


def test_the_list(suite: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = call(capsys, "eval", "list", "--json")
    listed = {one["name"]: one for one in json.loads(out)}
    assert code == 0
    assert listed["adding"]["published"] == "99 (somebody 1999)"
    assert listed["subtracting"]["licence"] == ""
    assert listed["gone"]["summary"].startswith("Cannot be imported")
    out = call(capsys, "eval", "list", "--markdown")[1]
    assert (
        "| `adding`: Sums of two numbers. | a folder | accuracy \\| points | https://example.org/adding; "
        "CC0-1.0 | 99 (somebody 1999) |" in out
    )
    monkeypatch.setenv("COLUMNS", "60")
    out = call(capsys, "eval", "list")[1]
    # an address is not broken, which could then not be copied
    assert all(len(line) < 60 or len(line[12:].split()[-1]) > 28 for line in out.splitlines())
    assert re.search(
        r"^adding +Sums of two numbers\.\n +files +a folder\n +metric +accuracy \| points\n", out, re.M
    )
