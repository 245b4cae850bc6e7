"""Zero-shot classification: layouts as they are published, mangled ones, and metrics worked out by hand."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.benchmarks.class_names import TEMPLATES, named, read_names, templates_of
from imagebind_llm.evaluation.benchmarks.labelled_media import (
    empty_boxes,
    read_esc50,
    read_folders,
    read_llvip,
    read_modelnet,
    read_table,
)
from imagebind_llm.evaluation.benchmarks.zero_shot import ZeroShot
from imagebind_llm.evaluation.suite import Item, check_items, suite_kind

ROOT = Path(__file__).parents[2]
INPUTS = ROOT / "examples" / "inputs"


def put(root, *names, content=b"x"):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def suite(modality="image", read=None, **settings):
    return ZeroShot("made-up", modality, read or (lambda data: read_folders(data, modality)), **settings)


def refused(words, call, *arguments):
    with pytest.raises(UserError, match=words) as caught:
        whole(call, *arguments)
    assert "\n" not in str(caught.value)


def whole(call, *arguments):
    found = call(*arguments)
    return list(found) if hasattr(found, "__next__") else found


def sums_of(samples):
    names = {name for sample in samples for name in sample.sums}
    return {name: np.float64(sum(sample.sums.get(name, 0) for sample in samples)) for name in names}


# --- metrics


def classes(*rows, name=None):
    """An item for each class, called c0, c1, …, and its embedding."""
    return [
        (
            Item(
                f"class {n}",
                {"text": f"c{n}"},
                {"stands_for": f"c{n}", "name": name or f"c{n}"},
                always=True,
            ),
            row,
        )
        for n, row in enumerate(rows)
    ]


def examples(*pairs):
    return [
        (Item(f"example {n}", {"image": f"{n}.jpg"}, {"class": label}), row)
        for n, (label, row) in enumerate(pairs)
    ]


def judged(pairs):
    items = [item for item, _ in pairs]
    answers = [None if row is None else np.array(row, np.float64) for _, row in pairs]
    return suite().judge(items, answers)


def test_metrics_by_hand():
    # seven classes along the axes; scores of an example are its own coordinates
    samples = judged(
        classes(*np.eye(7))
        + examples(
            ("c0", [0.9, 0.1, 0, 0, 0, 0, 0]),  # first
            ("c0", [0.5, 0.8, 0, 0, 0, 0, 0]),  # second
            ("c0", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0]),  # sixth
            ("c1", [0, 0.7, 0, 0, 0, 0, 0]),  # first
            ("c2", None),  # unreadable: wrong
        )
    )
    assert samples[:7] == [samples[0]] * 7
    assert not samples[0].sums
    assert [sample.score for sample in samples[7:]] == [1, 0, 0, 1, 0]
    assert [sample.read for sample in samples[7:]] == ["c0", "c1", "c5", "c1", None]
    found = suite().metrics(sums_of(samples))
    assert found["top1"] == pytest.approx(2 / 5)
    assert found["top5"] == pytest.approx(3 / 5)
    assert found["mean_per_class"] == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert found["chance"] == pytest.approx(1 / 7)


def test_top5_is_left_out_where_five_classes_are_all():
    samples = judged(classes(*np.eye(5)) + examples(("c4", np.eye(5)[4])))
    assert "top5" not in suite().metrics(sums_of(samples))


def test_a_tie_is_wrong():
    samples = judged(
        classes([1, 0], [1, 0], [0, 1]) + examples(("c0", [1, 0]), ("c1", [1, 0]), ("c2", [0, 1]))
    )
    assert [sample.score for sample in samples[3:]] == [0, 0, 1]


def test_an_embedding_that_is_not_finite_is_wrong():
    samples = judged(classes([1, 0], [0, 1]) + examples(("c0", [np.nan, 0])))
    assert samples[-1].score == 0


def test_sentences_of_a_class_are_averaged_then_brought_to_length_one():
    # c0's sentences are x and y, their mean (½, ½) of length 0.71 becomes 45°; c1 is at 30°
    low = [np.cos(np.pi / 6), np.sin(np.pi / 6)]
    pairs = [
        (Item("a", {"text": "a"}, {"stands_for": "c0", "name": "n"}), [1, 0]),
        (Item("b", {"text": "b"}, {"stands_for": "c0", "name": "n"}), [0, 1]),
        (Item("c", {"text": "c"}, {"stands_for": "c1", "name": "n"}), low),
        *examples(("c0", [np.cos(0.7), np.sin(0.7)]), ("c1", [np.cos(0.6), np.sin(0.6)])),
    ]
    assert [sample.score for sample in judged(pairs)[3:]] == [1, 1]  # the border lies at 37.5° = 0.654


def test_of_several_names_the_best_counts():
    pairs = [
        (Item("a", {"text": "a"}, {"stands_for": "c0", "name": "one"}), [1, 0, 0]),
        (Item("b", {"text": "b"}, {"stands_for": "c0", "name": "other"}), [0, 1, 0]),
        (Item("c", {"text": "c"}, {"stands_for": "c1", "name": "n"}), [0, 0.6, 0.8]),
        *examples(("c0", [0, 1, 0]), ("c0", [1, 0, 0]), ("c1", [0, 0, 1])),
    ]
    assert [sample.score for sample in judged(pairs)[3:]] == [1, 1, 1]


def test_metrics_take_draws_of_a_bootstrap():
    sums = {
        "n": np.array([4.0, 2.0]),
        "top1": np.array([3.0, 0.0]),
        "chance": np.array([2.0, 1.0]),
        "n:a": np.array([2.0, 2.0]),
        "top1:a": np.array([1.0, 0.0]),
        "n:b": np.array([2.0, 0.0]),  # not in the second draw
        "top1:b": np.array([2.0, 0.0]),
    }
    found = suite().metrics(sums)
    assert found["top1"] == pytest.approx([0.75, 0])
    assert found["mean_per_class"] == pytest.approx([0.75, 0])
    assert np.isnan(suite().metrics({"n": np.float64(0)})["top1"])


def test_an_encoder_without_text_is_refused_in_one_line():
    pairs = [(item, None) for item, _ in classes([1, 0], [0, 1])] + examples(("c0", [1, 0]))
    refused("needs an encoder that takes text", judged, pairs)
    refused("nothing that stands for a class", judged, examples(("c0", [1, 0])))
    refused("nothing stands for class 'c9'", judged, classes([1, 0], [0, 1]) + examples(("c9", [1, 0])))


# --- items


def test_folders_give_classes_then_examples(tmp_path):
    put(tmp_path, "night_stand/a.jpg", "night_stand/more/b.png", "cat/c.jpg", "cat/.hidden", ".git/x")
    items = list(suite(per_class=1).items(tmp_path))
    check_items(items, "made-up")
    sentences = [item.request["text"] for item in items if item.always]
    assert len(sentences) == 2 * len(TEMPLATES["image"])
    assert "a photo of a night stand." in sentences
    assert [(item.key, item.expected["class"]) for item in items[len(sentences) :]] == [
        ("cat/c.jpg", "cat"),
        ("night_stand/a.jpg", "night_stand"),
    ]
    assert items[-1].request == {"image": str(tmp_path / "night_stand" / "a.jpg")}
    assert items[: len(sentences)] == [item for item in items if "stands_for" in item.expected]


def test_imagenet_needs_names_for_its_ids(tmp_path):
    put(tmp_path, "val/n01440764/a.JPEG", "val/n02012849/b.JPEG", "val/n03126707/c.JPEG")
    imagenet = suite_kind("imagenet").make()
    refused("'n01440764', a WordNet id without a name; put LOC_synset_mapping.txt", imagenet.items, tmp_path)
    text = "n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\n"
    (tmp_path / "LOC_synset_mapping.txt").write_text(text)
    texts = [item.request.get("text") for item in imagenet.items(tmp_path)]
    assert "a photo of a tench." in texts
    assert "a photo of a crane bird." in texts
    assert "a photo of a construction crane." in texts
    (tmp_path / "val" / "n00000001").mkdir()
    put(tmp_path, "val/n00000001/d.JPEG")
    refused("has no class 'n00000001'", imagenet.items, tmp_path)


def test_names_files(tmp_path):
    file = tmp_path / "classes.txt"
    file.write_text(
        "n03710637 maillot\nn03710721 maillot, tank suit\nn02113186 Cardigan, Cardigan Welsh corgi\n"
        "n02963159 cardigan\nothers\tstudy | foyer\n"
    )
    assert read_names(file) == {
        "n03710637": ("maillot",),
        "n03710721": ("tank suit",),
        "n02113186": ("Cardigan Welsh corgi",),
        "n02963159": ("cardigan",),
        "others": ("study", "foyer"),
    }
    for text, words in [
        ("", "is empty"),
        ("a\tb\ncat", "line 2 is 'cat'; expected a label, a tab"),
        ("a\t|", "line 1"),
        ("a\tb\na\tc", "line 2 has the label 'a' again"),
        ("a\tb", "two or more"),
    ]:
        file.write_text(text)
        refused(words, named, ["a"], file, "here")
    file.write_bytes("a\tb".encode("utf-16"))
    refused("UTF-16", read_names, file)
    refused("cannot read", read_names, tmp_path / "none.txt")


def test_templates_of_a_file(tmp_path):
    file = tmp_path / "templates.txt"
    file.write_text("a sketch of a {}.\n\n{} at night\n")
    assert templates_of("image", file) == ["a sketch of a {}.", "{} at night"]
    file.write_text("a {}.\na photo\n")
    refused("line 2 is 'a photo'; expected one {}", templates_of, "image", file)
    file.write_text("\n")
    refused("is empty", templates_of, "image", file)
    assert all(line.count("{}") == 1 for lines in TEMPLATES.values() for line in lines)
    assert templates_of("tactile")


@pytest.mark.parametrize(
    ("names", "modality", "words"),
    [
        (["a.jpg"], "image", "has no folders; expected one for each class"),
        (["train/cat/a.jpg", "test/cat/b.jpg"], "image", "holds test, train and no classes"),
        (["cat/a.jpg", "dog/readme.docx"], "image", "readme.docx' is not called as a file of image"),
        (["cat/a.jpg"], "audio", "a.jpg' is not called as a file of audio"),
        (["cat/a.jpg", "dog/.hidden"], "image", "dog' has no files"),
        (["cat/a.jpg"], "image", "has 1 class; classification needs two"),
    ],
)
def test_mangled_folders(tmp_path, names, modality, words):
    refused(words, suite(modality).items, put(tmp_path, *names))


def test_no_data():
    refused("needs --data: the folder or table of its media", suite().items, None)
    refused("no file or folder 'nowhere'", suite().items, Path("nowhere"))
    refused("expected 1 or more", lambda: suite(per_class=-1))
    refused("files of text cannot be classified", suite, "text")


def test_prototypes_stand_for_the_classes(tmp_path):
    data = put(tmp_path / "test", "cat/a.jpg", "dog/b.jpg")
    put(tmp_path / "train", "cat/c.jpg", "cat/d.jpg", "dog/e.jpg")
    items = list(suite(prototypes=tmp_path / "train").items(data))
    check_items(items, "made-up")
    assert [item.expected.get("stands_for") for item in items] == ["cat", "cat", "dog", None, None]
    assert items[0].request == {"image": str(tmp_path / "train/cat/c.jpg")}
    refused("the prototypes are the data", suite(prototypes=data / "." / "").items, data)
    (tmp_path / "train/dog/e.jpg").unlink()
    (tmp_path / "train/dog").rmdir()
    refused("have no class 'dog'", suite(prototypes=tmp_path / "train").items, data)


# --- ESC-50


ESC_HEAD = "filename,fold,target,category,esc10,src_file,take"


def esc50(root, *rows):
    put(root, *(f"audio/{row.split(',')[0]}" for row in rows))
    put(root, "meta/esc50.csv", content="\n".join([ESC_HEAD, *rows]).encode())
    return root


def test_esc50(tmp_path):
    rows = [
        "1-100-A-0.wav,1,0,dog,True,100,A",
        "1-100-B-0.wav,1,0,dog,True,100,B",
        "2-7-A-20.wav,2,20,crying_baby,x,7,A",
    ]
    found = read_esc50(esc50(tmp_path, *rows), 0)
    assert [(e.label, e.group, e.unit) for e in found.examples] == [
        ("dog", "fold 1", "100"),
        ("dog", "fold 1", "100"),
        ("crying_baby", "fold 2", "7"),
    ]
    one = read_esc50(tmp_path, 2)
    assert len(one.examples) == 1
    assert list(one.labels) == [
        "crying_baby",
        "dog",
    ]
    texts = [item.request.get("text") for item in suite_kind("esc50").make(fold=2).items(tmp_path)]
    assert "the sound of crying baby." in texts
    refused("no clips of fold 6", read_esc50, tmp_path, 6)


def test_mangled_esc50(tmp_path):
    refused("cannot read", read_esc50, tmp_path, 0)
    esc50(tmp_path, "a.wav,1,0,dog,True,100,A")
    (tmp_path / "audio/a.wav").unlink()
    refused(r"esc50.csv': line 2 needs 'a.wav', which is not there", read_esc50, tmp_path, 0)
    for text, words in [
        ("filename,fold\na,1", "no column 'category'"),
        (ESC_HEAD + "\na.wav,1", "line 2 has 2 cells; expected 7"),
        (ESC_HEAD, "no rows"),
        (ESC_HEAD + '\n"a.wav,1,0', "line 2 breaks the rules of CSV"),
        (ESC_HEAD + ",fold\n", "2 columns 'fold'"),
    ]:
        (tmp_path / "meta/esc50.csv").write_text(text)
        refused(words, read_esc50, tmp_path, 0)


# --- ModelNet40

OFF = b"OFF3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"  # the header that some of ModelNet's files have


def test_modelnet40_meshes(tmp_path):
    put(
        tmp_path,
        "chair/train/chair_0001.off",
        "chair/test/chair_0890.off",
        "desk/test/desk_0201.off",
        content=OFF,
    )
    found = read_modelnet(tmp_path, "test")
    assert [(e.key, e.label) for e in found.examples] == [
        ("chair/test/chair_0890.off", "chair"),
        ("desk/test/desk_0201.off", "desk"),
    ]
    refused("has no folder 'train'", read_modelnet, tmp_path, "train")


def test_modelnet40_resampled(tmp_path):
    put(tmp_path, "night_stand/night_stand_0001.txt", "bed/bed_0007.txt", content=b"0,0,1,0,0,1\n")
    (tmp_path / "modelnet40_test.txt").write_text("night_stand_0001\nbed_0007\n")
    (tmp_path / "modelnet10_test.txt").write_text("bed_0007\n")
    found = read_modelnet(tmp_path, "test")
    assert [(e.key, e.label) for e in found.examples] == [
        ("night_stand_0001", "night_stand"),
        ("bed_0007", "bed"),
    ]
    assert found.examples[0].source == str(tmp_path / "night_stand/night_stand_0001.txt")
    (tmp_path / "modelnet40_test.txt").write_text("bed_0007\nbed_0008\n")
    refused(r"line 2 needs 'bed/bed_0008.txt' or .*, which is not there", read_modelnet, tmp_path, "test")
    (tmp_path / "modelnet40_test.txt").write_text("bed_0007\nbed\n")
    refused("line 2 is 'bed'; expected a shape as chair_0001", read_modelnet, tmp_path, "test")


# --- LLVIP


def voc(*boxes, name="person"):
    corners = ("xmin", "ymin", "xmax", "ymax")
    objects = "".join(
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{c}>{v}</{c}>" for c, v in zip(corners, box, strict=True))
        + "</bndbox></object>"
        for box in boxes
    )
    return f"<annotation><size><width>64</width><height>48</height></size>{objects}</annotation>"


@pytest.fixture
def llvip(tmp_path):
    put(tmp_path, "Annotations/1.xml", content=voc((5, 6, 15, 30), (20, 6, 31, 28)).encode())
    picture = np.full((48, 64), 10, np.uint8)
    picture[6:30, 5:15] = picture[6:28, 20:31] = 200
    put(tmp_path, "infrared/test/x")
    (tmp_path / "infrared/test/x").unlink()
    Image.fromarray(picture).save(tmp_path / "infrared/test/1.png")
    return tmp_path


def test_llvip_crops_persons_and_what_is_beside_them(llvip):
    found = read_llvip(llvip, "test").examples
    crops = [np.array(Image.open(io.BytesIO(example.source))) for example in found]
    assert [example.label for example in found[:2]] == ["person", "person"]
    assert [crop.shape for crop in crops[:2]] == [(24, 10), (22, 11)]
    assert all((crop == 200).all() for crop in crops[:2])
    assert len(found) > 2
    assert all((crop == 10).all() for crop in crops[2:])
    assert {example.unit for example in found} == {"1"}
    assert [e.source for e in read_llvip(llvip, "test").examples] == [e.source for e in found]
    texts = {item.request.get("text") for item in suite_kind("llvip").make().items(llvip)}
    assert {"a thermal photo of a person.", "a thermal photo of a background."} < texts


def test_empty_boxes_meet_no_person():
    taken = [(0, 0, 30, 40), (40, 10, 60, 44)]
    for seed in range(20):
        for left, top, right, bottom in empty_boxes(taken, (100, 60), seed):
            assert 0 <= left < right <= 100
            assert 0 <= top < bottom <= 60
            assert all(left >= r or right <= x or top >= b or bottom <= y for x, y, r, b in taken)
    assert len(list(empty_boxes(taken, (100, 60), 0))) == 2
    assert not list(empty_boxes([(0, 0, 9, 9)], (9, 9), 0))  # no room


def test_mangled_llvip(llvip):
    refused("cannot read the folder", read_llvip, llvip, "train")
    for text, words in [
        (voc((1, 1, 5, 5), name="car"), "object 1 is called 'car'; expected 'person'"),
        (voc((1, 1, "x", 5)), "object 1 has no box of numbers"),
        (voc((1, 1, "nan", 5)), "object 1 has no box of numbers"),
        (voc((70, 1, 90, 5)), "64x48 pixels, but its annotations a box"),
        ("<annotation>", "damaged XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "declares a document type"),
    ]:
        (llvip / "Annotations/1.xml").write_text(text)
        refused(words, read_llvip, llvip, "test")
    (llvip / "Annotations/1.xml").unlink()
    refused("cannot read .*1.xml", read_llvip, llvip, "test")
    put(llvip, "Annotations/1.xml", content=voc((1, 1, 5, 5)).encode())
    (llvip / "infrared/test/1.png").write_bytes(b"no picture")
    refused("no readable picture", read_llvip, llvip, "test")
    (llvip / "infrared/test/1.png").unlink()
    refused("has no pictures", read_llvip, llvip, "test")


# --- Ego4D, rooms


def test_ego4d_excerpts_of_one_recording_are_one_unit(tmp_path):
    put(tmp_path, "cooking/video7_0.csv", "cooking/video7_5.csv", "walking_a_dog/alone.csv")
    items = [item for item in suite_kind("ego4d-imu").make().items(tmp_path) if "imu" in item.request]
    assert [item.unit for item in items] == ["video7", "video7", ""]


@pytest.mark.parametrize("name", ["nyu-depth", "sun-rgbd"])
def test_rooms(tmp_path, name):
    put(tmp_path, "test/living_room/1.png", "test/others/2.npy", "train/others/3.npy")
    (tmp_path / "classes.txt").write_text("living_room\tliving room\nothers\tstudy|foyer\n")
    items = list(suite_kind(name).make().items(tmp_path))
    assert [item.key for item in items if "depth" in item.request] == ["living_room/1.png", "others/2.npy"]
    texts = {item.request.get("text") for item in items}
    assert {
        "a depth photo of a living room.",
        "a depth photo of a study.",
        "a depth photo of a foyer.",
    } < texts


# --- Parquet


def write_parquet(file, **columns):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), file)
    return file


def test_parquet_of_pictures(tmp_path):
    put(tmp_path, "there.jpg")
    write_parquet(
        tmp_path / "test.parquet",
        image=[{"bytes": b"abc", "path": "a.jpg"}, {"bytes": None, "path": "there.jpg"}],
        label=["cat", "dog"],
        group=["g1", None],
    )
    found = read_table(tmp_path, "image", None, "label", "test")
    assert [(e.key, e.source, e.label, e.unit) for e in found.examples] == [
        ("row 0", b"abc", "cat", "g1"),
        ("row 1", str(tmp_path / "there.jpg"), "dog", ""),
    ]
    items = list(suite_kind("labelled-table").make().items(tmp_path))
    assert items[-2].request == {"image": b"abc"}


def test_parquet_of_points(tmp_path):
    cloud = np.arange(12, dtype="<f2").reshape(4, 3)
    file = write_parquet(
        tmp_path / "a.parquet",
        points=[cloud.tobytes(), cloud.astype("<f4").tobytes()],
        label=["a", "b"],
        num_points=[4, 4],
    )
    found = read_table(file, "point", None, "label", "test").examples
    assert all((example.source == cloud).all() and example.source.dtype == np.float32 for example in found)
    write_parquet(file, points=[cloud.tobytes()], label=["a"], num_points=[5])
    refused(
        "row 0 has 24 bytes for 5 points; expected 30 or 60", read_table, file, "point", None, "label", ""
    )


def test_parquet_with_numbers_for_labels(tmp_path):
    file = write_parquet(tmp_path / "a.parquet", audio=[b"a", b"b"], label=[0, 1])
    make = suite_kind("labelled-table").make
    refused("labels in .* are numbers; give --classes", make(modality="audio").items, file)
    names = tmp_path / "names.txt"
    names.write_text("0\tcat\n1\tdog\n")
    texts = [item.request.get("text") for item in make(modality="audio", classes=names).items(file)]
    assert "the sound of a dog." in texts


def test_mangled_parquet(tmp_path):
    read = lambda column=None, label="label": read_table(file, "image", column, label, "test")  # noqa: E731
    file = tmp_path
    refused("no readable Parquet", read)
    file = tmp_path / "a.parquet"
    file.write_bytes(b"PAR1 no")
    refused("no readable Parquet", read)
    write_parquet(file, image=["gone.jpg"], label=["cat"])
    refused("row 0 names .*gone.jpg', which is not there", read)
    refused("no column 'picture', only image, label", read, "picture")
    refused("no column 'class', only image, label", read, None, "class")
    write_parquet(file, image=[None], label=["cat"])
    refused("row 0 has None for a medium", read)
    write_parquet(file, image=[b"a"], label=[None])
    refused("row 0 has the label None", read)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "kind,image\ncat,there.jpg\ndog,there.jpg\n"),
        ("a.tsv", "kind\timage\ncat\tthere.jpg\ndog\tthere.jpg\n"),
        ("a.jsonl", '{"kind": "cat", "image": "there.jpg"}\n{"kind": "dog", "image": "there.jpg"}\n'),
    ],
)
def test_tables_of_text(tmp_path, name, text):
    put(tmp_path, "there.jpg")
    (tmp_path / name).write_text(text)
    found = read_table(tmp_path / name, "image", None, "kind", "")
    assert [example.label for example in found.examples] == ["cat", "dog"]
    assert found.examples[0].source == str(tmp_path / "there.jpg")
    assert not found.numbered
    (tmp_path / "a.txt").write_text(text)
    refused(
        "is called as no table; expected .csv, .tsv",
        read_table,
        tmp_path / "a.txt",
        "image",
        None,
        "kind",
        "",
    )


# --- end to end


def run(made, bot, data):
    """Items, embedded one by one as the engine does, and judged."""
    from imagebind_llm.model.messages import media_items

    items = list(made.items(data))
    check_items(items, made.name)
    media = [media_items(item.request)[0] for item in items]
    answers = [None if isinstance(row, Exception) else row.numpy() for row in bot.iter_embed(media)]
    samples = made.judge(items, answers)
    return made.metrics(sums_of(samples)), samples


@pytest.fixture(scope="module")
def bot():
    from imagebind_llm.inference.assistant import Assistant

    return Assistant.from_pretrained("nano", device="cpu")


def test_nano_names_pictures_and_sounds(tmp_path, bot):
    from imagebind_llm.evaluation.engine import LocalEngine
    from imagebind_llm.evaluation.runner import run_suite

    for label in ("airplane", "dog", "horse", "bird", "ship", "truck"):
        put(tmp_path / "photos", f"{label}/1.jpg", content=(INPUTS / f"{label}.jpg").read_bytes())
    found, _ = run(suite_kind("folders").make(), bot, tmp_path / "photos")
    assert found["top1"] >= 5 / 6
    assert found["chance"] == pytest.approx(1 / 6)
    assert found["top5"] >= found["top1"]
    some = run_suite(suite_kind("folders").make(), LocalEngine(bot), tmp_path / "photos", limit=3)
    assert some.results["n"] == 3  # of the six pictures; the names of all classes are asked
    assert some.results["metrics"]["chance"]["value"] == pytest.approx(1 / 6, abs=1e-4)
    for name in ("cat.ogg", "dog.ogg", "bird.flac", "frog.wav"):
        put(tmp_path / "sounds", f"{Path(name).stem}/{name}", content=(INPUTS / name).read_bytes())
    put(tmp_path / "sounds", "frog/broken.wav")
    found, samples = run(suite_kind("folders").make(modality="audio"), bot, tmp_path / "sounds")
    assert found["top1"] >= 3 / 5
    assert samples[-2].score == 0
    assert samples[-2].read is None


def test_every_suite_states_its_facts():
    from imagebind_llm.evaluation.benchmarks import BENCHMARKS

    ours = [name for name, place in BENCHMARKS.items() if ".zero_shot:" in place]
    assert len(ours) == 9
    for name in ours:
        kind = suite_kind(name)
        assert kind.summary
        assert kind.facts.layout
        assert kind.facts.metric
        assert kind.facts.source
        assert kind.facts.licence
        assert kind.make().name == name
        assert kind.make().asks == "embeddings"
        assert re.search(rf"eval {name}\b", kind.examples)
