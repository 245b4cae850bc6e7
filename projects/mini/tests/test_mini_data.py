"""What mini is trained from: captions as files, a shorter template, classes without pictures."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from support.llm_folders import write_llm
from support.tiny_backbones import SIDE, write_efficientnet
from transformers import AutoTokenizer

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.data.sources import open_source
from imagebind_llm.data.sources.base import Embedded, SourceSettings
from imagebind_llm.encoders.towers.making import make_towers
from imagebind_llm.encoders.towers.recipe import new_encoder_of
from imagebind_llm.encoders.towers.weights import save_towers
from imagebind_llm.evaluation.claims.perplexity import Text
from imagebind_llm.model.dialog import build_dialog
from mini_lab import captions, flickr, prototypes, sounds, template, together
from mini_lab.measures import text
from mini_lab.store import line, write_store

SMOL = (
    "{% for message in messages %}" + template.ADDED + "{{'<|im_start|>' + message['role'] + '\n' "
    "+ message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
DIALOG = [{"role": "user", "content": "Hello"}]
CLASSES = [
    {
        "index": number,
        "names": [name],
        "gloss": "a thing",
        "more_general": [{"wnid": "n1", "steps": 1, "names": ["fish"]}] if number else [],
    }
    for number, name in enumerate(("tench", "otter", "ray", "eel", "cod"))
]


def picture(colour):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(stream, "JPEG")
    return {"bytes": stream.getvalue(), "path": f"{colour}.jpg"}


def test_flickr_becomes_files_that_a_source_reads(tmp_path):
    folder = tmp_path / "data" / "flickr8k"
    folder.mkdir(parents=True)
    for number, split in enumerate(flickr.SPLITS):
        row = {
            "image": picture("red"),
            "captions": ["A dog runs .", " . ", "two  dogs , and a cat"],
            "file": f"{number}.jpg",
        }
        pq.write_table(pa.Table.from_pylist([row]), folder / f"{split}.parquet")
    assert flickr.write(tmp_path / "data", tmp_path / "out") == dict.fromkeys(flickr.SPLITS, 2)
    assert (tmp_path / "out" / "pictures.tsv").read_text() == "url\tcaption\npictures/0.jpg\tA dog runs.\n"
    source = open_source(SourceSettings(kind="tsv", path=str(tmp_path / "out" / "train.tsv")), None)
    said = [source.read(number).messages[1]["content"] for number in range(len(source))]
    assert said == ["A dog runs.", "Two dogs, and a cat."]
    with pytest.raises(UserError, match="give the folder of the shared data"):
        flickr.write(tmp_path, tmp_path / "other")


def test_the_template_adds_no_words_of_its_own(tmp_path):
    whole = write_llm(tmp_path / "llm", "llama")
    tokenizer = AutoTokenizer.from_pretrained(whole)
    tokenizer.chat_template = SMOL
    tokenizer.save_pretrained(whole)
    assert "named SmolLM" in tokenizer.apply_chat_template(DIALOG, tokenize=False)
    template.write(whole, tmp_path / "short")
    short = AutoTokenizer.from_pretrained(tmp_path / "short")
    system = [{"role": "system", "content": "Be kind."}, *DIALOG]
    told = short.apply_chat_template(DIALOG, tokenize=False, add_generation_prompt=True)
    assert told == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    assert short.apply_chat_template(system, tokenize=False) == tokenizer.apply_chat_template(
        system, tokenize=False
    )
    with pytest.raises(UserError, match="is not SmolLM2's"):
        template.write(tmp_path / "short", tmp_path / "again")
    template.write(whole, tmp_path / "captions", captions=True)
    bare = AutoTokenizer.from_pretrained(tmp_path / "captions")
    assert bare.apply_chat_template(DIALOG, tokenize=False, add_generation_prompt=True) == told
    picture = [
        {"role": "user", "content": [{"type": "image", "image": "x.png"}]},
        {"role": "assistant", "content": "A dog."},
    ]
    dialog = build_dialog(picture, bare)
    assert bare.decode(dialog.input_ids) == "<|im_start|>assistant\nA dog.<|im_end|>"
    assert dialog.condition_ids == [0] * len(dialog)  # the opening of the answer sees the picture already
    learnt = [token for token, learn in zip(dialog.input_ids, dialog.labels_mask, strict=True) if learn]
    assert bare.decode(learnt) == "A dog.<|im_end|>"


@pytest.fixture
def encoder(tmp_path):
    """An image tower with a classifier of five classes, standardised."""
    backbone = write_efficientnet(tmp_path / "lite")
    recipe = {"towers": {"image": {"backbone": str(backbone), "head": {"kind": "none"}}}}
    made, media = make_towers(new_encoder_of(recipe))
    torch.manual_seed(0)
    pictures = torch.rand(16, 3, SIDE, SIDE)
    made.towers["image"].head.measure(made.features(Modality.IMAGE, pictures))
    save_towers(made, media, tmp_path / "encoder")
    return made, pictures


def test_prototypes_score_as_the_classifier_does(encoder):
    made, pictures = encoder
    tower = made.towers["image"]
    rows = prototypes.prototypes(made)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(5))
    features = made.features(Modality.IMAGE, pictures)
    standard = (features - tower.head.mean) / tower.head.std
    weight = tower.backbone._fc.weight
    lengths = ((weight - weight.mean(0)) * tower.head.std).norm(dim=1)
    scores = standard @ rows.T * lengths
    expected = features @ weight.T
    found, wanted = (values - values.mean(1, keepdim=True) for values in (scores, expected))
    # apart from what is the same for all pictures
    torch.testing.assert_close(found - found.mean(0), wanted - wanted.mean(0), atol=1e-4, rtol=1e-3)


def test_classes_become_a_source_of_dialogs(encoder, tmp_path):
    made, _ = encoder
    words = tmp_path / "words"
    words.mkdir()
    file = words / "classes.jsonl"
    with pytest.raises(UserError, match="data fetch imagenet-words"):
        prototypes.write(tmp_path / "encoder", words, tmp_path / "out")
    file.write_text("".join(json.dumps(one) + "\n" for one in CLASSES[:4]))
    with pytest.raises(UserError, match="holds 4 classes; the encoder has 5"):
        prototypes.write(tmp_path / "encoder", words, tmp_path / "out")
    file.write_text("".join(json.dumps(one) + "\n" for one in CLASSES))
    assert prototypes.write(tmp_path / "encoder", words, tmp_path / "out") == 20
    source = open_source(SourceSettings(kind="embedded", path=str(tmp_path / "out")), None)
    assert source.encoder_fingerprint == made.fingerprint
    assert len(source) == 20
    rows = prototypes.prototypes(made)
    for number in range(20):
        asked, told = source.read(number).messages
        (vector,) = [part["image"] for part in asked["content"] if part["type"] == "image"]
        assert isinstance(vector, Embedded)
        nearest = int((rows @ torch.from_numpy(vector.vector).float()).argmax())
        assert nearest == number // 4
        assert CLASSES[nearest]["names"][0] in told["content"]
    assert "It is an otter" in source.read(7).messages[1]["content"]


def test_classes_in_pictures_stay_the_nearest_and_kinds_are_their_mean(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(sounds, "PICTURED", {})
    made, pictures = encoder
    words, embedded = tmp_path / "words", tmp_path / "embedded"
    words.mkdir()
    (words / "classes.jsonl").write_text("".join(json.dumps(one) + "\n" for one in CLASSES))
    with torch.no_grad():
        found = made.encode(Modality.IMAGE, pictures)
    made_by = {"encoder_fingerprint": made.fingerprint, "dim": made.embedding_dim, "views": 1}
    write_store(embedded, made_by, "pictures", [(found.numpy()[None], [line("a", (0, "", "A."))])])
    given = (tmp_path / "encoder", words, tmp_path / "out", "classes", embedded)
    count = prototypes.write(*given)
    source = open_source(SourceSettings(kind="embedded", path=str(tmp_path / "out")), None)
    rows = prototypes.prototypes(made)
    shares, named = [], set()
    for number in range(count):
        asked, told = source.read(number).messages
        (vector,) = [part["image"].vector for part in asked["content"] if part["type"] == "image"]
        scores = rows @ torch.from_numpy(vector).float()
        assert torch.from_numpy(vector).float().norm() == pytest.approx(1, abs=2e-3)
        name = next((one["names"][0] for one in CLASSES if one["names"][0] in told["content"]), "fish")
        named.add(name)
        if name == "fish":  # the mean of all classes but the tench
            assert "a fish" in told["content"].lower()
            assert scores[1:].sum() > 0
        else:
            own = [one["names"][0] for one in CLASSES].index(name)
            assert int(scores.argmax()) == own
            shares.append(float(scores[own]))
    assert named == {"tench", "otter", "ray", "eel", "cod", "fish"}
    assert min(shares) == pytest.approx(prototypes.SHARE[0], abs=0.1)
    assert max(shares) > 0.6
    assert prototypes.write(*given) == count, "a complete folder is left alone"


def test_captions_that_agree_with_the_others_are_kept_best_first():
    said = {
        "dog.jpg": [
            "A wet dog runs.",
            "The weather is nice.",
            "A dog runs in water.",
            "A dog runs in the water.",
        ],
        "man.jpg": ["A man rides a bike.", "Somebody hurries.", "The man rides a red bike."],
        "sea.jpg": ["A ship at sea."],
        "hut.jpg": ["A hut.", "A house of wood."],
    }
    found = captions.agreeing(said, 2)
    assert len(set(found["dog.jpg"])) == 2
    assert set(found["dog.jpg"]) < set(said["dog.jpg"]) - {"The weather is nice."}
    assert captions.agreeing(said, 3)["dog.jpg"][:2] == found["dog.jpg"]
    assert sorted(found["man.jpg"]) == ["A man rides a bike.", "The man rides a red bike."]
    assert found["sea.jpg"] == said["sea.jpg"]
    assert found["hut.jpg"] == said["hut.jpg"]
    assert all(len(captions.agreeing(said, 1)[name]) == 1 for name in said)
    with pytest.raises(UserError, match="--agreeing is 0; expected at least 1"):
        captions.agreeing(said, 0)


@pytest.mark.parametrize("share", [0, -1, 1.5])
def test_a_share_of_nothing_is_refused(tmp_path, share):
    with pytest.raises(UserError, match="expected more than 0 and at most 1"):
        together.write_trained(tmp_path, tmp_path, tmp_path / "out", share)
    assert not (tmp_path / "out").exists()


def test_a_ratio_of_one_is_no_share():
    row = text._compared("x", [Text((1, 2), (False, True), 3)] * 4, np.ones(4), np.ones(4))
    assert row["metrics"]["ratio"] == {"value": 1.0, "low": None, "high": None}
