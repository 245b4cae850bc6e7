"""The file of nano's sounds, built from recordings; and how what is looked up is scored."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.skills.generation.bank import FILE, SoundBank, load_bank
from imagebind_llm.skills.generation.nano import DecoderGenerator, generator_folder
from nano_lab.imagined import bank
from nano_lab.imagined.measure import Asked
from nano_lab.imagined.sounds import looked_up
from nano_lab.world.concepts import concept_named

INPUTS = Path(__file__).parents[4] / "examples" / "inputs"


@pytest.fixture(scope="module")
def bot():
    return Assistant.from_pretrained("nano", device="cpu")


def recordings(folder: Path, **files: str) -> Path:
    """Recordings of the examples as waves, under other names."""
    folder.mkdir()
    for name, source in files.items():
        wave, rate = soundfile.read(INPUTS / source)
        soundfile.write(folder / f"{name}.wav", wave, rate)
    return folder


def generator(bot: Assistant) -> DecoderGenerator:
    return DecoderGenerator(None, bot.encoder_fingerprint, {})  # type: ignore[arg-type]


def test_what_the_encoder_hears_is_kept(bot, tmp_path) -> None:
    folder = recordings(tmp_path / "in", dog_1="dog.ogg", dog_2="frog.wav", four_1="four.wav")
    assert bank.build(bot, generator(bot), folder, tmp_path) == {"dog": 1, "four": 1}
    found = load_bank(tmp_path, bot.model.encoder.embedding_dim)
    assert found is not None
    assert found.names == ("dog", "four")
    assert found.near(bot.embed(image=[str(INPUTS / "dog.jpg")])[0]) == [0]
    assert found.near(bot.embed(image=[str(INPUTS / "four.png")])[0]) == [1]
    wave, rate = soundfile.read(INPUTS / "dog.ogg")
    assert len(found.sounds[0][0]) == pytest.approx(len(wave) * 16_000 / rate, abs=400)


def test_the_command_says_what_is_wrong(bot, tmp_path, capsys) -> None:
    wrong = {
        "none": ({}, "there is no THING_VARIANT.wav"),
        "stranger": ({"cow_1": "dog.ogg"}, "nano knows no concept named 'cow'"),
        "unheard": ({"cat_1": "dog.ogg"}, "the encoder hears no cat in its 1 recordings"),
    }
    for name, (files, words) in wrong.items():
        folder = recordings(tmp_path / name, **files)
        assert bank.main([str(folder), "--weights", str(generator_folder())]) == 2, name
        assert words in capsys.readouterr().err
    assert not (tmp_path / FILE).exists()


def test_refusals_are_wrong_where_there_is_a_sound_and_right_where_there_is_none() -> None:
    sounds = SoundBank(("cat", "dog"), torch.eye(4)[:2], ((np.zeros(8),), (np.zeros(8),)))
    cat, dog, ship = (concept_named(name).id for name in ("cat", "dog", "ship"))
    rows = torch.eye(4)[[0, 1, 1, 2, 2, 0]]  # cat, dog, dog, nothing, nothing, cat
    labels = np.array([[cat], [dog], [cat], [dog], [ship], [ship]])
    (found,) = looked_up(sounds, {"objects from pictures": Asked(rows, labels)}, 0)
    assert found["name"] == "sounds: objects from pictures"
    assert (found["right"]["n"], found["right"]["accuracy"], found["refused"]) == (4, 0.5, 1)
    assert (found["without"]["n"], found["without"]["accuracy"]) == (2, 0.5)
    assert looked_up(sounds, {"objects from pictures": Asked(rows[4:], labels[4:])}, 0) == []
