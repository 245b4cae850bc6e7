"""Packed rows: the same loss as one dialog at a time, no token lost."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.builders import make

from imagebind_llm.data.packing import Example, assign_rows, examples_right, pack
from imagebind_llm.training.align import Finetune
from imagebind_llm.training.stage import step_rng


def test_packed_loss_is_the_loss_of_the_same_dialogs_one_by_one(tmp_path: Path) -> None:
    stage, _ = make("finetune", tmp_path / "run", tmp_path)
    assert isinstance(stage, Finetune)
    with torch.no_grad():
        stage.model.injection.gate.fill_(0.7)  # so that conditions count
    stage.eval().requires_grad_(False)
    examples = [stage.draw(step_rng(3, n), "train", False) for n in range(24)]
    packed = pack(examples, 48, 0)
    assert len(packed.owner) < 24 / 2
    whole, _ = stage.loss(packed)
    total, tokens = 0.0, 0
    for example in examples:
        single = pack([example], 48, 0)
        total += float(stage.loss(single)[0]) * single.learnt_tokens
        tokens += single.learnt_tokens
    assert packed.learnt_tokens == tokens
    assert float(whole) == pytest.approx(total / tokens, abs=1e-5)
    wrong = packed._replace(condition_ids=packed.condition_ids.roll(5, 0))
    assert abs(float(stage.loss(wrong)[0]) - float(whole)) > 1e-4


def test_rows_hold_every_example_once_and_are_full() -> None:
    lengths = np.random.default_rng(0).integers(3, 30, 200).tolist()
    rows = assign_rows(lengths, 64)
    assert sorted(n for row in rows for n in row) == list(range(200))
    assert all(sum(lengths[n] for n in row) <= 64 for row in rows)
    assert sum(lengths) / (64 * len(rows)) > 0.95
    with pytest.raises(ValueError, match="70 tokens, a row 64"):
        assign_rows([5, 70], 64)


def test_conditions_are_numbered_through_and_borders_are_not_learnt() -> None:
    first = Example([5, 6, 7], [True, True, True], [0, 0, 1], torch.eye(2, 4))
    second = Example([8, 9], [True, True], [-1, 0], torch.eye(1, 4))
    batch = pack([second, first], 5, 0)
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9]]
    assert batch.labels.tolist() == [[-100, 6, 7, -100, 9]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1]]
    assert batch.condition_ids.tolist() == [[1, 1, 2, -1, 0]]
    assert batch.conditions is not None
    assert batch.conditions.shape == (3, 4)
    allowed = batch.attention_mask[0, 0]
    assert allowed[3].tolist() == [False, False, False, True, False]
    assert allowed[2].tolist() == [True, True, True, False, False]


def test_an_example_is_right_only_if_all_its_answers_are() -> None:
    batch = pack(
        [Example([1, 2, 3], [False, True, True], [-1] * 3), Example([4, 5], [False, True], [-1] * 2)], 5, 0
    )
    logits = torch.nn.functional.one_hot(torch.tensor([[2, 3, 0, 5, 0]]), 6).float()
    assert examples_right(logits, batch).tolist() == [True, True]
    logits[0, 1] = torch.tensor([9.0, 0, 0, 0, 0, 0])
    assert examples_right(logits, batch).tolist() == [False, True]
