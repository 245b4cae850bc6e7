"""``eval imagine`` on a tiny model, a tiny untrained decoder and tiny data; and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.nano_data import build

pytest.importorskip("diffusers")
pytest.importorskip("matplotlib")

from imagebind_llm.cli import main
from imagebind_llm.skills.generation import nano
from imagebind_llm.skills.generation.decoder import DecoderConfig, EmbeddingDecoder, save_decoder
from nano_lab.imagined.judge import JudgeTraining
from nano_lab.imagined.run import SOLIDS
from nano_lab.imagined.tasks import TASKS

TINY = DecoderConfig(28, size=32, patch=4, channels=(8,), attention=(False,), heads_dim=8, groups=4)


@pytest.fixture(autouse=True)
def offered(tmp_path, monkeypatch) -> None:
    """The suite is found also where nano's package was installed before it had this one."""
    about = tmp_path / "offered" / "nano_imagine-0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: nano-imagine\nVersion: 0\n")
    (about / "entry_points.txt").write_text("[imagebind_llm.suites]\nimagine = nano_lab.suites:IMAGINE\n")
    monkeypatch.syspath_prepend(about.parent)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    build(root, "train", 2)
    build(root, "test", 2)
    return root


def decoder_in(folder: Path, fingerprint: str) -> Path:
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    save_decoder(folder, EmbeddingDecoder(TINY), fingerprint, {"audio": torch.full((28,), 0.1)})
    return folder


@pytest.fixture
def decoder(tmp_path, tiny_model_folder) -> Path:
    config = json.loads((tiny_model_folder / "config.json").read_text())
    return decoder_in(tmp_path / "decoder", config["fingerprints"]["encoder"])


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["eval", "imagine", *map(str, arguments)])
    assert isinstance(left.value.code, int)
    return left.value.code


def refusal(capsys) -> str:
    error: str = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def test_everything_is_drawn_judged_and_kept(
    data, decoder, tiny_model_folder, tmp_path, monkeypatch, capsys
) -> None:
    out = tmp_path / "out"
    given = ("--data", data, "--model", tiny_model_folder, "--weights", decoder, "--out", out)
    quick = (*given, "--items", 10, "--steps", 1, "--epochs", 1)
    original, lives = nano.DecoderGenerator.make, [3]

    def mortal(self, kind, wishes, settings):
        if not lives[0]:
            raise KeyboardInterrupt
        lives[0] -= 1
        return original(self, kind, wishes, settings)

    monkeypatch.setattr(nano.DecoderGenerator, "make", mortal)
    assert command(*quick) != 0
    assert "the same command goes on" in capsys.readouterr().err
    monkeypatch.setattr(JudgeTraining, "epoch", lambda *_: 1 / 0)  # it is trained
    lives[0] = 10**6
    capsys.readouterr()
    assert command(*quick) == 0
    assert 10**6 - lives[0] < len(TASKS)  # what was drawn is not drawn again
    shown = capsys.readouterr().out
    results = json.loads((out / "results.json").read_text())
    assert [task["name"] for task in results["tasks"]] == [task.name for task in TASKS]
    for task in results["tasks"]:
        assert f"| {task['name']} | {task['right']['n']} |" in shown
        assert 1 <= task["right"]["n"] <= 10
        assert task["met"] in ((None,) if task["target"] is None else (True, False))
    assert results["tasks"][0]["chance"] == pytest.approx(0.1)
    assert [row["name"] for row in results["solids"]] == [f"solids: {name}" for name in SOLIDS]
    assert all(row["refused"] == row["right"]["n"] for row in results["solids"])  # noise is no digit
    assert results["sounds"] is None
    assert "this generator has none" in shown
    assert results["generator"]["encoder"] == results["model"]["fingerprints"]["encoder"]
    assert (out / "results.md").read_text() == shown
    with Image.open(out / "samples.png") as sheet:
        assert sheet.width > 900
        assert sheet.height > 100 * (len(TASKS) + len(SOLIDS))
        assert len(np.unique(np.asarray(sheet).reshape(-1, 3), axis=0)) > 100
    assert (out / "bars.png").read_bytes().startswith(b"\x89PNG")

    monkeypatch.setattr(nano.DecoderGenerator, "make", lambda *_: 1 / 0)
    assert command(*quick, "--json") == 0
    assert json.loads(capsys.readouterr().out)["tasks"] == results["tasks"]
    assert command(*quick, "--seed", 1) == 2
    assert "was measured with seed 0, this run has 1" in refusal(capsys)
    assert command(*quick[:-1], 2) == 2
    assert "was trained with epochs 1, this run has 2" in refusal(capsys)


def test_what_cannot_be_measured_is_said_in_a_line(
    data, decoder, tiny_model_folder, tmp_path, monkeypatch, capsys
) -> None:
    other = decoder_in(tmp_path / "other", "0123456789abcdef")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(nano, "generator_folder", lambda: tmp_path / "none")
    usual = {"--data": data, "--model": tiny_model_folder, "--weights": decoder, "--out": tmp_path / "out"}
    for changes, words in (
        ({"--data": tmp_path / "none"}, "there is no folder"),
        ({"--data": tmp_path}, "nano's data is a folder with mnist"),
        ({"--out": tmp_path / "file"}, "is a file; give a folder"),
        ({"--judge": tmp_path}, "holds other files"),
        ({"--weights": tmp_path}, "holds no generator"),
        ({"--weights": other}, "trained on embeddings of the encoder 0123456789abcdef, this model has"),
        ({"--weights": None}, "nano's generator is not in this installation"),
        ({"--guidance": 1000}, "guidance"),
    ):
        options = {**usual, **changes}
        given = [word for name, value in options.items() if value is not None for word in (name, value)]
        assert command(*given) == 2, words
        assert words in refusal(capsys)
