"""``imagebind-llm imagine``: from options to files, with a decoder of random weights; and what it refuses."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from imagebind_llm.cli import main
from imagebind_llm.inference.assistant import Assistant

INPUTS = Path(__file__).parents[2] / "examples" / "inputs"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    pytest.importorskip("diffusers")
    from imagebind_llm.skills.generation.decoder import DecoderConfig, EmbeddingDecoder, save_decoder

    torch.manual_seed(0)
    bot = Assistant.from_pretrained("nano", device="cpu")
    config = DecoderConfig(
        bot.model.encoder.embedding_dim, 16, 2, (8, 16), attention=(False, True), heads_dim=8, groups=4
    )
    folder = tmp_path_factory.mktemp("weights")
    save_decoder(folder, EmbeddingDecoder(config), bot.encoder_fingerprint, {})
    return str(folder)


def run(capsys, *words):
    with pytest.raises(SystemExit) as leaving:
        main(["imagine", *map(str, words)])
    out, err = capsys.readouterr()
    return leaving.value.code or 0, out, err


def test_a_mixture_becomes_pictures(weights, tmp_path, capsys):
    code, out, err = run(
        capsys, "--audio", f"{INPUTS / 'eight.ogg'}@0.5", "--text", "a seven", "--count", 2, "--steps", 2,
        "--negative", "a one", "--weights", weights, "--seed", 4, "--out", tmp_path / "p.png", "--json",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["out"] == [str(tmp_path / f"p-{n}.png") for n in (1, 2)]
    with Image.open(tmp_path / "p-2.png") as found:
        assert found.size == (16, 16)
        what = json.loads(found.text["imagebind-llm"])
    assert what["made_of"] == ["audio eight.ogg × 0.5", "text 'a seven'"]
    assert (what["generator"], what["seed"], what["negative"]) == ("nano", 5, "a one")


def test_a_sound_is_looked_up_and_nano_hears_it(tmp_path, capsys):
    import soundfile

    out = tmp_path / "bark.wav"
    code, said, err = run(capsys, "--image", INPUTS / "dog.jpg", "--count", 2, "--seed", 1, "--out", out)
    assert code == 0, err
    paths = [tmp_path / f"bark-{number}.wav" for number in (1, 2)]
    assert said.splitlines() == [f"sound (dog) in {path}" for path in paths]
    assert paths[0].read_bytes() != paths[1].read_bytes(), "another recording"
    code, said, _ = run(capsys, "--image", INPUTS / "dog.jpg", "--seed", 2, "--out", out, "--json")
    assert json.loads(said)["sounds"] == ["dog"]
    assert out.read_bytes() == paths[1].read_bytes(), "a seed is a sound, alone or among several"
    bot = Assistant.from_pretrained("nano", device="cpu")
    for path in paths:
        with soundfile.SoundFile(path) as found:
            assert (found.samplerate, found.channels) == (16_000, 1)
            assert json.loads(found.comment.partition(" ")[2])["made_of"] == ["image dog.jpg"]
            assert json.loads(found.comment.partition(" ")[2])["sound"] == "dog"
        assert "dog" in bot.ask("What is this?", audio=str(path)).text


def test_a_generator_without_sounds_says_so(weights, tmp_path, capsys):
    code, _, err = run(capsys, "--text", "a dog", "--weights", weights, "--out", tmp_path / "a.wav")
    assert code == 2
    assert "makes no sound, only pictures and shapes" in err


@pytest.mark.parametrize("name", ["way.gif", "way.png"])
def test_the_way_between_a_shape_and_words(weights, tmp_path, capsys, name):
    code, _, err = run(
        capsys, "--between", INPUTS / "three.ply", "an eight", "--frames", 3, "--steps", 1,
        "--weights", weights, "--out", tmp_path / name,
    )  # fmt: skip
    assert code == 0, err
    with Image.open(tmp_path / name) as found:
        assert getattr(found, "n_frames", 1) == (4 if name.endswith("gif") else 1)
        assert found.size == ((16, 16) if name.endswith("gif") else (48, 16))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "a.mp3", "--text", "x"], "ends in '.mp3'"),
        (["--out", "a.wav", "--text", "a ship"], "no sound is near to this; there are sounds of bird, cat"),
        (["--out", "a.wav", "--text", "a dog", "--seconds", "3"], "so seconds means nothing; leave it out"),
        (["--out", "a.wav", "--text", "a dog", "--steps", "3"], "so steps means nothing; leave it out"),
        (["--out", "a.png", "--text", "x", "--generator", "nanno"], "did you mean 'nano'"),
        (["--out", "a.png", "--text", "x", "--generator", "unclip"], "brings no weights"),
        (["--out", "a.gif", "--text", "x"], "give --between"),
        (["--out", "a.png", "--text", "x", "--between", "a", "b"], "drop the other ones"),
        (["--out", "a.wav", "--between", "a", "b"], "and --out 'a.wav' is neither"),
        (["--out", "a.png", "--between", "a", "b", "--count", "2"], "one .png or .gif; drop --count"),
        (["--out", "a.wav", "--text", "a dog@-1"], "all media have negative weights"),
        (["--out", "a.wav", "--text", "a dog", "--negative", "a dog"], "no sound is near to this"),
        (["--out", "a.png", "--image", "none.png"], "there is no such file"),
        (["--out", "a.png", "--text", "x", "--steps", "0"], "steps is 0"),
        (["--out", "a.png", "--text", "x", "--weights", "."], "holds no generator"),
        (["--out", "a.png", "--text", "x", "--weights", "none"], "there is no folder 'none'"),
        (["--out", "a.png"], "nothing to imagine"),
        (["--out", "a.png", "--text", "x", "--description", "y"], "reads no --description"),
        (["--out", "a.png", "--text", "x", "--seconds", "3"], "--seconds is the length of a sound"),
        (["--out", "a.png", "--text", "x", "--frames", "3"], "--frames is of --between"),
        (["--out", "a.png", "--between", "none.png", "x"], "--between 'none.png': there is no such file"),
        (["--out", "a.png", "--between", "./none", "x"], "there is no such file"),
        (["--out", "a.png", "--between", "none.png@0.5", "x"], "there is no such file"),
        (["--out", "a.png", "--between", " ", "x"], "an end of --between is empty"),
        (["--out", "a.png", "--between", "http://example.org/a.png", "x"], "is remote"),
    ],
)
def test_what_it_refuses(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *words)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.glob("a.*"))


def test_no_medium_is_written_over(weights, tmp_path, monkeypatch, capsys):
    """Also not by the second of several pictures, nor where the medium is given as an address."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "a-2.png"):
        Path(name).write_bytes((INPUTS / "seven.png").read_bytes())
    address = (tmp_path / "a.png").as_uri()
    for words in (
        ["--image", "a-2.png", "--count", 3],
        ["--image", address],
        ["--between", address, "a three"],
        ["--between", "a three", "a.png"],
    ):
        code, _, err = run(capsys, *words, "--weights", weights, "--out", "a.png")
        assert (code, "is one of the media" in err, err.count("\n")) == (2, True, 1)
    assert Path("a-2.png").read_bytes() == (INPUTS / "seven.png").read_bytes()


def test_all_files_are_checked_before_the_first_is_written(weights, tmp_path, capsys):
    (tmp_path / "a-2.png").mkdir()
    words = ["--text", "a seven", "--count", 2, "--weights", weights, "--out", tmp_path / "a.png"]
    code, _, err = run(capsys, *words)
    assert (code, "is a folder" in err) == (2, True)
    assert not (tmp_path / "a-1.png").exists()


@pytest.mark.parametrize("words", ["a dog. e.g. mine", "and/or " * 600])
def test_words_with_dots_and_slashes_are_words(weights, tmp_path, capsys, words):
    more = ["--frames", 2, "--steps", 1, "--weights", weights, "--out", tmp_path / "way.gif"]
    code, _, err = run(capsys, "--between", (INPUTS / "three.ply").as_uri(), words, *more)
    assert code == 0, err
