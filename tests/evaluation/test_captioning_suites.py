"""Captioning benchmarks read the files that are published, and refuse damaged ones with one line."""

import csv
import json
import shutil

import pytest

from imagebind_llm.common.errors import UserError
from imagebind_llm.evaluation.benchmarks import BENCHMARKS, captioning, media_captioning
from imagebind_llm.evaluation.suite import check_items, suite_kind

pytest.importorskip("pycocoevalcap.bleu.bleu", reason="pycocoevalcap is not installed")
pytestmark = pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed")

NAMES = [name for name, place in BENCHMARKS.items() if "captioning:" in place]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Java's start is tested elsewhere."""
    monkeypatch.setattr(captioning, "require_scorers", lambda spice: None)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"medium")


def write(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def items(kind, data, **options):
    suite = kind.make(**options)
    found = list(suite.items(data))
    check_items(found, suite.name)
    return found


def brief(found, medium="image"):
    return [(item.key, item.request[medium].rpartition("/")[2], item.expected, item.group) for item in found]


COCO = {
    "images": [{"id": 9, "file_name": "a.jpg"}, {"id": 7, "file_name": "b.jpg"}],
    "annotations": [
        {"id": 1, "image_id": 7, "caption": "A bus."},
        {"id": 2, "image_id": 9, "caption": "A cat."},
        {"id": 3, "image_id": 7, "caption": "A red bus."},
    ],
}
KARPATHY = {
    "images": [
        {
            "filepath": "val2014",
            "filename": "a.jpg",
            "split": "test",
            "cocoid": 9,
            "sentences": [{"raw": "A cat."}, {"raw": "Cats, two."}],
        },
        {"filename": "b.jpg", "split": "train", "sentences": [{"raw": "A bus."}]},
    ]
}


def test_coco_asks_every_photo_with_its_captions(tmp_path):
    write(tmp_path / "annotations/captions_val2014.json", COCO)
    touch(tmp_path, "val2014/a.jpg", "val2014/b.jpg")
    found = items(captioning.COCO, tmp_path)
    assert brief(found) == [("9", "a.jpg", ["A cat."], ""), ("7", "b.jpg", ["A bus.", "A red bus."], "")]
    assert found[0].request == {
        "question": "Generate caption of this image:",
        "image": str(tmp_path / "val2014/a.jpg"),
        "max_new_tokens": 64,
    }


def test_karpathys_split_of_coco_comes_first(tmp_path):
    write(tmp_path / "dataset_coco.json", KARPATHY)
    write(tmp_path / "annotations/captions_val2014.json", COCO)
    touch(tmp_path, "val2014/a.jpg", "b.jpg")
    assert brief(items(captioning.COCO, tmp_path)) == [("9", "a.jpg", ["A cat.", "Cats, two."], "")]
    assert brief(items(captioning.COCO, tmp_path, split="train")) == [("b.jpg", "b.jpg", ["A bus."], "")]
    with pytest.raises(UserError, match="no split 'val'; it has: test, train"):
        items(captioning.COCO, tmp_path, split="val")


def test_nocaps_has_its_domains_as_groups(tmp_path):
    images = [{**image, "domain": name} for image, name in zip(COCO["images"], ["in", "out"], strict=True)]
    write(tmp_path / "nocaps_val_4500_captions.json", {**COCO, "images": images})
    touch(tmp_path, "val_imgs/a.jpg", "val_imgs/b.jpg")
    assert [item.group for item in items(captioning.NOCAPS, tmp_path)] == ["in", "out"]


def test_flickr(tmp_path):
    write(tmp_path / "dataset_flickr30k.json", KARPATHY)
    touch(tmp_path, "flickr30k-images/a.jpg")
    assert brief(items(captioning.FLICKR30K, tmp_path)) == [("9", "a.jpg", ["A cat.", "Cats, two."], "")]


def test_flickr8k_of_its_own_files(tmp_path):
    write(tmp_path / "Flickr8k.token.txt", "a.jpg#0\tA cat .\na.jpg#1\tCats #2 .\r\nb.jpg.1#0\tA bus .\n")
    write(tmp_path / "Flickr_8k.testImages.txt", "a.jpg\n\n")
    touch(tmp_path, "Flicker8k_Dataset/a.jpg")
    assert brief(items(captioning.FLICKR8K, tmp_path)) == [("a.jpg", "a.jpg", ["A cat .", "Cats #2 ."], "")]
    write(tmp_path / "Flickr_8k.testImages.txt", "c.jpg\n")
    with pytest.raises(UserError, match=r"line 1 names 'c.jpg', of which .* has no caption"):
        items(captioning.FLICKR8K, tmp_path)
    write(tmp_path / "Flickr8k.token.txt", "a.jpg A cat\n")
    with pytest.raises(UserError, match=r"Flickr8k.token.txt': line 1 is .* a tab and a caption"):
        items(captioning.FLICKR8K, tmp_path)


def table(file, *rows):
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


def test_clotho(tmp_path):
    header = ["file_name", *(f"caption_{number}" for number in range(1, 6))]
    captions = ["Rain, heavy", 'A "bang"', "two\nlines", "d", "e"]
    table(tmp_path / "clotho_captions_evaluation.csv", header, ["a b.wav", *captions])
    touch(tmp_path, "evaluation/a b.wav")
    found = items(media_captioning.CLOTHO, tmp_path)
    assert brief(found, "audio") == [("a b.wav", "a b.wav", captions, "")]
    table(tmp_path / "clotho_captions_evaluation.csv", header, ["a b.wav", "one"])
    with pytest.raises(UserError, match="line 2 has 2 cells; expected 6"):
        items(media_captioning.CLOTHO, tmp_path)
    table(tmp_path / "clotho_captions_evaluation.csv", header[:-1], ["a b.wav", *captions[:-1]])
    with pytest.raises(UserError, match="no column 'caption_5'"):
        items(media_captioning.CLOTHO, tmp_path)


def test_audiocaps_gathers_the_captions_of_a_clip(tmp_path):
    header = ["audiocap_id", "youtube_id", "start_time", "caption"]
    rows = [["1", "vid", "30", "Rain"], ["2", "gone", "0", "Wind"], ["3", "vid", "30", "It rains"]]
    table(tmp_path / "test.csv", header, *rows)
    touch(tmp_path, "audio/Yvid.wav")
    with pytest.raises(UserError, match="line 3 names the clip 'gone'"):
        items(media_captioning.AUDIOCAPS, tmp_path)
    found = items(media_captioning.AUDIOCAPS, tmp_path, skip_missing=True)
    assert brief(found, "audio") == [("vid_30", "Yvid.wav", ["Rain", "It rains"], "")]


def test_msrvtt(tmp_path):
    content = {
        "videos": [{"video_id": "video1", "split": "test"}, {"video_id": "video0", "split": "train"}],
        "sentences": [
            {"video_id": "video1", "caption": "a man talks"},
            {"video_id": "video0", "caption": "a car"},
            {"video_id": "video1", "caption": "someone speaks"},
        ],
    }
    write(tmp_path / "MSRVTT_data.json", content)
    touch(tmp_path, "videos/all/video1.mp4")
    found = items(media_captioning.MSRVTT, tmp_path)
    assert brief(found, "video") == [("video1", "video1.mp4", ["a man talks", "someone speaks"], "")]
    content["sentences"].append({"video_id": "video2", "caption": "x"})
    write(tmp_path / "MSRVTT_data.json", content)
    with pytest.raises(UserError, match="entry 4: 'video_id' is 'video2'; expected one of the file's videos"):
        items(media_captioning.MSRVTT, tmp_path)


def test_clouds_of_lines_and_of_cap3d(tmp_path):
    write(tmp_path / "a.jsonl", '{"point": "a.npy", "captions": ["A chair."]}\n')
    touch(tmp_path, "points/a.npy", "points/u1.ply")
    found = items(media_captioning.CAP3D, tmp_path)
    assert brief(found, "point") == [("a.npy", "a.npy", ["A chair."], "")]
    table(tmp_path / "cap3d.csv", ["u0", "A lamp"], ["u1", "A red, old car"])
    found = items(media_captioning.CAP3D, tmp_path / "cap3d.csv")
    assert brief(found, "point") == [("u1", "u1.ply", ["A red, old car"], "")]
    write(tmp_path / "a.jsonl", '{"point": "a.npy", "captions": [1]}\n')
    with pytest.raises(UserError, match=r"line 1: 'captions' is \[1\]; expected a list of texts"):
        items(media_captioning.CAP3D, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "captions_val2014.json' holds a list; expected an object"),
        ({"images": [], "annotations": []}, "'images' is .*; expected a list that is not empty"),
        ({**COCO, "images": [{"id": True, "file_name": "a.jpg"}]}, "entry 1: 'id' is True"),
        ({**COCO, "images": COCO["images"][:1] * 2}, "entry 2 has the id '9', as .*entry 1 has"),
        ({**COCO, "images": [{"id": 9, "file_name": 3}]}, "entry 1: 'file_name' is 3"),
        ({**COCO, "images": [{"id": 9, "file_name": "../../x"}]}, "names '../../x'; expected a file below"),
        ({**COCO, "images": [{"id": 9, "file_name": "c.jpg"}]}, "entry 1 needs 'c.jpg', which is not there"),
        (
            {**COCO, "images": COCO["images"][:1]},
            "entry 1: 'image_id' is 7; expected one of the file's images",
        ),
        ({**COCO, "annotations": []}, "'annotations' is .*; expected a list that"),
        ({**COCO, "annotations": [{"image_id": 9, "caption": " "}]}, "has no caption to compare with"),
        ({**COCO, "annotations": [{"image_id": 9}]}, "entry 1 has no 'caption'"),
    ],
)
def test_damaged_files_are_refused_in_one_line(tmp_path, content, message):
    write(tmp_path / "captions_val2014.json", content)
    touch(tmp_path, "a.jpg", "b.jpg")
    with pytest.raises(UserError, match=message) as refusal:
        items(captioning.COCO, tmp_path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", NAMES)
def test_every_suite_says_what_it_needs(tmp_path, name):
    kind = suite_kind(name)
    with pytest.raises(UserError, match=f"suite '{name}' needs"):
        list(kind.make().items(None))
    with pytest.raises(UserError, match=r"there is no '.*' in '.*' or its folders; give the folder that"):
        list(kind.make().items(tmp_path))
    assert kind.make().name == name
    assert kind.facts.layout
    assert name in kind.examples


def test_two_tables_are_not_chosen_between(tmp_path):
    write(tmp_path / "captions_a.json", COCO)
    write(tmp_path / "captions_b.json", COCO)
    with pytest.raises(UserError, match=r"captions_a.json', and '.*captions_b.json'; give the right one"):
        items(captioning.COCO, tmp_path)
