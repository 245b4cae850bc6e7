"""Six whole benchmarks, from files in the released formats to the report, with the bundled model."""

import json
import shutil
from pathlib import Path

import pytest
from support.benchmark_sets import DIGITS, MME_TASKS, THINGS, write_all

from imagebind_llm.cli import main

RUNS = ("mme", "coco-caption", "vqav2", "pope", "retrieval", "iiit5k")

if shutil.which("java") is None:
    pytest.skip("Java, which captions are scored with, is not installed", allow_module_level=True)
pytest.importorskip("pycocoevalcap", reason="the extra eval is not installed")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("sets"))


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


@pytest.fixture(scope="module")
def out(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    assert (
        command("eval", "plan", sets / "plan.yaml", "--data", sets, "--out", folder, "--device", "cpu") == 0
    )
    return folder


def samples(out: Path, run: str) -> list[dict]:
    return [json.loads(line) for line in (out / run / "samples.jsonl").read_text("utf-8").splitlines()]


def metrics(out: Path, run: str) -> dict[str, float]:
    found = json.loads((out / run / "results.json").read_text("utf-8"))["metrics"]
    return {name: metric["value"] for name, metric in found.items()}


def share(outcomes) -> float:
    outcomes = list(outcomes)
    return sum(outcomes) / len(outcomes)


def test_every_run_leaves_its_files(out):
    for run in RUNS:
        names = {path.name for path in (out / run).iterdir()}
        assert names >= {"samples.jsonl", "results.json", "results.md", "report.html", "runs.jsonl"}, run
        results = json.loads((out / run / "results.json").read_text("utf-8"))
        assert results["failed"] == 0
        assert results["main"] in results["metrics"]
        medium = "<audio" if run == "retrieval" else "<img"
        assert medium in (out / run / "report.html").read_text("utf-8"), run
    summary = (out / "summary.md").read_text("utf-8")
    assert summary.count("\n") == 2 + len(RUNS)
    assert "not run" not in summary


def test_mme_is_scored_as_its_answers_say(out):
    rows = samples(out, "mme")
    assert len(rows) == len(MME_TASKS) * 3 * 2
    said = {row["key"]: row["answer"].strip().lower()[:4] for row in rows}
    right = {
        row["key"]: row["expected"]
        == ("yes" if "yes" in said[row["key"]] else "no" if "no" in said[row["key"]] else "")
        for row in rows
    }
    points = {}
    for task in MME_TASKS:
        of_task = {key: good for key, good in right.items() if key.startswith(f"{task}/")}
        pictures = {key.rsplit("/", 1)[0] for key in of_task}
        both = [all(good for key, good in of_task.items() if key.startswith(f"{p}/")) for p in pictures]
        points[task] = 100 * (share(of_task.values()) + share(both))
    found = metrics(out, "mme")
    assert found["perception"] == pytest.approx(sum(points[task] for task in MME_TASKS[:10]), abs=1e-3)
    assert found["cognition"] == pytest.approx(sum(points[task] for task in MME_TASKS[10:]), abs=1e-3)


def test_pope_counts_yes_and_no(out):
    rows = samples(out, "pope")
    assert len(rows) == 3 * 2 * len(THINGS)
    yes = [
        not {"No", "no", "not"} & set(row["answer"].split(".")[0].replace(",", "").split(" ")) for row in rows
    ]
    true = [row["expected"] == "yes" for row in rows]
    found = metrics(out, "pope")
    assert found["accuracy"] == pytest.approx(share(a == b for a, b in zip(yes, true, strict=True)), abs=1e-5)
    assert found["yes_rate"] == pytest.approx(share(yes), abs=1e-5)
    hits = sum(a and b for a, b in zip(yes, true, strict=True))
    assert found["recall"] == pytest.approx(hits / sum(true), abs=1e-5)


def test_captions_name_what_nano_sees(out):
    rows = samples(out, "coco-caption")
    assert len(rows) == len(THINGS)
    found = metrics(out, "coco-caption")
    assert 0 < found["BLEU-4"] <= found["BLEU-1"] <= 1
    assert found["CIDEr"] > 0


def test_words_and_questions_are_answered(out):
    words = samples(out, "iiit5k")
    assert len(words) == len(DIGITS) + 2
    questions = samples(out, "vqav2")
    assert len(questions) == len(THINGS) + len(DIGITS)
    named = [row["expected"] for row in questions]
    assert named
    assert metrics(out, "vqav2")["accuracy"] == pytest.approx(
        share(row["score"] for row in questions), abs=1e-5
    )


def test_sounds_find_their_pictures(out):
    assert metrics(out, "retrieval")["r@1"] >= 0.5  # chance: 1 of 6
    assert metrics(out, "retrieval")["r@5"] >= metrics(out, "retrieval")["r@1"]


def test_a_finished_plan_asks_nothing_again(sets, out, capsys):
    before = {run: (out / run / "answers.jsonl").read_bytes() for run in RUNS}
    reports = {run: (out / run / "report.html").read_bytes() for run in RUNS}
    shutil.rmtree(out / "pope")
    arguments = (
        "eval",
        "plan",
        sets / "plan.yaml",
        "--data",
        sets,
        "--out",
        out,
        "--device",
        "cpu",
        "--json",
    )
    assert command(*arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in printed] == list(RUNS)
    assert {run: (out / run / "answers.jsonl").read_bytes() for run in RUNS} == before
    assert {run: (out / run / "report.html").read_bytes() for run in RUNS} == reports


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ("runs: []", "lists no runs"),
        ("runs: [{suite: mmee}]", "did you mean 'mme'"),
        ("runs: [{suite: mme, dta: x}]", "unknown setting"),
        ("runs: [{suite: mme}, {suite: mme}]", "two runs called 'mme'"),
        ("runs: [{suite: mme, name: ../x}]", "is no name of a folder"),
        ("runs: [{suite: mme, name: ..}]", "is no name of a folder"),
        ("runs: [{suite: mme, name: summary.md}]", "is no name of a folder"),
        ("runs: [{suite: mme, items: 0}]", "expected at least 1"),
        ("runs: [{suite: nano}]", "has a command of its own"),
        ("runs: [{suite: retrieval, options: {qery: text}}]", "did you mean 'query'"),
        ("- x", "expected a mapping"),
        ("runs: [", "is not YAML"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_in_one_line(tmp_path, capsys, plan, words):
    (tmp_path / "plan.yaml").write_text(plan)
    assert command("eval", "plan", tmp_path / "plan.yaml", "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


def test_an_option_of_another_type_harms_no_other_run(sets, tmp_path, capsys):
    (tmp_path / "plan.yaml").write_text(
        "runs: [{suite: retrieval, data: pairs/pairs.csv, options: {captions: x}},"
        " {suite: mme, data: nowhere}, {suite: iiit5k, data: words}]"
    )
    command_ = ("eval", "plan", tmp_path / "plan.yaml", "--data", sets, "--out", tmp_path / "out")
    assert command(*command_, "--device", "cpu") == 0
    out, err = capsys.readouterr()
    assert "the option 'captions' is 'x'; expected int" in err
    assert out.count("not run") == 2
    assert (tmp_path / "out" / "iiit5k" / "results.json").is_file()


def test_two_finished_runs_are_compared(sets, out, tmp_path, capsys):
    again = ("eval", "pope", "--data", sets / "pope", "--out", tmp_path / "pope", "--max-new-tokens", 1)
    assert command(*again, "--device", "cpu") == 0
    capsys.readouterr()
    assert command("eval", "compare", out / "pope", tmp_path / "pope", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert "accuracy" in json.dumps(found)
    assert command("eval", "compare", out / "pope", out / "mme") == 2
    assert "give two evaluations of one suite" in capsys.readouterr().err
