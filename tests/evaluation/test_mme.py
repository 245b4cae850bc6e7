"""MME in its released layout, with scores worked out by hand."""

import math

import pytest
from support.suite_runs import evaluate, picture, read, score

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.benchmarks.mme import COGNITION, PERCEPTION
from imagebind_llm.evaluation.suite import suite_kind


def _release(root, tasks=(*PERCEPTION, *COGNITION), pictures=2, end="\n"):
    for number, task in enumerate(tasks):
        side_by_side = number % 2
        folder = root / "MME_Benchmark_release_version" / task
        questions = folder if side_by_side else folder / "questions_answers_YN"
        questions.mkdir(parents=True)
        for at in range(pictures):
            name = f"{at:04d}"
            suffix = ".png" if at else ".jpg"
            picture((folder if side_by_side else folder / "images") / (name + suffix))
            lines = (f"Is it {at}? Please answer yes or no.\tYes", "Is it x? Please answer yes or no.\tNo")
            (questions / f"{name}.txt").write_bytes((end.join(lines) + end).encode())
    return root


@pytest.fixture
def suite():
    return suite_kind("mme").make()


def test_reads_both_layouts(suite, tmp_path) -> None:
    items = read(suite, _release(tmp_path))
    assert len(items) == 14 * 2 * 2
    assert items[0].key == "existence/0000/1"
    assert items[0].request["question"] == "Is it 0? Please answer yes or no."
    assert [item.expected for item in items[:2]] == ["yes", "no"]
    assert items[0].unit == items[1].unit != items[2].unit
    assert {item.group for item in items} == {*PERCEPTION, *COGNITION}


@pytest.mark.parametrize(("answer", "points"), [("Yes", 50), ("no.", 50), ("It is", 0), ("", 0)])
def test_the_same_answer_to_everything(suite, tmp_path, answer, points) -> None:
    _, found, _ = evaluate(suite, _release(tmp_path), answer)
    assert found["perception"] == pytest.approx(10 * points)
    assert found["cognition"] == pytest.approx(4 * points)
    assert found["OCR"] == pytest.approx(points)
    assert found["accuracy_plus"] == 0


def test_all_right_is_full_points(suite, tmp_path) -> None:
    _, found, samples = evaluate(suite, _release(tmp_path), lambda item: f"{item.expected}, it is")
    assert (found["perception"], found["cognition"]) == (2000, 800)
    assert all(sample.score == 1 for sample in samples)


def test_by_hand(suite, tmp_path) -> None:
    items = read(suite, _release(tmp_path, tasks=("count",)))
    # 3 of 4 right and 1 of 2 pictures: 75 + 50. The tolerant reading has all four.
    found, samples = score(suite, items, ["Yes", "No", "The answer is yes.", "No"])
    assert found["count"] == pytest.approx(125)
    assert found["accuracy"] == 0.75
    assert found["accuracy_plus"] == 0.5
    assert found["accuracy_lenient"] == 1
    assert found["neither"] == 0.25
    assert found["yes_rate"] == 0.25
    assert math.isnan(found["perception"])  # nine sub-tasks are not there
    assert "scene" not in found
    assert samples[2].read == "yes"


def test_no_answer_is_wrong(suite, tmp_path) -> None:
    items = read(suite, _release(tmp_path, tasks=("count",)))
    found, _ = score(suite, items, [None, "No", None, None])
    assert found["count"] == pytest.approx(25)


def test_a_picture_with_one_question_left_has_no_pair(suite, tmp_path) -> None:
    items = read(suite, _release(tmp_path, tasks=("count",)))
    found, _ = score(suite, items[:3], ["Yes", "No", "Yes"])
    assert found["count"] == pytest.approx(200)


def test_carriage_returns_and_a_mark(suite, tmp_path) -> None:
    _release(tmp_path, tasks=("count",), end="\r\n")
    file = tmp_path / "MME_Benchmark_release_version/count/questions_answers_YN/0000.txt"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    _, found, _ = evaluate(suite, tmp_path, "Yes")
    assert found["count"] == pytest.approx(50)
    assert not read(suite, tmp_path)[0].request["question"].startswith("\ufeff")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"Is it?\tYes\n", "1 questions"),
        (b"Is it?\tYes\nIs it x?\tMaybe\n", "line 2"),
        (b"Is it? Yes\nIs it x?\tNo\n", "line 1"),
        (b"", "0 questions"),
        ("Is it?\tYes".encode("utf-16"), "UTF-16"),
        (b"\xff\xc3(", "not UTF-8"),
    ],
)
def test_mangled_questions(suite, tmp_path, content, said) -> None:
    _release(tmp_path, tasks=("count",))
    file = tmp_path / "MME_Benchmark_release_version/count/questions_answers_YN/0001.txt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        list(suite.items(tmp_path))
    assert "0001.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_things(suite, tmp_path) -> None:
    with pytest.raises(UserError, match="--data"):
        list(suite.items(None))
    with pytest.raises(UserError, match="none of MME's folders"):
        list(suite.items(tmp_path))
    _release(tmp_path, tasks=("count",))
    (tmp_path / "MME_Benchmark_release_version/count/images/0000.jpg").unlink()
    with pytest.raises(UserError, match=r"0000.txt' needs '0000.jpg' or"):
        list(suite.items(tmp_path))


def test_published_scores_add_up() -> None:
    published = suite_kind("mme").facts.published
    rows = published.split(":", 1)[1]
    perception, cognition = (
        sum(float(row.rsplit(" ", 1)[1]) for row in part.split(",")) for part in rows.split(";")
    )
    assert perception == pytest.approx(775.77)
    assert cognition == pytest.approx(213.57)
