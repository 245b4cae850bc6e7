"""run.compile: the same losses, and one line when there is no compiler."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from support.builders import encoder_folder
from support.caption_data import captions_values, write_captions

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.settings import build
from imagebind_llm.training.loop import train
from imagebind_llm.training.recipe import BindRecipe
from imagebind_llm.training.registry import make_stage

pytestmark = pytest.mark.timeout(300)


def losses(folder: Path, data: Path, **run: Any) -> list[float]:
    values = captions_values(
        folder, encoder_folder(data), write_captions(data / "pictures"), run={"steps": 3, **run}
    )
    recipe = build(BindRecipe, values)
    train(make_stage(recipe), recipe)
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(autouse=True)
def _nothing_compiled_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    torch._dynamo.reset()


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_compiled_layers_give_the_same_losses(tmp_path: Path) -> None:
    plain = losses(tmp_path / "plain", tmp_path)
    compiled = losses(tmp_path / "compiled", tmp_path, compile=True)
    assert list((tmp_path / "inductor").rglob("*.so"))  # it was compiled indeed
    assert compiled == pytest.approx(plain, abs=1e-5)


def test_without_a_compiler_one_line_says_so(tmp_path: Path) -> None:
    from torch._inductor import config

    with (
        config.patch({"cpp.cxx": (None, "/nowhere/g++")}),
        pytest.raises(
            ConfigError, match=r"run\.compile: .*No working C\+\+ compiler.*drop run\.compile"
        ) as caught,
    ):
        losses(tmp_path / "run", tmp_path, compile=True)
    assert "\n" not in str(caught.value)
