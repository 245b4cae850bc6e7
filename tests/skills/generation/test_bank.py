"""Sounds that are looked up: the file, what is near, and nano's own."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.skills.generation.bank import AS_NEAR, FILE, LEAST, RATE, load_bank, save_bank


def tone(hertz, seconds=0.2):
    return (0.4 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


KEYS = {"bass": torch.eye(4)[0], "treble": torch.eye(4)[1]}
SOUNDS = {"bass": [tone(200), tone(210, 0.3)], "treble": [tone(2000)]}


@pytest.fixture
def folder(tmp_path):
    save_bank(tmp_path, KEYS, SOUNDS)
    return tmp_path


def pitch(samples):
    return np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples)


def at(low, high):
    row = torch.tensor([low, high, 0.0, 0.0])
    row[2] = (1 - row.square().sum()).clamp(min=0).sqrt()
    return row


def test_what_is_near_is_played_each_recording_in_turn(folder):
    bank = load_bank(folder, 4)
    assert bank.names == ("bass", "treble")
    for seed in range(5):
        name, samples = bank.play(at(0.9, 0.1), seed)
        assert (name, len(samples)) == ("bass", (3200, 4800)[seed % 2])
        assert pitch(samples) == pytest.approx(205, abs=8)
        name, samples = bank.play(at(0.1, 0.9), seed)
        assert name == "treble"
        assert pitch(samples) == pytest.approx(2000, abs=8)


def test_the_parts_of_a_mixture_are_played_in_turn(folder):
    bank = load_bank(folder, 4)
    assert bank.near(at(0.71, 0.70)) == [0, 1]
    assert bank.near(at(0.70, 0.71)) == [1, 0]
    assert bank.near(at(0.75, 0.75 - AS_NEAR - 0.02)) == [0]
    played = [bank.play(at(0.70, 0.71), seed) for seed in range(4)]
    assert [name for name, _ in played] == ["treble", "bass"] * 2
    assert [len(samples) for _, samples in played] == [3200, 3200, 3200, 4800]


def test_what_is_far_has_no_sound(folder):
    bank = load_bank(folder, 4)
    assert bank.near(at(LEAST + 0.01, 0)) == [0]
    assert bank.near(at(LEAST - 0.01, 0)) == []
    with pytest.raises(UserError, match="no sound is near to this; there are sounds of bass, treble"):
        bank.play(at(0.5, 0.5), 0)
    with pytest.raises(UserError, match=r"shape \[3\]; the sounds have keys of \[4\]"):
        bank.near(torch.ones(3))


def test_a_negative_leaves_out_what_is_nearer_to_it(folder):
    bank = load_bank(folder, 4)
    assert bank.near(at(0.71, 0.70), negative=at(0, 1.0)) == [0]
    assert bank.near(at(0.9, 0.1), negative=at(1.0, 0)) == []
    assert bank.near(at(0.72, 0.6), negative=at(1.0, 0)) == [], "what is farther does not stand in"


def test_no_file_is_no_bank(tmp_path):
    assert load_bank(tmp_path, 4) is None


def changed(folder, change):
    tensors = load_file(folder / FILE)
    change(tensors)
    save_file(tensors, folder / FILE)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("key.bass"),
        lambda tensors: tensors.pop("sound.treble.0"),
        lambda tensors: tensors.update({"key.bass": torch.ones(4)}),
        lambda tensors: tensors.update({"key.bass": torch.full((4,), float("nan"))}),
        lambda tensors: tensors.update({"key.bass": torch.ones(5)}),
        lambda tensors: tensors.update({"other": torch.eye(4)[2]}),
        lambda tensors: tensors.update({"sound.bass.0": torch.zeros(40, dtype=torch.uint8)}),
        lambda tensors: tensors.update({"sound.bass.0": torch.zeros(2, 2)}),
        lambda tensors: [tensors.pop(name) for name in list(tensors)[1:]],
    ],
    ids=["no key", "no sound", "long key", "nan", "size", "unknown", "no ogg", "no bytes", "one left"],
)
def test_a_damaged_file_is_refused(folder, change):
    changed(folder, change)
    with pytest.raises(CheckpointError, match="get it again"):
        load_bank(folder, 4)


def test_a_cut_file_is_refused(folder):
    whole = (folder / FILE).read_bytes()
    for size in (0, 7, len(whole) // 2, len(whole) - 3):
        (folder / FILE).write_bytes(whole[:size])
        with pytest.raises(CheckpointError):
            load_bank(folder, 4)
