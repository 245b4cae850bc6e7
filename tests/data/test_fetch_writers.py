"""What each writer makes of a package's content, read back by the readers of this package."""

import gzip
import io
import json
import pickle

import numpy as np
import pytest
from PIL import Image
from support.packages import zipped

from imagebind_llm.common.errors import UserError
from imagebind_llm.data.fetch import (
    clipart,
    emoji,
    exercises,
    furniture,
    motions,
    prompts,
    shapes,
    stamps,
    words,
)
from imagebind_llm.data.sources import open_source
from imagebind_llm.data.sources.base import SourceSettings
from imagebind_llm.media.imu import load_imu
from imagebind_llm.media.settings import ImuSettings


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def package(tmp_path):
    """Write the content of a package: path → bytes or text."""

    def put(files):
        for name, content in files.items():
            path = tmp_path / "unpacked" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path / "unpacked"

    return put


def picture(size=(4, 6), kind="PNG"):
    buffer = io.BytesIO()
    Image.new("RGBA", size, (255, 0, 0, 128)).save(buffer, kind)
    return buffer.getvalue()


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_all(kind, path, tmp_path):
    """The samples of a training source: what was asked, the medium, the answer."""
    source = open_source(SourceSettings(kind=kind, path=str(path)), index_folder=tmp_path / "index")
    found = []
    for index in range(len(source)):
        user, assistant = source.read(index).load().messages
        media = [part for part in user["content"] if part["type"] != "text"]
        found.append((media[0], assistant["content"]))
    return found


def test_stamps(package, out, tmp_path):
    root = "usr/share/tuxpaint/stamps/animals"
    unpacked = package(
        {
            f"{root}/dog.png": picture(),
            f"{root}/dog.txt": "A dog.\nde.utf8=Ein Hund.\nfr.utf8=\nnonsense\n",
            f"{root}/dog.ogg": b"bark",
            f"{root}/dog_desc.ogg": b"english",
            f"{root}/dog_desc_de.ogg": b"german",
            f"{root}/dog_desc_xx.ogg": b"no words",
            f"{root}/dog_mirror.png": picture(),
            f"{root}/lost.txt": "No picture.\n",
        }
    )
    assert stamps.write(unpacked, out) == {
        "captions": 1,
        "languages": 2,
        "translated captions": 2,
        "picture-sound pairs": 1,
        "captions read aloud": 2,
    }
    coco = json.loads((out / "dataset.json").read_text())
    image = "images/animals/dog.png"
    assert coco["images"] == [{"id": 1, "file_name": image, "width": 4, "height": 6}]
    assert coco["annotations"] == [{"id": 1, "image_id": 1, "caption": "A dog."}]
    assert lines(out / "multilingual.jsonl")[1] == {"image": image, "lang": "de", "caption": "Ein Hund."}
    assert (out / "pairs.csv").read_text() == f"image,audio,text\n{image},audio/animals/dog.ogg,A dog.\n"
    assert (out / "speech.csv").read_text() == (
        "audio,image,lang,text\n"
        f"speech/en/animals/dog_desc.ogg,{image},en,A dog.\n"
        f"speech/de/animals/dog_desc_de.ogg,{image},de,Ein Hund.\n"
    )
    assert (out / "speech/de/animals/dog_desc_de.ogg").read_bytes() == b"german"
    [(part, answer)] = read_all("folder", out, tmp_path)
    assert (part["image"].size, answer) == ((4, 6), "A dog.")


DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:dc="http://purl.org/dc/elements/1.1/" width="{width}" height="{height}"><metadata><rdf:RDF>
<dc:title>{title}</dc:title><dc:subject><rdf:Bag><rdf:li>red</rdf:li><rdf:li/></rdf:Bag></dc:subject>
</rdf:RDF></metadata><rect width="100%" height="100%" fill="red"/>{more}</svg>"""


def test_clipart(package, out):
    pytest.importorskip("resvg_py")
    root = "usr/share/openclipart/svg/shapes"
    unpacked = package(
        {
            f"{root}/wide.svg": DRAWING.format(width="20mm", height="5mm", title=" A  box", more=""),
            f"{root}/tall.svg": DRAWING.format(width="5", height="20", title="Tower", more=""),
            f"{root}/word.svg": DRAWING.format(width="5", height="5", title="Word", more="<text>a</text>"),
            f"{root}/none.svg": DRAWING.format(width="5", height="5", title="", more=""),
            f"{root}/empty.svg": DRAWING.format(width="0", height="5", title="Nothing", more=""),
        }
    )
    assert clipart.write(unpacked, out) == {
        "captions": 2,
        "categories": 1,
        "left out without a title": 1,
        "left out with letters": 1,
        "left out not rendered": 1,
    }
    tall, wide = lines(out / "drawings.jsonl")
    assert wide == {
        "image": "images/shapes/wide.png",
        "caption": "A box",
        "keywords": ["red"],
        "category": "shapes",
    }
    with Image.open(out / wide["image"]) as rendered:
        assert (rendered.size, rendered.convert("RGB").getpixel((50, 50))) == ((384, 96), (255, 0, 0))
    with Image.open(out / tall["image"]) as rendered:
        assert rendered.size == (96, 384)


def test_furniture(package, out, tmp_path):
    library = {
        "LICENSE.TXT": b"CC0",
        "PluginFurnitureCatalog.properties": (
            b"# a remark\nlicense=Public domain\nname#1=Bed\ncategory#1=Bed room\ntags#1=Wood, Big\n"
            b"creator#1=Jo\nmodel#1=/lib/bed/bed.obj\nicon#1=/lib/bed.png\n"
            b"name#2=Lamp\ncategory#2=Lights\nmodel#2=/lib/lamp/lamp.obj\nicon#2=/lib/lamp.png\n"
        ),
        "PluginFurnitureCatalog_de.properties": "name#1=T\\u00fcr-\\\n  Bett\nname#2=L\xe4mpe\n".encode(
            "latin-1"
        ),
        "lib/bed/bed.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "lib/bed/bed.mtl": b"newmtl a\n",
        "lib/lamp/lamp.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "lib/bed.png": picture(),
        "lib/lamp.png": picture(),
    }
    unpacked = package({"usr/share/sweethome3d/furniture/My.sh3f": zipped(library)})
    assert furniture.write(unpacked, out) == {"models": 2, "categories": 2, "languages": 2}
    bed, _ = lines(out / "points.jsonl")
    assert bed == {
        "point": "points/bed_room/My-001/bed.obj",
        "captions": ["Bed"],
        "category": "Bed room",
        "image": "images/My-001.png",
        "tags": ["Wood", "Big"],
        "creator": "Jo",
        "licence": "Public domain",
    }
    assert (out / "points/bed_room/My-001/bed.mtl").is_file()
    assert (out / "licences/My/LICENSE.TXT").read_bytes() == b"CC0"
    german = [row["caption"] for row in lines(out / "multilingual.jsonl") if row["lang"] == "de"]
    assert german == ["Tür-Bett", "Lämpe"]
    assert [answer for _, answer in read_all("folder", out, tmp_path)] == ["Bed", "Lamp"]
    part, answer = read_all("llava", out / "dialogs.json", tmp_path)[0]
    assert (part["point"], answer) == (str(out / "points/bed_room/My-001/bed.obj"), "Bed")


@pytest.mark.parametrize("name", ["../../../secret/key", "lib/gone.obj", ""])
def test_furniture_names_files_of_its_own_library_only(package, out, tmp_path, name):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("mine")
    properties = f"name#1=Bed\ncategory#1=Beds\nmodel#1={name}\nicon#1={name}\n"
    library = {"LICENSE.TXT": b"CC0", "PluginFurnitureCatalog.properties": properties.encode()}
    with pytest.raises(UserError, match="which is no file of it"):
        furniture.write(package({"My.sh3f": zipped(library)}), out)
    assert not list(out.rglob("key"))


def test_prompts(package, out, tmp_path):
    text = "; head\n\nbeep: [a  beep]\ndigits/1: one\nlong: See: two\n"
    root = "usr/share/asterisk/sounds/en_US_f_Allison"
    unpacked = package(
        {
            "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz": gzip.compress(text.encode()),
            **{f"{root}/{name}.wav": name for name in ("beep", "digits/1", "long", "silence/1")},
        }
    )
    assert prompts.write(unpacked, out) == {
        "transcripts": 2,
        "described sounds": 1,
        "without a transcript": 1,
    }
    assert (out / "transcripts.csv").read_text() == (
        "file_name,transcript\naudio/digits/1.wav,one\naudio/long.wav,See: two\n"
    )
    assert (out / "clotho_captions.csv").read_text() == "file_name,caption_1\naudio/beep.wav,a beep\n"
    part, answer = read_all("llava", out / "dialogs.json", tmp_path)[0]
    assert (part["audio"], answer) == (str(out / "audio/digits/1.wav"), "one")


def test_emoji(package, out, tmp_path):
    names = ("1f415", "2764-fe0f", "1f44d-1f3fd", "e000")
    unpacked = package({f"package/assets/{name}.webp": picture(kind="WEBP") for name in names})
    counts = emoji.write(unpacked, out)
    assert list(counts.values()) == [2, 1, 1]
    assert (out / "names.csv").read_text() == (
        "image,name,code\nimages/1f415.webp,dog,U+1F415\nimages/2764-fe0f.webp,heavy black heart,U+2764\n"
    )
    assert [answer for _, answer in read_all("folder", out, tmp_path)] == ["dog", "heavy black heart"]


def watch(readings, **more):
    values = {
        "X": readings,
        "y": np.arange(len(readings)) % 2,
        "y_labels": ["PEN", "NEW"],
        "subject": np.arange(len(readings)),
        "side": np.ones(len(readings)),
        **more,
    }
    buffer = io.BytesIO()
    np.save(buffer, np.array(values, dtype=object), allow_pickle=True)
    return buffer.getvalue()


def test_exercises(package, out, tmp_path):
    still = np.tile([0.0, 0.0, 1.0, 0.5, 0.0, 0.0], (60, 1))
    unpacked = package({"seglearn/data/watch_dataset.npy": watch([still, still[:20]])})
    assert exercises.write(unpacked, out) == {"recordings": 2, "classes": 2, "people": 2}
    assert (out / "labels.csv").read_text() == (
        "file_name,class,subject,side\nrecordings/PEN/000.csv,pendulum,0,right\n"
        "recordings/NEW/001.csv,NEW,1,right\n"
    )
    settings = ImuSettings()
    tensor = load_imu(out / "recordings/PEN/000.csv", settings)
    expected = (np.array([0, 0, 9.80665, 0.5, 0, 0]) - settings.mean) / np.array(settings.std)
    np.testing.assert_allclose(tensor.numpy(), np.tile(expected[:, None], (1, tensor.shape[1])), atol=1e-4)
    seconds = np.loadtxt(out / "recordings/PEN/000.csv", delimiter=",", skiprows=1)[:, 0]
    np.testing.assert_allclose(np.diff(seconds), 0.02, atol=1e-6)
    part, answer = read_all("llava", out / "dialogs.json", tmp_path)[0]
    assert (part["imu"], answer) == (str(out / "recordings/PEN/000.csv"), "pendulum")


class Harm:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (watch([np.zeros((2, 6))], y_labels=[Harm()]), "wants to run builtins.print"),
        (watch([np.zeros((2, 6))], side=[]), "is not what seglearn shipped"),
        (b"no array", "is not what seglearn shipped"),
        (watch([np.zeros((2, 6))])[:-40], "is not what seglearn shipped"),
        (b"\x93NUMPY\x01\x00" + b"\x00" * 4 + pickle.dumps({}), "is not what seglearn shipped"),
    ],
)
def test_a_pickle_with_anything_but_arrays_is_not_run(package, out, capsys, content, said):
    unpacked = package({"seglearn/data/watch_dataset.npy": content})
    with pytest.raises(UserError, match=said):
        exercises.write(unpacked, out)
    assert "run" not in capsys.readouterr().out


def test_motions(package, out):
    root = "aeon/datasets/data/BasicMotions"
    row = ":".join(",".join(str(channel + step / 10) for step in range(30)) for channel in range(6))
    files = {f"{root}/BasicMotions_{split}.ts": f"#a\n@data\n{row}:Walking\n" for split in ("TRAIN", "TEST")}
    assert motions.write(package(files), out) == {"recordings": 2, "classes": 1}
    assert (out / "labels.csv").read_text() == (
        "file_name,class,split\nrecordings/walking/train-000.csv,walking,train\n"
        "recordings/walking/test-001.csv,walking,test\n"
    )
    table = np.loadtxt(out / "recordings/walking/train-000.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(table[3], [0.3, 0.3, 1.3, 2.3, 3.3, 4.3, 5.3])
    settings = ImuSettings()
    tensor = load_imu(out / "recordings/walking/train-000.csv", settings).numpy()
    back = tensor[:, 0] * np.array(settings.std) + np.array(settings.mean)
    np.testing.assert_allclose(back, [0, 1, 2, 3, 4, 5], atol=1e-3)
    bad = f"@data\n{row}:Walking\n{row.rpartition(':')[0]}:Walking\n"
    with pytest.raises(UserError, match=r"BasicMotions_TRAIN\.ts, line 3: 5 channels"):
        motions.write(package({f"{root}/BasicMotions_TRAIN.ts": bad}), out)


def test_shapes(package, out, tmp_path):
    rows = [["is it red?", "yes", 0], ["what is it?", "circle", 0], ["is it red?", "no", 1]]
    files = {}
    for split in ("train", "test"):
        files[f"easy_vqa/data/{split}/questions.json"] = json.dumps(rows)
        files |= {f"easy_vqa/data/{split}/images/{number}.png": picture() for number in (0, 1)}
    assert shapes.write(package(files), out) == {
        "train questions": 3,
        "train pictures": 2,
        "test questions": 3,
        "test pictures": 2,
    }
    questions = json.loads((out / "test_questions.json").read_text())["questions"]
    assert [question["question_id"] for question in questions] == [0, 1, 1000]
    assert all((out / question["image"]).is_file() for question in questions)
    annotations = json.loads((out / "test_annotations.json").read_text())["annotations"]
    assert [row["answer_type"] for row in annotations] == ["yes/no", "other", "yes/no"]
    assert [answer["answer"] for answer in annotations[1]["answers"]] == ["circle"] * 10
    answers = [answer for _, answer in read_all("llava", out / "train_dialogs.json", tmp_path)]
    assert answers == ["yes", "circle", "no"]
    with pytest.raises(UserError, match="expected question, answer and a number"):
        shapes.write(package({"easy_vqa/data/train/questions.json": '[["a", "b"]]'}), out)


NOUNS = """  1 This software and database is being provided to you, the LICENSEE, by
00000100 03 n 01 entity 0 000 | that which is
00000200 05 n 02 animal 0 creature 0 001 @ 00000100 n 0000 | a living being
00000300 05 n 01 fish 0 001 @ 00000200 n 0000 | lives in water; "a fish out of water"
00000400 05 n 02 tench 0 Tinca_tinca 0 002 @ 00000300 n 0000 #m 00000100 n 0000 | a "fish" of ponds
"""
NOUN_FILE = "usr/share/wordnet/data.noun"
LIST = "timm/data/_info/imagenet_synsets.txt"


def test_classes_get_words_and_what_is_more_general(package, out):
    found = words.write(package({NOUN_FILE: NOUNS, LIST: "n00000400\nn00000300\n"}), out)
    assert found == {"classes": 2}
    first, second = lines(out / words.CLASSES)
    assert first == {
        "index": 0,
        "wnid": "n00000400",
        "names": ["tench", "Tinca tinca"],
        "gloss": 'a "fish" of ponds',
        "more_general": [
            {"wnid": "n00000300", "steps": 1, "names": ["fish"]},
            {"wnid": "n00000200", "steps": 2, "names": ["animal", "creature"]},
        ],
    }
    assert (second["index"], second["gloss"]) == (1, "lives in water")


@pytest.mark.parametrize(
    ("nouns", "classes", "said"),
    [
        (NOUNS, "n00000500\n", "has no 'n00000500'"),
        (NOUNS, "tench\n", "has no 'tench'"),
        ("00000100 05 n zz entity\n", "n00000100\n", "none of WordNet's"),
    ],
)
def test_words_that_do_not_fit_are_refused(package, out, nouns, classes, said):
    with pytest.raises(UserError, match=said):
        words.write(package({NOUN_FILE: nouns, LIST: classes}), out)
