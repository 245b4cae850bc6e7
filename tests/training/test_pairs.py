"""Pairs on disk: the layouts that are read, and what is wrong with others."""

import json

import numpy as np
import pytest
from PIL import Image
from support.sensor_worlds import COLOURS, write_pairs

from imagebind_llm.common.errors import UserError
from imagebind_llm.data.pairs import read_pairs


def put(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        np.save(folder / f"{name}.npy", np.zeros(3))
        Image.new("RGB", (4, 4)).save(folder / f"{name}.png")


def test_folders_are_labels(tmp_path):
    sets = read_pairs(write_pairs(tmp_path, (1, 8, 8)))
    assert (len(sets.train), len(sets.test), sets.labels) == (36, 12, COLOURS)
    assert [pair.label for pair in sets.train] == sorted(pair.label for pair in sets.train)
    assert all(pair.array.stem == pair.image.stem for pair in sets.train)
    assert np.bincount(sets.ids(sets.test)).tolist() == [4, 4, 4]


def test_a_flat_folder_has_no_labels_and_holds_out_every_tenth(tmp_path):
    put(tmp_path, *[f"{i:02d}" for i in range(25)])
    sets = read_pairs(tmp_path)
    assert [pair.array.stem for pair in sets.test] == ["09", "19"]
    assert len(sets.train) == 23
    assert sets.labels == ()
    assert sets.ids(sets.train).tolist() == list(range(23))


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_manifests(tmp_path, kind):
    put(tmp_path / "files", "a", "b", "c")
    rows = [
        {"array": f"files/{n}.npy", "image": f"files/{n}.png", "label": "x", "split": split}
        for n, split in (("a", "train"), ("b", ""), ("c", "test"))
    ]
    if kind == "jsonl":
        text = "\n".join(map(json.dumps, rows))
    else:
        mark = "," if kind == "csv" else "\t"
        text = "\n".join(mark.join(line) for line in [rows[0].keys(), *(row.values() for row in rows)])
    (tmp_path / f"pairs.{kind}").write_text(text)
    sets = read_pairs(tmp_path / f"pairs.{kind}")
    assert [p.array.name for p in sets.train] == ["a.npy", "b.npy"]
    assert [p.image.exists() for p in sets.test] == [True]
    assert sets.labels == ("x",)


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(UserError, match="there is no"):
        read_pairs(tmp_path / "absent")
    put(tmp_path / "one", "a", "b")
    np.save(tmp_path / "one" / "lonely.npy", np.zeros(3))
    with pytest.raises(UserError, match=r"1 arrays.*lonely\.npy"):
        read_pairs(tmp_path / "one")
    put(tmp_path / "few", "a")
    with pytest.raises(UserError, match="1 pairs to train on and 0"):
        read_pairs(tmp_path / "few")
    put(tmp_path / "mixed" / "train" / "red", "a")
    put(tmp_path / "mixed" / "train", "b")
    put(tmp_path / "mixed" / "test", "c")
    with pytest.raises(UserError, match="some have none"):
        read_pairs(tmp_path / "mixed")
    (tmp_path / "m.csv").write_text("array,picture\na.npy,a.png\n")
    with pytest.raises(UserError, match=r"m\.csv, row 1 has \['array', 'picture'\]"):
        read_pairs(tmp_path / "m.csv")
    (tmp_path / "m.jsonl").write_text("{")
    with pytest.raises(UserError, match="line 1 is not JSON"):
        read_pairs(tmp_path / "m.jsonl")
