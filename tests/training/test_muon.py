"""Muon: what it moves, how far, and that what it leaves to AdamW moves as AdamW has it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.builders import make
from torch import nn

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.training.checkpoint import list_checkpoints
from imagebind_llm.training.loop import train
from imagebind_llm.training.muon import Muon, is_matrix, muon_groups, orthogonal
from imagebind_llm.training.parallel import Processes
from imagebind_llm.training.settings import OptimizerSettings

SETTINGS = OptimizerSettings(kind="muon", lr=0.01, matrix_lr=0.1, momentum=0.9, weight_decay=0.5)


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (16, 16)])
def test_all_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    values = torch.diag(u.T @ orthogonal(matrix) @ v.T)
    assert 0.5 < values.min() <= values.max() < 1.3
    torch.testing.assert_close(orthogonal(matrix), u @ torch.diag(values) @ v, atol=1e-4, rtol=0)
    torch.testing.assert_close(orthogonal(7 * matrix), orthogonal(matrix), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("name", "shape", "wanted"),
    [
        ("q_proj.weight", (8, 4), True),
        ("stem.proj.1.weight", (24, 3, 2, 3, 3), True),
        ("lora_A.weight", (3, 8), True),
        ("norm.weight", (8,), False),
        ("mlp.bias", (8,), False),
        ("attention.bias", (2, 4), False),
        ("cls_token", (1, 1, 8), False),
        ("gate", (8, 1), False),
        ("pos_embed", (2, 4, 8), False),
        ("embed_tokens.weight", (100, 8), False),
        ("lm_head.weight", (100, 8), False),
        ("modality_heads.vision.2.weight", (8, 8), False),
    ],
)
def test_matrices_and_kernels_are_muons(name: str, shape: tuple[int, ...], wanted: bool) -> None:
    assert is_matrix(name, torch.zeros(shape)) is wanted


def stepped(parameters: dict[str, nn.Parameter], gradients: list[dict[str, torch.Tensor]]) -> None:
    optimizer = Muon(muon_groups(parameters, SETTINGS, 0.01), lr=0.0, betas=SETTINGS.betas, fused=True)
    for gradient in gradients:
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * group.get("rate_ratio", 1.0)
        for name, parameter in parameters.items():
            parameter.grad = gradient[name].clone()
        optimizer.step()


def test_a_step_is_the_published_one() -> None:
    """Against the formula, written out once more: momentum, Nesterov, sqrt(rows / columns), decay."""
    generator = torch.Generator().manual_seed(1)
    start = {"k.weight": torch.randn(8, 2, 1, 2, generator=generator), "k.bias": torch.randn(8)}
    gradients = [
        {name: torch.randn(value.shape, generator=generator) for name, value in start.items()}
        for _ in range(2)
    ]
    found = {name: nn.Parameter(value.clone()) for name, value in start.items()}
    stepped(found, gradients)
    weight, momentum = start["k.weight"].flatten(1), torch.zeros(8, 4)
    for gradient in gradients:
        own = gradient["k.weight"].flatten(1)
        momentum = 0.9 * momentum + own
        weight = weight * (1 - 0.1 * 0.5) - 0.1 * 2**0.5 * orthogonal(own + 0.9 * momentum)
    torch.testing.assert_close(found["k.weight"].detach().flatten(1), weight)
    bias = nn.Parameter(start["k.bias"].clone())
    usual = torch.optim.AdamW([bias], lr=0.01, betas=SETTINGS.betas, weight_decay=0.0)
    for gradient in gradients:
        bias.grad = gradient["k.bias"]
        usual.step()
    torch.testing.assert_close(found["k.bias"], bias)


def test_a_run_keeps_one_buffer_for_a_matrix_and_two_for_the_rest(tmp_path: Path) -> None:
    stage, recipe = make(
        "images", tmp_path / "run", tmp_path, run={"steps": 2}, optimizer={"kind": "muon", "lr": 1e-3}
    )
    names = stage.trainable()
    assert train(stage, recipe).finished
    moments = load_file(list_checkpoints(tmp_path / "run" / "checkpoints")[-1] / "optimizer.safetensors")
    matrices = {name for name, parameter in names.items() if is_matrix(name, parameter)}
    assert matrices
    assert {name for name in moments if name.startswith("momentum_buffer/")} == {
        f"momentum_buffer/{name}" for name in matrices
    }
    assert {name for name in moments if name.startswith("exp_avg/")} == {
        f"exp_avg/{name}" for name in set(names) - matrices
    }


def test_settings_of_muon_without_muon_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.matrix_lr and optimizer\.momentum are Muon's"):
        OptimizerSettings(lr=1e-3, matrix_lr=0.1)
    with pytest.raises(ConfigError, match=r"optimizer\.momentum is 1"):
        OptimizerSettings(kind="muon", lr=1e-3, momentum=1.0)


def test_matrices_that_are_divided_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage, recipe = make("images", tmp_path, tmp_path, optimizer={"kind": "muon", "lr": 1e-3})

    def divided(processes: Processes, stage: Any) -> Any:
        processes.sharded = True
        return stage

    monkeypatch.setattr(Processes, "wrap", divided)
    with pytest.raises(ConfigError, match=r"'muon', which needs whole matrices, but run\.sharding"):
        train(stage, recipe)


def test_a_stage_of_heads_alone_is_refused() -> None:
    heads = {"heads.audio.0.weight": nn.Parameter(torch.zeros(4, 4))}
    with pytest.raises(ConfigError, match="no matrices besides heads and embeddings"):
        muon_groups(heads, SETTINGS, 0.01)


def test_moments_of_another_kind_are_refused_even_by_force(tmp_path: Path) -> None:
    train(*make("images", tmp_path / "run", tmp_path, run={"steps": 2}))
    muon = {"kind": "muon", "lr": 1e-3}
    run = {"steps": 3, "resume": "force"}
    with pytest.raises(ConfigError, match=r"has the moments of optimizer\.kind 'adamw'"):
        train(*make("images", tmp_path / "run", tmp_path, run=run, optimizer=muon))
