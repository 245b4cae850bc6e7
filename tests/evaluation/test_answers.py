"""How answers are read, against values worked out by hand from the official rules."""

import pytest

from imagebind_llm.evaluation.answers import (
    anls,
    choice,
    evalai_normal,
    exact_match,
    mme_yes_no,
    pope_yes_no,
    textvqa_accuracy,
    vqa_accuracy,
    vqa_normal,
    yes_no,
)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Yes", "yes"),
        ("  the Red\tcar.\n", "red car"),
        ("A an THE", ""),
        ("two", "2"),
        ("None", "0"),
        ("ten dogs", "10 dogs"),
        ("eleven", "eleven"),
        ("1,000", "1000"),  # a comma in a number: every sign goes without a space
        ("1,000 - black/white", "1000 blackwhite"),
        ("black/white", "black white"),
        ("black /white", "black white"),
        ("black/ white", "black white"),
        ("red,blue", "red blue"),
        ("red, blue", "red blue"),
        ("t-shirt", "t shirt"),
        ("3.5", "3.5"),
        ("3. 5", "3 5"),
        ("U.S.A.", "usa"),
        ("mr. x", "mr x"),
        ("what?!", "what"),
        ("dont", "don't"),
        ("couldntve", "couldntve"),  # only one apostrophe may be missing
        ("couldn'tve", "couldn't've"),
        ("couldnt've", "couldn't've"),
        ("ow's'at", "'ow's'at"),
        ("twas", "'twas"),
        ("somebody'd", "somebodyd"),
        ("somebodyd", "somebodyd"),
        ("Im here", "im here"),  # the script's table has Im in capitals, after words were made lower case
        ("man's hat", "man's hat"),
        ("是", "是"),
        ("", ""),
        ("\n\n", ""),
        ("." * 40 + "x", "." * 8 + "x"),  # the flag that the script gives as a count
    ],
)
def test_vqa_normal(answer, expected) -> None:
    assert vqa_normal(answer) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("man's hat", "man 's hat"),
        ("1,000", "1000"),
        (
            "1,000 - a/b",
            "1000 b",
        ),  # the comma is gone before punctuation is looked at: a / b, and a is an article
        ("what?is", "whatis"),
        ("The Two", "2"),
    ],
)
def test_evalai_normal(answer, expected) -> None:
    assert evalai_normal(answer) == expected


@pytest.mark.parametrize(("agree", "accuracy"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)])
def test_vqa_accuracy_is_the_mean_over_ten_subsets(agree, accuracy) -> None:
    references = ["cat"] * agree + ["dog"] * (10 - agree)
    assert vqa_accuracy("Cat.", references) == pytest.approx(accuracy)
    assert textvqa_accuracy("Cat.", references) == pytest.approx(accuracy)


def _by_leaving_out(answer, references):
    """The definition, word for word: each person left out in turn."""
    found = []
    for left_out in range(len(references)):
        others = references[:left_out] + references[left_out + 1 :]
        found.append(min(1, sum(other == answer for other in others) / 3))
    return sum(found) / len(found)


def test_vqa_accuracy_by_its_definition() -> None:
    references = ["cat"] * 3 + ["dog"] * 2 + ["cow"] + ["a b"] * 4
    for answer in ("cat", "dog", "cow", "horse"):
        assert vqa_accuracy(answer, references) == pytest.approx(_by_leaving_out(answer, references))


def test_scripts_differ_in_what_they_do_to_references() -> None:
    # VQA v2: all the same, so nothing is done to references, and punctuation stays in them only
    assert vqa_accuracy("t-shirt", ["t-shirt"] * 10) == 0
    assert vqa_accuracy("t-shirt", ["t-shirt"] * 9 + ["shirt"]) == 1
    assert vqa_accuracy("t shirt", ["t shirt"] * 10) == 1
    assert textvqa_accuracy("t-shirt", ["t-shirt"] * 10) == 1
    # VQA v2: number words of references stay, articles too
    assert vqa_accuracy("two", ["two"] * 9 + ["2"]) == pytest.approx(0.3)
    assert vqa_accuracy("the cat", ["the cat"] * 10) == 0
    assert textvqa_accuracy("two", ["two"] * 9 + ["2"]) == 1
    assert textvqa_accuracy("the cat", ["cat"] * 10) == 1


@pytest.mark.parametrize("answer", ["Yes, it is", "Yes, it is.", "yes\nno", "是", ""])
def test_vqa_needs_the_word_alone(answer) -> None:
    assert vqa_accuracy(answer, ["yes"] * 10) == 0


@pytest.mark.parametrize(
    ("answer", "references", "expected"),
    [
        ("Taxi.", ["taxi"], 1),
        (" taxi \n", ["cab", "Taxi"], 1),
        ("a taxi", ["taxi"], 0),
        ("", ["taxi"], 0),
    ],
)
def test_exact_match(answer, references, expected) -> None:
    assert exact_match(answer, references) == expected


@pytest.mark.parametrize(
    ("answer", "references", "expected"),
    [
        ("Coca Cola", ["coca cola"], 1),
        ("coca  cola", ["coca cola"], 1),
        ("coca cola", ["coca kola", "pepsi"], 1 - 1 / 9),
        ("ab", ["ad"], 0.5),  # exactly the threshold counts
        ("abc", ["xbz"], 0),  # a third, below it
        ("kitten", ["sitting"], 1 - 3 / 7),
        ("", ["x"], 0),
        ("", [""], 1),
        ("x" * 100_000, ["x"], 0),
        ("ab ", ["ab"], 1),
    ],
)
def test_anls(answer, references, expected) -> None:
    assert anls(answer, references) == pytest.approx(expected)


YES_NO = [
    # answer, tolerant, MME, POPE
    ("Yes", "yes", "yes", "yes"),
    ("no", "no", "no", "no"),
    ("NO", "no", "no", "yes"),
    ("Yes, it is", "yes", "yes", "yes"),
    ("No, it is not.", "no", "no", "no"),
    ("No.", "no", "no", "no"),
    ("no!", "no", "no", "yes"),
    ("There is no dog.", "no", "other", "no"),
    ("It is. There is no doubt", None, "other", "yes"),
    ("It isn't there.", "no", "other", "yes"),
    ("The answer is yes.", "yes", "other", "yes"),
    ("Snow", None, "no", "yes"),
    ("Yesterday", None, "yes", "yes"),
    ("", None, "other", "yes"),
    ("\n\nYes\nNo", "yes", "yes", "yes"),
    ("No\nYes", "no", "no", "yes"),  # POPE's words end at spaces only
    ("Ｙｅｓ", "yes", "other", "yes"),
    ("是", "yes", "other", "yes"),
    ("是的，有一只狗。", "yes", "other", "yes"),
    ("对", "yes", "other", "yes"),
    ("不是", "no", "other", "yes"),
    ("否", "no", "other", "yes"),
    ("没有，图片里没有狗", "no", "other", "yes"),
    ("不对。", "no", "other", "yes"),
    ("没错", "yes", "other", "yes"),
    ("非常正确", "yes", "other", "yes"),
    ("图中有错", "yes", "other", "yes"),
    ("错", "no", "other", "yes"),
    ("不确定", None, "other", "yes"),
    ("I am not sure", None, "other", "no"),
    ("I don't know", None, "other", "yes"),
    ("True", "yes", "other", "yes"),
    ("false.", "no", "other", "yes"),
    ("y", "yes", "other", "yes"),
    ("**Yes**", "yes", "other", "yes"),
    ('"no"', "no", "no", "yes"),
    ("a dog", None, "other", "yes"),
]


@pytest.mark.parametrize(("answer", "tolerant", "mme", "pope"), YES_NO)
def test_yes_and_no(answer, tolerant, mme, pope) -> None:
    assert (yes_no(answer), mme_yes_no(answer), pope_yes_no(answer)) == (tolerant, mme, pope)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("B", 1),
        ("b", 1),
        ("(B)", 1),
        ("B.", 1),
        ("B. a red cat", 1),
        ("B: dog", 1),
        ("Ｂ", 1),
        ("The answer is C.", 2),
        ("Answer: (A)", 0),
        ("答案是B", 1),
        ("A red cat", 1),  # words of an option, although it begins with a letter
        ("I think it is the dog", 2),
        ("cat", 0),
        ("a cat or a dog", None),
        ("E", None),
        ("A, B", None),
        ("B, the red cat", 1),
        ("A and B", None),
        ("The answer is A. The answer is B.", None),
        ("", None),
        ("no idea", None),
    ],
)
def test_choice(answer, expected) -> None:
    assert choice(answer, ["cat", "red cat", "dog"]) == expected
