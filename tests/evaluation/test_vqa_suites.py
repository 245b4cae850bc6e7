"""Suites of questions, each in the files that its benchmark releases, with scores worked out by hand."""

import json
import math

import pytest
from support.suite_runs import evaluate, picture, read, score

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.suite import suite_kind

SHORT = "\nAnswer the question using a single word or phrase."


def make(name, **settings):
    return suite_kind(name).make(**settings)


def dump(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def lines(path, rows, end="\n"):
    path.write_bytes("".join(json.dumps(row) + end for row in rows).encode())


def people(*answers):
    return [
        {"answer_id": number, "answer": answer, "answer_confidence": "yes"}
        for number, answer in enumerate(answers, start=1)
    ]


def coco(root, prefix="v2_", types=None):
    questions = [
        {"question_id": 1, "image_id": 42, "question": "How many dogs?"},
        {"question_id": 2, "image_id": 42, "question": "What is it?"},
        {"question_id": 3, "image_id": 7, "question": "Is it red?"},
    ]
    said = [["2"] * 9 + ["3"], ["the cat"] * 3 + ["dog"] * 7, ["yes"] * 10]
    annotations = [
        {
            "question_id": question["question_id"],
            "image_id": question["image_id"],
            "question_type": "one",
            "answer_type": kind,
            "answers": people(*answers),
        }
        for question, answers, kind in zip(questions, said, ("number", "other", "yes/no"), strict=True)
    ]
    dump(root / f"{prefix}OpenEnded_mscoco_val2014_questions.json", {"questions": questions})
    found = {"annotations": annotations} | ({"question_types": types} if types else {})
    dump(root / "annotations" / f"{prefix}mscoco_val2014_annotations.json", found)
    for number in (42, 7):
        picture(root / "val2014" / f"COCO_val2014_{number:012d}.jpg")
    return root


def test_a_set_of_others_in_the_form_of_vqa(tmp_path):
    coco(tmp_path)
    (tmp_path / "v2_OpenEnded_mscoco_val2014_questions.json").rename(tmp_path / "mine_questions.json")
    (tmp_path / "annotations" / "v2_mscoco_val2014_annotations.json").rename(
        tmp_path / "mine_annotations.json"
    )
    questions = json.loads((tmp_path / "mine_questions.json").read_text())
    for question in questions["questions"]:
        question["image"] = f"pictures/{question['image_id']}.png"
    dump(tmp_path / "mine_questions.json", questions)
    for number in (7, 42):
        picture(tmp_path / "pictures" / f"{number}.png")
    items = list(make("vqav2", split="mine").items(tmp_path))
    assert [item.request["image"] for item in items] == [
        str(tmp_path / "pictures" / f"{number}.png") for number in (42, 42, 7)
    ]


def test_vqav2(tmp_path) -> None:
    suite = make("vqav2")
    items = read(suite, coco(tmp_path))
    assert items[0].request["question"] == "How many dogs?" + SHORT
    assert items[0].request["image"].endswith("COCO_val2014_000000000042.jpg")
    assert [item.group for item in items] == ["number", "other", "yes/no"]
    assert items[0].unit == items[1].unit != items[2].unit
    found, samples = score(suite, items, ["Two.", "the cat", "Yes, it is"])
    # two is 2, which nine say; references keep their articles, so that "cat" matches none
    assert [sample.score for sample in samples] == [1, 0, 0]
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert samples[0].read == "2"
    found, samples = score(suite, items, ["3", "a dog", None])
    assert [sample.score for sample in samples] == pytest.approx([0.3, 1, 0])
    assert samples[2].read is None
    assert found["accuracy"] == pytest.approx(1.3 / 3)


def test_okvqa_groups_by_kind_of_knowledge(tmp_path) -> None:
    items = read(make("okvqa"), coco(tmp_path, "", {"one": "Vehicles and Transportation"}))
    assert {item.group for item in items} == {"Vehicles and Transportation"}


def change_annotation(found):
    found["annotations"][1]["image_id"] = 43


def short_of_people(found):
    found["annotations"][1]["answers"].pop()


def drop_annotation(found):
    found["annotations"].pop(1)


def twice(found):
    found["annotations"][1]["question_id"] = 1


def no_list(found):
    found["annotations"] = {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (change_annotation, "entry 2: 'image_id' is 43; expected 42, as the question has it"),
        (short_of_people, "entry 2: 'answers' is .*expected 10 answers, not 9"),
        (drop_annotation, "entry 2: 'question_id' is 2; expected one that the annotations have"),
        (twice, "entry 2 has the question_id '1'"),
        (no_list, "'annotations' is {}; expected a list"),
    ],
)
def test_mangled_annotations(tmp_path, change, said) -> None:
    file = coco(tmp_path) / "annotations" / "v2_mscoco_val2014_annotations.json"
    found = json.loads(file.read_text())
    change(found)
    dump(file, found)
    with pytest.raises(UserError, match=said) as caught:
        list(make("vqav2").items(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_missing_picture_is_found_before_anything_is_asked(tmp_path) -> None:
    coco(tmp_path)
    (tmp_path / "val2014" / "COCO_val2014_000000000007.jpg").unlink()
    with pytest.raises(UserError, match=r"entry 3 needs 'COCO_val2014_000000000007.jpg'"):
        list(make("vqav2").items(tmp_path))


def test_a_file_in_two_folders_is_refused(tmp_path) -> None:
    coco(tmp_path)
    coco(tmp_path, prefix="v2_")
    dump(tmp_path / "old" / "v2_mscoco_val2014_annotations.json", {})
    with pytest.raises(UserError, match=r"is '.*annotations/v2_.*json', and '.*old/v2_.*json'; give"):
        list(make("vqav2").items(tmp_path))


@pytest.mark.parametrize(
    "name", ["x" * 5000 + ".jpg", "a\0b.jpg", "\ud800.jpg", "a/../../b.jpg", "..\\\\b.jpg"]
)
def test_names_that_no_file_can_have(tmp_path, name) -> None:
    row = {"image": name, "question": "?", "answers": people(*["x"] * 10), "answer_type": "other"}
    dump(tmp_path / "val.json", [row])
    with pytest.raises(UserError) as caught:
        list(make("vizwiz").items(tmp_path))
    assert "\n" not in str(caught.value)


def test_vizwiz(tmp_path) -> None:
    rows = [
        {
            "image": "VizWiz_val_00000000.jpg",
            "question": "What is this?",
            "answers": [{"answer": "soda", "answer_confidence": "yes"}] * 2
            + [{"answer": "unanswerable", "answer_confidence": "no"}] * 8,
            "answer_type": "unanswerable",
            "answerable": 0,
        }
    ]
    dump(tmp_path / "val.json", rows)
    picture(tmp_path / "val" / "VizWiz_val_00000000.jpg")
    suite = make("vizwiz")
    items, found, _ = evaluate(suite, tmp_path, "Unanswerable.")
    assert found["accuracy"] == 1
    assert "'Unanswerable'" in items[0].request["question"]
    # the same answer twice from two people counts twice, although their entries are alike
    assert score(suite, items, ["soda"])[0]["accuracy"] == pytest.approx(0.6)


def test_textvqa(tmp_path) -> None:
    rows = [
        {
            "question_id": 34602,
            "image_id": "003a8ae2ef43b901",
            "question": "What brand?",
            "answers": ["t-mobile"] * 10,
        }
    ]
    dump(tmp_path / "TextVQA_0.5.1_val.json", {"data": rows})
    picture(tmp_path / "train_images" / "003a8ae2ef43b901.jpg")
    suite = make("textvqa")
    items, found, _ = evaluate(suite, tmp_path, "T-Mobile")
    assert found["accuracy"] == 1
    assert score(suite, items, ["mobile"])[0]["accuracy"] == 0
    rows[0]["answers"] = []
    dump(tmp_path / "TextVQA_0.5.1_val.json", {"data": rows})
    with pytest.raises(UserError, match=r"'data': entry 1: 'answers' is \[\]"):
        list(suite.items(tmp_path))


def test_gqa(tmp_path) -> None:
    rows = {
        "201307251": {
            "question": "Is it overcast?",
            "imageId": "n161313",
            "answer": "no",
            "types": {"structural": "verify", "semantic": "attr"},
        },
        "201640614": {"question": "Who is this?", "imageId": "n235859", "answer": "woman"},
    }
    dump(tmp_path / "testdev_balanced_questions.json", rows)
    for name in ("n161313", "n235859"):
        picture(tmp_path / "images" / f"{name}.jpg")
    suite = make("gqa")
    items, found, _ = evaluate(suite, tmp_path, "No.")
    assert [item.group for item in items] == ["verify", ""]
    assert found["accuracy"] == 0.5
    assert score(suite, items, ["No, it is not", "a woman"])[0]["accuracy"] == 0
    with pytest.raises(UserError, match=r"no 'val_balanced_questions.json'"):
        list(make("gqa", split="val_balanced").items(tmp_path))
    dump(tmp_path / "testdev_balanced_questions.json", {"1": []})
    with pytest.raises(UserError, match=r"'1' is \[\]; expected an object"):
        list(suite.items(tmp_path))


def test_ocrvqa(tmp_path) -> None:
    rows = {
        "0761183272": {
            "imageURL": "http://images.example/I/51.gif",
            "questions": ["Who wrote this book?", "Is this a sociopolitical book?"],
            "answers": ["Sandra Boynton", "No"],
            "split": 3,
        },
        "1": {"imageURL": "http://images.example/I/52.jpg", "questions": ["?"], "answers": ["x"], "split": 1},
    }
    dump(tmp_path / "dataset.json", rows)
    picture(tmp_path / "images" / "0761183272.gif")
    items, found, _ = evaluate(make("ocrvqa"), tmp_path, "sandra boynton")
    assert [item.key for item in items] == ["0761183272/1", "0761183272/2"]
    assert found["accuracy"] == 0.5
    rows["0761183272"]["answers"] = ["Sandra Boynton"]
    dump(tmp_path / "dataset.json", rows)
    with pytest.raises(UserError, match="expected as many as questions, 2"):
        list(make("ocrvqa").items(tmp_path))
    with pytest.raises(UserError, match="did you mean 'test'"):
        make("ocrvqa", split="tests")


def test_stvqa(tmp_path) -> None:
    rows = [
        {
            "question_id": 16199,
            "question": "What is it?",
            "answers": ["pepsi cola", "pepsi"],
            "file_path": "coco-text/COCO_train2014_000000209828.jpg",
            "dataset": "coco-text",
        },
        {
            "question_id": 2,
            "question": "Which?",
            "answers": ["bd"],
            "file_path": "coco-text/COCO_train2014_000000209828.jpg",
        },
    ]
    dump(tmp_path / "train_task_3.json", {"data": rows})
    picture(tmp_path / "coco-text" / "COCO_train2014_000000209828.jpg")
    suite = make("stvqa")
    items = read(suite, tmp_path)
    found, samples = score(suite, items, ["Pepsi Kola", "bc"])
    assert suite.main == "anls"
    assert found["anls"] == pytest.approx((0.9 + 0.5) / 2)
    assert found["accuracy"] == 0
    assert samples[0].score == pytest.approx(0.9)
    assert score(suite, items, ["pepsi", "xy"])[0] == {"anls": 0.5, "accuracy": 0.5}


@pytest.mark.parametrize("folder", ["documents", "spdocvqa_images"])
def test_docvqa(tmp_path, folder) -> None:
    rows = [
        {
            "questionId": 49153,
            "question": "What is the ‘actual’ value?",
            "image": "documents/pybv0228_81.png",
            "answers": ["0.28", "28 %"],
            "data_split": "val",
        }
    ]
    dump(tmp_path / "val_v1.0_withQT.json", {"data": rows})
    picture(tmp_path / folder / "pybv0228_81.png")
    _, found, _ = evaluate(make("docvqa"), tmp_path, "0.28")
    assert found == {"anls": 1, "accuracy": 1}


def scienceqa(root):
    problems = {
        "1": {
            "question": "Which is it?",
            "choices": ["cat", "dog"],
            "answer": 1,
            "hint": "Look at it.",
            "image": "image.png",
            "split": "test",
            "subject": "natural science",
        },
        "2": {"question": "No picture?", "choices": ["a", "b"], "answer": 0, "image": None, "split": "test"},
        "3": {
            "question": "And this?",
            "choices": ["x y", "z", "v"],
            "answer": 0,
            "hint": "",
            "image": "image.png",
            "split": "test",
        },
    }
    dump(root / "problems.json", problems)
    dump(root / "pid_splits.json", {"test": ["1", "2", "3"], "val": ["4"]})
    for number in ("1", "3"):
        picture(root / "images" / "test" / number / "image.png")
    return problems


def test_scienceqa(tmp_path) -> None:
    problems = scienceqa(tmp_path)
    suite = make("scienceqa")
    items = read(suite, tmp_path)
    assert [item.key for item in items] == ["1", "3"]
    assert items[0].request["question"] == (
        "Context: Look at it.\nWhich is it?\nA. cat\nB. dog\n"
        "Answer with the option's letter from the given choices directly."
    )
    assert items[1].request["question"].startswith("And this?\nA. x y")
    found, samples = score(suite, items, ["B", "The answer is B."])
    assert found == {"accuracy": 0.5, "read": 1}
    assert [sample.read for sample in samples] == ["B", "B"]
    assert score(suite, items, ["a dog", "I cannot tell"])[0] == {"accuracy": 0.5, "read": 0.5}
    with pytest.raises(UserError, match=r"'val' lists '4', which"):
        list(make("scienceqa", split="val").items(tmp_path))
    with pytest.raises(UserError, match="has no 'train'; it has test, val"):
        list(make("scienceqa", split="train").items(tmp_path))
    problems["1"]["answer"] = 2
    dump(tmp_path / "problems.json", problems)
    with pytest.raises(UserError, match="entry '1': 'answer' is 2; expected the place of one of 2 options"):
        list(suite.items(tmp_path))


def test_iconqa(tmp_path) -> None:
    folder = tmp_path / "iconqa" / "test"
    for number, right in (("9", 0), ("10", 1)):
        entry = {"question": "How many?", "choices": ["3", "4"], "answer": right, "grade": "prek"}
        dump(folder / "choose_txt" / number / "data.json", entry)
        picture(folder / "choose_txt" / number / "image.png")
    dump(folder / "fill_in_blank" / "5" / "data.json", {"question": "_ stars", "answer": "6"})
    picture(folder / "fill_in_blank" / "5" / "image.png")
    items, found, _ = evaluate(make("iconqa"), tmp_path, "A")
    assert [item.key for item in items] == ["9", "10"]
    assert found == {"accuracy": 0.5, "read": 1}
    _, found, _ = evaluate(make("iconqa", task="fill_in_blank"), tmp_path, "6.")
    assert found == {"accuracy": 1}
    with pytest.raises(UserError, match="unknown task 'choose_img'"):
        make("iconqa", task="choose_img")
    with pytest.raises(UserError, match="no 'val/choose_txt'"):
        list(make("iconqa", split="val").items(tmp_path))
    (folder / "choose_txt" / "9" / "image.png").unlink()
    with pytest.raises(UserError, match=r"data.json' needs 'image.png'"):
        list(make("iconqa").items(tmp_path))


def test_vsr(tmp_path) -> None:
    rows = [
        {"image": "000000050403.jpg", "caption": "The bear is in the person.", "label": 1, "relation": "in"},
        {"image": "000000050403.jpg", "caption": "The cat is under the bed.", "label": 0},
    ]
    lines(tmp_path / "test.jsonl", rows, end="\r\n")
    picture(tmp_path / "images" / "000000050403.jpg")
    suite = make("vsr")
    items, found, _ = evaluate(suite, tmp_path, "True")
    assert found == {"accuracy": 0.5, "read": 1}
    assert '"The bear is in the person."' in items[0].request["question"]
    assert score(suite, items, ["Yes", "It isn't."])[0]["accuracy"] == 1
    assert score(suite, items, ["a bear", None])[0] == {"accuracy": 0, "read": 0}
    lines(tmp_path / "test.jsonl", [rows[0], rows[1] | {"label": 2}])
    with pytest.raises(UserError, match="line 2: 'label' is 2; expected 0 or 1"):
        list(suite.items(tmp_path))


CLOTHO = """file_name,QuestionText,answer,confidence
bells.wav,"Are there bells, or not?",yes,yes
bells.wav,"Are there bells, or not?",Yes,maybe
bells.wav,"Are there bells, or not?",no,yes
bells.wav,What rings?,bell,yes
bells.wav,What rings?,bell,yes
bells.wav,What rings?,bell,yes
"""


def clotho(root, text=CLOTHO, end="\n", mark=b""):
    (root / "audio_files").mkdir(exist_ok=True)
    (root / "audio_files" / "bells.wav").write_bytes(b"RIFF")
    (root / "clotho_aqa_test.csv").write_bytes(mark + text.replace("\n", end).encode())
    return root


@pytest.mark.parametrize(("end", "mark"), [("\n", b""), ("\r\n", b"\xef\xbb\xbf"), ("\r", b"")])
def test_clotho_aqa(tmp_path, end, mark) -> None:
    suite = make("clotho-aqa")
    items = read(suite, clotho(tmp_path, end=end, mark=mark))
    assert [item.group for item in items] == ["yes or no", "single word"]
    assert items[0].request["question"] == "Are there bells, or not?" + SHORT
    found, _ = score(suite, items, ["Yes.", "drum"])
    assert found == {"accuracy": 0.5, "unanimous": 0}
    found, _ = score(suite, items, ["no", "Bell"])
    assert found == {"accuracy": 0.5, "unanimous": 1}
    found, _ = score(suite, items[:1], ["yes"])
    assert found["accuracy"] == 1
    assert math.isnan(found["unanimous"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("QuestionText", "question", "no column 'QuestionText'"),
        ("QuestionText", "answer", "no column 'QuestionText'"),
        ("file_name,", "answer,", "no column 'file_name'"),
        ("confidence", "answer", "2 columns 'answer'"),
        ("bell,yes\n", "bell\n", "line 5 has 3 cells; expected 4"),
        ("What rings?,bell", "What rings?, ", "line 5: 'answer' is ' '"),
        ("bells.wav,What", "gone.wav,What", "line 5 needs 'gone.wav'"),
        ('or not?"', "or not?", "line 2 breaks the rules of CSV"),
    ],
)
def test_mangled_table(tmp_path, old, new, said) -> None:
    with pytest.raises(UserError, match=said) as caught:
        list(make("clotho-aqa").items(clotho(tmp_path, CLOTHO.replace(old, new, 1))))
    assert "\n" not in str(caught.value)


def test_an_empty_table(tmp_path) -> None:
    with pytest.raises(UserError, match="no column 'file_name'"):
        list(make("clotho-aqa").items(clotho(tmp_path, "")))


def video(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"video")


def test_msvd_qa(tmp_path) -> None:
    rows = [
        {"id": 1, "video_id": 1201, "question": "what is a man doing?", "answer": "cook"},
        {"id": 2, "video_id": 1202, "question": "who sings?", "answer": "woman"},
    ]
    dump(tmp_path / "test_qa.json", rows)
    (tmp_path / "youtube_mapping.txt").write_text("-4wsuPCjDBc_5_15 vid1201\nx vid1\n")
    video(tmp_path / "YouTubeClips" / "-4wsuPCjDBc_5_15.avi")
    video(tmp_path / "YouTubeClips" / "vid1202.mp4")
    items, found, _ = evaluate(make("msvd-qa"), tmp_path, "Cook")
    assert [item.group for item in items] == ["what", "who"]
    assert found["accuracy"] == 0.5
    (tmp_path / "youtube_mapping.txt").write_text("-4wsuPCjDBc_5_15\n")
    with pytest.raises(UserError, match="line 1 is no name of a video"):
        list(make("msvd-qa").items(tmp_path))


def test_msrvtt_qa(tmp_path) -> None:
    rows = [{"id": 1, "video_id": 7010, "category_id": 3, "question": "what plays?", "answer": "band"}]
    dump(tmp_path / "test_qa.json", rows)
    video(tmp_path / "videos" / "video7010.mp4")
    items, found, _ = evaluate(make("msrvtt-qa"), tmp_path, "a band")
    assert items[0].request["video"].endswith("video7010.mp4")
    assert found["accuracy"] == 0


def test_activitynet_qa(tmp_path) -> None:
    asked = [
        {"video_name": "1QIUV7WYKXg", "question": "is the athlete wearing trousers", "question_id": "v_1_3"},
        {"video_name": "1QIUV7WYKXg", "question": "how many people are there", "question_id": "v_1_8"},
    ]
    answers = [
        {"answer": "yes", "type": 3, "question_id": "v_1_3"},
        {"answer": 2, "type": 7, "question_id": "v_1_8"},
    ]
    dump(tmp_path / "test_q.json", asked)
    dump(tmp_path / "test_a.json", answers)
    video(tmp_path / "videos" / "v_1QIUV7WYKXg.mkv")
    suite = make("activitynet-qa")
    items = read(suite, tmp_path)
    assert [item.group for item in items] == ["yes or no", "number"]
    assert items[0].request["question"] == "is the athlete wearing trousers?" + SHORT
    assert score(suite, items, ["yes", "2"])[0]["accuracy"] == 1
    dump(tmp_path / "test_a.json", answers[:1])
    with pytest.raises(UserError, match="'v_1_8'; expected one that the answers have"):
        list(suite.items(tmp_path))
    dump(tmp_path / "test_a.json", [answers[0] | {"type": 9}])
    with pytest.raises(UserError, match="'type' is 9; expected 0 to 8"):
        list(suite.items(tmp_path))


def test_scanqa(tmp_path) -> None:
    rows = [
        {
            "question_id": "val-scene0011-0",
            "scene_id": "scene0011_00",
            "question": "What color is the table?",
            "answers": ["brown", "dark brown"],
        }
    ]
    dump(tmp_path / "ScanQA_v1.0_val.json", rows)
    video(tmp_path / "scans" / "scene0011_00" / "scene0011_00_vh_clean_2.ply")
    items, found, _ = evaluate(make("scanqa"), tmp_path, "Dark brown")
    assert items[0].request["point"].endswith("scene0011_00_vh_clean_2.ply")
    assert found["accuracy"] == 1


def test_questions_of_ones_own(tmp_path) -> None:
    rows = [
        {"point": "a/chair.npy", "question": "What is this?", "answer": ["chair", "a chair"]},
        {"depth": "d.png", "image": "d.png", "question": "Near?", "answer": "yes", "id": "near"},
    ]
    lines(tmp_path / "questions.jsonl", rows)
    video(tmp_path / "a" / "chair.npy")
    picture(tmp_path / "d.png")
    suite = make("qa")
    items, found, _ = evaluate(suite, tmp_path, "A chair.")
    assert [item.key for item in items] == ["1", "near"]
    assert [item.group for item in items] == ["point", "image+depth"]
    assert items[0].request == {"question": "What is this?", "point": str(tmp_path / "a" / "chair.npy")}
    assert found["accuracy"] == 0.5
    lines(tmp_path / "questions.jsonl", [{"question": "What?", "answer": "x"}])
    with pytest.raises(UserError, match="line 1 has no medium; expected one of image, video, audio, point"):
        list(suite.items(tmp_path))


@pytest.mark.parametrize(
    "name",
    [
        *(
            "mme",
            "pope",
            "vqav2",
            "okvqa",
            "gqa",
            "vizwiz",
            "textvqa",
            "ocrvqa",
            "stvqa",
            "docvqa",
            "scienceqa",
        ),
        *("iconqa", "vsr", "clotho-aqa", "msvd-qa", "msrvtt-qa", "activitynet-qa", "scanqa", "qa"),
    ],
)
def test_every_suite_says_what_it_needs(name, tmp_path) -> None:
    kind = suite_kind(name)
    assert kind.summary
    assert kind.make is not None
    assert kind.make.__doc__
    assert kind.facts is not None
    assert all((kind.facts.layout, kind.facts.metric, kind.facts.source, kind.facts.licence))
    suite = kind.make()
    assert suite.name == name
    for data in (None, tmp_path / "gone", tmp_path):
        with pytest.raises(UserError) as caught:
            list(suite.items(data))
        assert "\n" not in str(caught.value)
