"""Detectors of transformers as proposers: small random ones of the real classes."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.tiny_detectors import write_grounding_dino, write_owlv2, write_owlvit

from imagebind_llm.common.errors import UserError
from imagebind_llm.skills.detection.proposers import open_proposer
from imagebind_llm.skills.detection.regions import RegionProposer

pytest.importorskip("scipy")

WRITERS = {"owlv2": write_owlv2, "owlvit": write_owlvit, "grounding-dino": write_grounding_dino}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("detectors")
    return {name: write(place / name) for name, write in WRITERS.items()}


@pytest.fixture(scope="module")
def picture():
    pixels = np.random.default_rng(0).integers(0, 255, (90, 140, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("name", WRITERS)
def test_boxes_come_from_the_real_classes(name, folders, picture):
    found = open_proposer(folders[name]).propose(picture, 5)
    assert 1 <= len(found) <= 5
    assert (found.boxes[:, :2] >= 0).all()
    assert (found.boxes[:, 2:] <= (140, 90)).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert (np.diff(found.objectness) <= 0).all()
    assert ((found.objectness > 0) & (found.objectness <= 1)).all()


def test_the_objectness_of_owlv2_is_its_own(folders, picture):
    """Not that of the words it is asked for."""
    from transformers import AutoProcessor, Owlv2ForObjectDetection

    model = Owlv2ForObjectDetection.from_pretrained(folders["owlv2"]).eval()
    processor = AutoProcessor.from_pretrained(folders["owlv2"])
    with torch.inference_mode():
        outputs = model(**processor(images=picture, text=[["zebra"]], return_tensors="pt"))
    own = torch.sigmoid(outputs.objectness_logits).flatten().numpy()
    proposals = open_proposer(folders["owlv2"]).propose(picture, 50)
    assert len(proposals)
    for value in proposals.objectness:
        assert np.abs(own - value).min() < 1e-5


def test_boxes_of_owlv2_are_in_pixels_of_the_picture(folders, picture):
    """It pads pictures to a square, so that both sides are scaled by the longer one."""
    from transformers import AutoProcessor, Owlv2ForObjectDetection

    model = Owlv2ForObjectDetection.from_pretrained(folders["owlv2"]).eval()
    processor = AutoProcessor.from_pretrained(folders["owlv2"])
    with torch.inference_mode():
        outputs = model(**processor(images=picture, text=[["zebra"]], return_tensors="pt"))
    x, y, width, height = (outputs.pred_boxes[0].double().numpy() * 140).T
    corners = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1)
    expected = np.clip(corners, 0, [140, 90, 140, 90])
    for box in open_proposer(folders["owlv2"]).propose(picture, 50).boxes:
        assert np.abs(expected - box).max(axis=1).min() < 1e-2


def test_torchvision_is_not_imported(folders):
    code = (
        "import sys; from PIL import Image\n"
        "from imagebind_llm.skills.detection.proposers import open_proposer\n"
        "print(len(open_proposer(sys.argv[1]).propose(Image.new('RGB', (80, 60)), 3)))\n"
        "print([name for name in ('torchvision', 'torchaudio') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folders["grounding-dino"])], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "[]"


def test_weights_are_loaded_strictly(folders, tmp_path):
    folder = write_owlv2(tmp_path / "lacking", seed=1)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "objectness" in name)
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="lack 1 tensors"):
        open_proposer(folder)


def test_another_model_is_refused_in_one_line(tmp_path):
    from support.tiny_backbones import write_bert

    with pytest.raises(UserError, match="holds no zero-shot detector") as raised:
        open_proposer(write_bert(tmp_path / "bert"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["none", "a/b/c", ""])
def test_an_unknown_name_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        open_proposer(name)


def test_nano_is_the_one_without_a_network():
    assert isinstance(open_proposer("nano"), RegionProposer)
