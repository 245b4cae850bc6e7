"""Running a suite: what is kept, what goes on, what two runs have in common, and who answers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.llm_folders import run_cli

from imagebind_llm import Assistant
from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.evaluation.engine import LocalEngine
from imagebind_llm.evaluation.folder import write_outcome
from imagebind_llm.evaluation.kept import KeptAnswers
from imagebind_llm.evaluation.runner import run_suite
from imagebind_llm.evaluation.suite import Item, Sample, Suite

INPUTS = Path(__file__).parents[2] / "examples" / "inputs"
PICTURES = sorted(INPUTS.glob("*.jpg"))
REPEATABLE = ("samples.jsonl", "results.json", "results.md", "report.html", "answers.jsonl", "identity.json")


class Named(Suite):
    """What the bundled examples show."""

    name = "named"

    def items(self, data):
        for path in PICTURES:
            for question in ("What is this?", "What do you see?"):
                yield Item(
                    f"{path.stem}-{question}",
                    {"question": question, "image": str(path)},
                    path.stem,
                    "digit" if path.stem in ("two", "three", "five", "eight") else "thing",
                    path.stem,
                )

    def right(self, item, answer):
        return item.expected in answer.lower()


class Nearest(Suite):
    """Which of two pictures a sound is nearest to; embeddings."""

    name, asks, main = "nearest", "embeddings", "share"

    def items(self, data):
        yield Item("dog", {"image": str(INPUTS / "dog.jpg")}, always=True)
        yield Item("ship", {"image": str(INPUTS / "ship.jpg")}, always=True)
        yield Item("sound", {"audio": str(INPUTS / "dog.ogg")}, "dog")

    def judge(self, items, answers):
        rows = {item.key: answer for item, answer in zip(items, answers, strict=True)}
        nearer = float(rows["sound"] @ rows["dog"] > rows["sound"] @ rows["ship"])
        return [
            Sample({"n": 1, "right": nearer}, None, nearer) if i.key == "sound" else Sample({}) for i in items
        ]

    def metrics(self, sums):
        return {"share": sums["right"] / sums["n"]}


class Written:
    """An engine that answers from a table, and can break off."""

    modalities = ("image",)

    def __init__(self, answers, most=None):
        self.answers_by_image, self.most, self.asked = answers, most, 0

    def answers(self, requests):
        for request in requests:
            if self.asked == self.most:
                raise KeyboardInterrupt
            self.asked += 1
            yield self.answers_by_image(request)


@pytest.fixture(scope="module")
def bot():
    return Assistant.from_pretrained("nano", device="cpu")


def files(folder):
    return {name: (folder / name).read_bytes() for name in REPEATABLE}


def finish(suite, engine, out, **more):
    outcome = run_suite(suite, engine, out=out, **more)
    write_outcome(outcome, out, "command", time.time())
    return outcome


def stem(request):
    return Path(request["image"]).stem


def test_two_runs_write_the_same_bytes(bot, tmp_path):
    first = finish(Named(), LocalEngine(bot), tmp_path / "a")
    finish(Named(), LocalEngine(bot), tmp_path / "b", batch_size=3)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert first.results["n"] == len(first.samples) == 2 * first.results["units"]
    assert first.results["groups"]["digit"]["metrics"]["accuracy"]["value"] == 1.0
    lines = (tmp_path / "a" / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == first.samples


def test_an_interrupted_run_goes_on(tmp_path):
    engine = Written(stem, most=5)
    with pytest.raises(KeyboardInterrupt):
        run_suite(Named(), engine, out=tmp_path / "a", batch_size=2)
    assert len((tmp_path / "a" / "answers.jsonl").read_text().splitlines()) == 5
    again = Written(stem)
    finish(Named(), again, tmp_path / "a", batch_size=2)
    whole = finish(Named(), Written(stem), tmp_path / "b")
    assert again.asked == len(whole.samples) - 5
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    from imagebind_llm.cli import suites

    data = tmp_path / "data"
    shutil.copytree(INPUTS, data)
    items = [{"question": "What is this?", "image": path.name, "answer": path.stem} for path in PICTURES]
    (data / "questions.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    engine = Written(stem, most=3)
    monkeypatch.setattr(suites, "open_engine", lambda *_: (engine, {}))
    out = tmp_path / "out"
    assert run_cli("eval", "qa", "--data", data, "--out", out) == 130
    assert f"what was answered is kept in {out}: the same command goes on" in capsys.readouterr().err
    assert len((out / "answers.jsonl").read_text().splitlines()) == 3


DRIVER = """
import sys, time
sys.path[:0] = {paths!r}
from test_runner import Named, Written, stem, finish
def slow(request):
    time.sleep(0.05)
    return stem(request)
print("begun", flush=True)
finish(Named(), Written(slow), __import__("pathlib").Path(sys.argv[1]), batch_size=2)
"""


def test_a_killed_run_goes_on_and_reports_the_same(tmp_path):
    paths = [str(Path(__file__).parent), *map(str, sys.path)]
    command = [sys.executable, "-c", DRIVER.format(paths=paths), str(tmp_path / "a")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    kept = tmp_path / "a" / "answers.jsonl"
    until = time.time() + 60
    while not (kept.is_file() and kept.read_bytes().count(b"\n") >= 4) and time.time() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "a" / "results.json").exists()
    subprocess.run(command, check=True, capture_output=True)
    finish(Named(), Written(stem), tmp_path / "b")
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_embeddings_are_kept_too(bot, tmp_path):
    outcome = finish(Nearest(), LocalEngine(bot), tmp_path)
    assert outcome.results["metrics"]["share"]["value"] == 1.0
    assert outcome.results["n"] == outcome.results["units"] == 1
    with KeptAnswers(tmp_path, json.loads((tmp_path / "identity.json").read_text())).opened() as kept:
        row = kept.answer("dog")
    assert np.abs(row - bot.embed(image=INPUTS / "dog.jpg")[0].numpy()).max() < 1e-6

    class Silent:
        modalities = None

        def embeddings(self, requests):
            assert list(requests) == []
            return iter(())

    assert run_suite(Nearest(), Silent(), out=tmp_path).results == outcome.results


def test_a_medium_that_cannot_be_read_counts_as_wrong_and_harms_no_other(tmp_path):
    def answer(request):
        return UserError("cannot read it") if stem(request) == "dog" else stem(request)

    outcome = run_suite(Named(), Written(answer))
    assert outcome.results["failed"] == 2
    wrong = [sample for sample in outcome.samples if sample["score"] == 0]
    assert [sample["error"] for sample in wrong] == ["cannot read it"] * 2
    with pytest.raises(UserError, match=r"none of the .* items could be asked; the first: gone"):
        run_suite(Named(), Written(lambda request: UserError("gone")))


def test_some_items_keep_their_units_whole(tmp_path):
    outcome = run_suite(Named(), Written(stem), limit=8)
    assert outcome.results["n"] == 8
    assert outcome.results["units"] == 4
    keys = {sample["key"] for sample in run_suite(Nearest(), _Rows(), limit=1).samples}
    assert keys == {"dog", "ship", "sound"}


class _Rows:
    modalities = None

    def embeddings(self, requests):
        for number, _ in enumerate(requests):
            yield np.eye(4)[number % 4]


@pytest.mark.parametrize("change", [{"options": {"seed": 1}}, {"limit": 4}, {"about": {"name": "other"}}])
def test_answers_to_something_else_are_not_mixed_in(tmp_path, change):
    run_suite(Named(), Written(stem), out=tmp_path)
    with pytest.raises(ConfigError, match="holds an evaluation that differs in"):
        run_suite(Named(), Written(stem), out=tmp_path, **change)


def test_items_that_changed_are_noticed(tmp_path):
    class Renamed(Named):
        def items(self, data):
            for item in super().items(data):
                yield Item(
                    item.key, {**item.request, "question": "Hm?"}, item.expected, item.group, item.unit
                )

    run_suite(Named(), Written(stem), out=tmp_path)
    with pytest.raises(ConfigError, match="settings"):
        run_suite(Renamed(), Written(stem), out=tmp_path)


def test_media_that_the_model_does_not_take_are_refused_at_once(tmp_path):
    engine = Written(stem)
    engine.modalities = ("audio", "text")
    with pytest.raises(UserError, match="'named' needs image; this model's encoder takes audio, text"):
        run_suite(Named(), engine, out=tmp_path / "a")
    assert engine.asked == 0
    assert not (tmp_path / "a").exists()


def test_a_picture_that_was_replaced_is_noticed(tmp_path):
    picture = tmp_path / "a.png"
    picture.write_bytes(b"one")

    class One(Suite):
        name = "one"

        def items(self, data):
            yield Item("a", {"question": "What?", "image": str(picture)}, "a")

        def right(self, item, answer):
            return True

    run_suite(One(), Written(stem), out=tmp_path / "out")
    picture.write_bytes(b"another")
    with pytest.raises(ConfigError, match=r"differs in settings\.items_sha256"):
        run_suite(One(), Written(stem), out=tmp_path / "out")


@pytest.mark.parametrize(
    "row", [np.full(4, np.nan), np.zeros(4), np.array([]), np.ones(3), np.full(4, 1e300)]
)
def test_what_is_no_embedding_counts_as_a_failure(row):
    class Rows:
        modalities = None

        def embeddings(self, requests):
            for number, _ in enumerate(requests):
                yield np.full(4, 2.0) if number < 2 else row

    class Some(Nearest):
        def judge(self, items, answers):
            assert [answer is None for answer in answers] == [False, False, True]
            assert all(np.linalg.norm(answer) == pytest.approx(1) for answer in answers[:2])
            return [Sample({}), Sample({}), Sample({"n": 1, "right": 0})]

    results = run_suite(Some(), Rows()).results
    assert results["failed"] == 1
    assert "no embedding" in results["first_error"]


def test_half_letters_in_the_data_can_be_written(tmp_path):
    class Odd(Named):
        def items(self, data):
            for item in super().items(data):
                yield Item(item.key, {**item.request, "question": "\ud800?"}, "\ud801")

    finish(Odd(), Written(lambda request: "\ud802"), tmp_path)
    json.loads((tmp_path / "samples.jsonl").read_text(encoding="utf-8").splitlines()[0])

    class Keyed(Named):
        def items(self, data):
            yield Item("a\udcff", {"question": "What?"})

    with pytest.raises(UserError, match="whose key is no text"):
        run_suite(Keyed(), Written(stem))


def test_media_in_memory_are_shown_in_the_report(tmp_path):
    class Packed(Named):
        def items(self, data):
            picture, sound = (INPUTS / "dog.jpg").read_bytes(), (INPUTS / "cat.ogg").read_bytes()
            yield Item("a", {"question": "What?", "image": picture}, "dog")
            yield Item("b", {"question": "What?", "audio": sound}, "dog")
            yield Item("c", {"question": "What?", "image": b"no picture"}, "dog")

    engine = Written(lambda request: "a cat")
    engine.modalities = ("image", "audio")
    finish(Packed(), engine, tmp_path)
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" in report
    assert "data:audio/ogg" in report
    assert "cannot be shown here" in report
