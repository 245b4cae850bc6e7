"""The judge of drawings: it learns, and tells a generator that listens from one that does not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.nano_data import build, draw_digit

from imagebind_llm.common.errors import UserError
from imagebind_llm.skills.generation.contract import Pictures, Settings
from nano_lab.captions import captions
from nano_lab.data.pool import ImagePool
from nano_lab.imagined import judge_folder
from nano_lab.imagined.judge import JudgeTraining, judged
from nano_lab.imagined.judge_folder import JudgeSettings, open_judge
from nano_lab.imagined.measure import TOGETHER, Asked, draw, interval, score
from nano_lab.imagined.solids import front_view, solid_of
from nano_lab.imagined.wordings import new_wordings, said

LABELS = 3


def squares(labels: np.ndarray, seed: int) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 60, (len(labels), 8, 8, 3)).astype(np.uint8)
    pixels[np.arange(len(labels)), :, :, labels] += 150
    return pixels


class Draws:
    """Draws the colour that the embedding's largest number names, or always the first one."""

    about = {"generator": "test"}  # noqa: RUF012

    def __init__(self, listens: bool) -> None:
        self.listens = listens
        self.seeds: list[int] = []

    def make(self, kind, wishes, settings):
        self.seeds.append(settings.seed)
        labels = np.array([int(wish.embedding.argmax()) * self.listens for wish in wishes])
        return Pictures(squares(labels, settings.seed))


def test_a_generator_that_listens_is_told_from_one_that_does_not() -> None:
    labels = np.arange(120) % LABELS
    pool = ImagePool(squares(labels, 0), labels, {"digits": np.arange(120)})
    training = JudgeTraining(pool, LABELS, epochs=60, width=4)
    for _ in range(60):
        training.epoch()
    judge = training.judge.eval()
    test = squares(labels, 1)
    assert (judged(judge, test) == labels).mean() > 0.95
    asked = Asked(torch.eye(LABELS)[torch.from_numpy(labels)], labels[:, None])
    listening = Draws(True)
    drawn = []
    good = score(asked.labels, judged(judge, draw(asked, listening, Settings(seed=5), drawn.append)))
    assert listening.seeds == list(range(5, 5 + 120 // TOGETHER))
    assert sum(drawn) == 120
    assert good["right"]["accuracy"] > 0.95
    assert good["right"]["n"] == 120
    assert abs(good["control"]["accuracy"] - good["chance"]) < 0.05
    assert good["chance"] == pytest.approx(1 / LABELS, abs=1e-4)
    deaf = score(asked.labels, judged(judge, draw(asked, Draws(False), Settings())))
    assert abs(deaf["right"]["accuracy"] - 1 / LABELS) < 0.1
    with pytest.raises(UserError, match="nothing to draw"):
        draw(Asked(torch.empty(0, 3), np.empty((0, 1), int)), Draws(True), Settings())


def test_of_a_mixture_either_thing_is_right() -> None:
    labels = np.array([[0, 1], [2, 3]] * 50)
    assert score(labels, np.array([1, 2] * 50))["right"]["accuracy"] == 1
    assert score(labels, np.array([2, 1] * 50))["right"]["accuracy"] == 0
    assert score(labels, np.array([1, 2] * 50))["chance"] == 0.5
    assert score(labels, np.array([1, 2] * 50))["control"]["accuracy"] == pytest.approx(0.5, abs=0.05)


def test_the_interval_is_that_of_a_share() -> None:
    low, high = interval(np.arange(400) % 4 == 0, 0)
    assert low < 0.25 < high
    assert 0.06 < high - low < 0.11


def test_new_wordings_are_no_captions_and_name_the_thing() -> None:
    for concept in range(20):
        assert not set(new_wordings(concept)) & set(captions(concept))
        assert len(set(new_wordings(concept))) == len(new_wordings(concept)) >= 12
        others = [set(new_wordings(other)) for other in range(20) if other != concept]
        assert not any(set(new_wordings(concept)) & other for other in others)
    texts, labels = said("new wordings", range(10), 100, 0)
    assert np.bincount(labels).tolist() == [10] * 10
    assert len(set(texts)) == 100
    assert "七" in "".join(new_wordings(7))


def test_a_judge_goes_on_exactly_and_is_loaded(tmp_path: Path, monkeypatch) -> None:
    data = tmp_path / "data"
    data.mkdir()
    build(data, "train", 3)
    build(data, "test", 2)
    settings = JudgeSettings(epochs=3, width=4)
    whole = open_judge(tmp_path / "whole", data, settings, progress=False)
    assert {"digits", "objects", "trained_on"} == set(whole.accuracy)
    assert whole.accuracy["trained_on"] == 60
    assert whole.accuracy["digits"]["n"] == 20

    original, lives = JudgeTraining.epoch, [2]

    def mortal(self, advance):
        if not lives[0]:
            raise KeyboardInterrupt
        lives[0] -= 1
        original(self, advance)

    monkeypatch.setattr(JudgeTraining, "epoch", mortal)
    with pytest.raises(KeyboardInterrupt):
        open_judge(tmp_path / "parts", data, settings, progress=False)
    lives[0] = 1
    resumed = open_judge(tmp_path / "parts", data, settings, progress=False)
    assert lives[0] == 0
    for name, tensor in whole.judge.state_dict().items():
        assert tensor.equal(resumed.judge.state_dict()[name]), name
    monkeypatch.setattr(judge_folder, "load_images", lambda *_: 1 / 0)  # a second run reads no picture
    loaded = open_judge(tmp_path / "parts", data, settings, progress=False)
    assert loaded.accuracy == resumed.accuracy
    assert not loaded.judge.training
    assert sorted(path.name for path in (tmp_path / "parts").glob("*.*") if path.name[0] != ".") == [
        "identity.json",
        "judge.json",
        "judge.safetensors",
    ]
    with pytest.raises(UserError, match="was trained with epochs 3, this run has 4"):
        open_judge(tmp_path / "parts", data, JudgeSettings(epochs=4, width=4), progress=False)


def test_a_solid_looks_from_in_front_like_its_drawing() -> None:
    ink = np.pad(draw_digit("seven"), 2)
    picture = np.repeat(ink[..., None], 3, axis=2)
    mesh = solid_of(picture)
    assert mesh is not None
    view = front_view(mesh, 32)
    assert view.shape == picture.shape
    drawn, seen = ink > 127, view[..., 0] > 127
    assert (drawn & seen).sum() / (drawn | seen).sum() > 0.9
    assert (drawn & seen[:, ::-1]).sum() / (drawn | seen[:, ::-1]).sum() < 0.5  # not mirrored
    assert solid_of(np.full((32, 32, 3), 200, np.uint8)) is None
