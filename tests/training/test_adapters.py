"""Fine-tuning a fine-tuned model: its adapters go on, others are refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.builders import make

from imagebind_llm.common.errors import ConfigError


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Inputs, and a model that was fine-tuned with rank 3."""
    inputs = tmp_path_factory.mktemp("inputs")
    stage, _ = make("finetune", inputs / "run", inputs, adapters={"rank": 3})
    folder = inputs / "tuned"
    stage.trainable()  # records the stage
    stage.export(folder)
    return inputs, folder


def finetune(tuned: tuple[Path, Path], tmp_path: Path, adapters: dict[str, Any] | None) -> Any:
    inputs, folder = tuned
    return make("finetune", tmp_path, inputs, model=str(folder), adapters=adapters)[0]


@pytest.mark.parametrize("adapters", [None, {"rank": 3}])
def test_the_models_own_go_on(adapters: Any, tuned: tuple[Path, Path], tmp_path: Path) -> None:
    stage = finetune(tuned, tmp_path, adapters)
    assert stage.model.config.lora["rank"] == 3
    assert any("lora_A" in name for name in stage.trainable())


@pytest.mark.parametrize(
    ("adapters", "message"),
    [
        ({"rank": 8}, r"fine-tuned with adapters\.rank 3, the recipe says 8"),
        ({"rank": 3, "scale": 2.0}, r"adapters\.scale 1\.0, the recipe says 2\.0"),
        ({"rank": 3, "norms": False}, r"adapters\.norms True, the recipe says False"),
        ({"rank": 3, "biases": []}, r"adapters\.biases .*, the recipe says \[\]"),
        ({}, r"adapters\.rank 3, the recipe says 16"),
    ],
)
def test_others_are_refused_in_one_line(
    adapters: dict[str, Any], message: str, tuned: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        finetune(tuned, tmp_path, adapters)
    assert "leave the group adapters out" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_updates_become_wider_and_compute_what_they_did(tuned: tuple[Path, Path], tmp_path: Path) -> None:
    narrow = finetune(tuned, tmp_path / "1", None)
    for parameter in narrow.trainable().values():  # as after some steps: no half is 0
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)) / 10
    narrow.export(tmp_path / "tuned")
    wide = finetune((tuned[0], tmp_path / "tuned"), tmp_path / "2", {"rank": 5, "widen": True})
    assert wide.model.config.lora["rank"] == 5
    ids = torch.arange(12)[None]
    for stage in (narrow, wide):
        stage.model.eval()
    torch.testing.assert_close(wide.model(input_ids=ids).logits, narrow.model(input_ids=ids).logits)
    halves = [tensor for name, tensor in wide.trainable().items() if "lora_A" in name]
    assert halves
    assert all(half.shape[0] == 5 and half.abs().sum(1).min() > 0 for half in halves)
    wide.export(tmp_path / "wide")
    with pytest.raises(ConfigError, match=r"adapters\.rank 5, the recipe says 3"):
        finetune((tuned[0], tmp_path / "wide"), tmp_path / "3", {"rank": 3, "widen": True})


def test_merged_updates_may_be_followed_by_new_ones(tuned: tuple[Path, Path], tmp_path: Path) -> None:
    from imagebind_llm.model.adaptation import merge_lora

    first = finetune(tuned, tmp_path / "1", None)
    merge_lora(first.model)
    first.export(tmp_path / "merged")
    again = finetune((tuned[0], tmp_path / "merged"), tmp_path / "2", {"rank": 5})
    assert again.model.config.lora["rank"] == 5
