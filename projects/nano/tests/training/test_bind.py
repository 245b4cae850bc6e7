"""The bind stage: what it moves, that it learns, that senses land where images are."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_training import ENCODER, OPTIMIZER, TinyWorld, run_values

from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.files import read_json
from imagebind_llm.common.settings import build
from imagebind_llm.encoders.imagebind import load_imagebind
from imagebind_llm.training.contrastive import class_cosine, multi_positive_loss
from imagebind_llm.training.loop import train
from imagebind_llm.training.towers import merge_towers
from nano_lab.recipes import NanoBindRecipe
from nano_lab.stages.bind_images import BindImages
from nano_lab.stages.bind_modality import BindModality


def images_recipe(folder: Path, **changes: Any) -> NanoBindRecipe:
    run = run_values(folder, **changes.pop("run", {}))
    values = {
        "run": run,
        "optimizer": OPTIMIZER | changes.pop("optimizer", {}),
        "data": {"root": "unused", "shares": {"colours": 0.8, "unclear": 0.2}},
        "modalities": ["image", "text"],
        "config": ENCODER,
        "captions": 6,
        "evaluate_items": 20,
        **changes,
    }
    return build(NanoBindRecipe, values)


def sense_recipe(folder: Path, encoder: Path, **changes: Any) -> NanoBindRecipe:
    values = {
        "run": run_values(folder, **changes.pop("run", {})),
        "optimizer": OPTIMIZER,
        "data": {"root": "unused"},
        "modalities": ["depth"],
        "encoder": str(encoder),
        "bank_sample": 16,
        **changes,
    }
    return build(NanoBindRecipe, values)


@pytest.fixture(scope="module")
def anchor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("anchor")
    recipe = images_recipe(folder, run={"steps": 120, "batch_size": 24})
    return train(BindImages(recipe, TinyWorld()), recipe).export


def test_images_and_captions_are_told_apart(anchor: Path) -> None:
    import json

    result = json.loads((anchor / "training.json").read_text())
    assert result["eval/accuracy"] == 1.0
    assert (anchor.parent / "loss.png").stat().st_size > 1000


def test_only_vision_and_text_move(tmp_path: Path) -> None:
    recipe = images_recipe(tmp_path, run={"steps": 2})
    stage = BindImages(recipe, TinyWorld())
    before = {name: tensor.clone() for name, tensor in stage.state_dict().items()}
    names = set(stage.trainable()) | set(stage.moving_buffers())
    train(stage, recipe)
    moved = {name for name, tensor in stage.state_dict().items() if not tensor.equal(before[name])}
    assert moved == names
    assert not any("depth" in name for name in moved)


def test_a_sense_joins_and_leaves_the_others_alone(tmp_path: Path, anchor: Path) -> None:
    recipe = sense_recipe(tmp_path / "depth", anchor, run={"steps": 80, "batch_size": 16})
    result = train(BindModality(recipe, TinyWorld()), recipe)
    start, end = load_imagebind(anchor).state_dict(), load_imagebind(result.export).state_dict()
    moved = {name for name in start if not start[name].equal(end[name])}
    assert moved
    assert all(".depth." in name for name in moved)
    assert read_json(result.export / "training.json")["eval/accuracy"] > 0.9


def test_merge_takes_the_trained_tower(tmp_path: Path, anchor: Path) -> None:
    recipe = sense_recipe(tmp_path / "depth", anchor, run={"steps": 2})
    export = train(BindModality(recipe, TinyWorld()), recipe).export
    fingerprint = merge_towers(anchor, [export], tmp_path / "merged")
    merged, trained = load_imagebind(tmp_path / "merged"), load_imagebind(export)
    assert merged.fingerprint == trained.fingerprint == fingerprint
    with pytest.raises(CheckpointError, match="both bring the tower 'depth'"):
        merge_towers(anchor, [export, export], tmp_path / "twice")
    with pytest.raises(CheckpointError, match=r"differs from .* in no tower"):
        merge_towers(anchor, [anchor], tmp_path / "none")


def test_loss_of_several_positives() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0], [5.0, 5.0, 5.0]])
    positive = torch.tensor([[True, False, True], [False, False, False]])
    expected = -torch.log_softmax(logits[0], 0)[[0, 2]].mean()
    torch.testing.assert_close(multi_positive_loss(logits, positive), expected)


def test_cosine_to_the_images_of_a_label() -> None:
    images = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), dim=1)
    found = class_cosine(
        torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]),
        torch.tensor([5, 7, 9]),
        images,
        torch.tensor([5, 5, 7]),
    )
    torch.testing.assert_close(found, torch.tensor([2**-0.5, 0.0]))  # nothing has the label 9


def test_the_weight_of_the_class_brings_a_sense_to_its_images(tmp_path, anchor) -> None:
    cosines = []
    for weight in (0.0, 4.0):
        changes = {"run": {"steps": 60, "batch_size": 16}, "instance_weight": 0.0, "class_weight": weight}
        recipe = sense_recipe(tmp_path / f"depth-{weight}", anchor, **changes)
        export = train(BindModality(recipe, TinyWorld()), recipe).export
        cosines.append(read_json(export / "training.json")["eval/class_cosine"])
    assert cosines[1] > cosines[0] + 0.02, cosines
