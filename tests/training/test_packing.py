"""Packed rows: the same loss as one dialog at a time, no token lost."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.builders import make
from transformers import LlamaConfig
from transformers.masking_utils import create_causal_mask

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.data.packing import Example, assign_rows, examples_right, laid_for, pack
from imagebind_llm.model.loss import causal_loss, labelled_loss, logits_at, predicts_label
from imagebind_llm.training.align import Finetune
from imagebind_llm.training.stage import step_rng


def test_packed_loss_is_the_loss_of_the_same_dialogs_one_by_one(tmp_path: Path) -> None:
    stage, _ = make("finetune", tmp_path / "run", tmp_path)
    assert isinstance(stage, Finetune)
    with torch.no_grad():
        stage.model.injection.gate.fill_(0.7)  # so that conditions count
    stage.eval().requires_grad_(False)
    examples = [stage.examples.draw(step_rng(3, n)) for n in range(24)]
    packed = pack(examples, 48, 0)
    assert len(packed.segment_ids) < 24 / 2
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
    allowed = create_causal_mask(  # as transformers makes it of the positions
        LlamaConfig(attn_implementation="sdpa"), torch.zeros(1, 5, 2), None, None, batch.position_ids
    )[0, 0]
    assert allowed[3].tolist() == [False, False, False, True, False]
    assert allowed[2].tolist() == [True, True, True, False, False]


def test_an_example_is_right_only_if_all_its_answers_are() -> None:
    batch = pack(
        [Example([1, 2, 3], [False, True, True], [-1] * 3), Example([4, 5], [False, True], [-1] * 2)], 5, 0
    )
    logits = torch.nn.functional.one_hot(torch.tensor([[2, 3, 0, 5, 0]]), 6).float()
    labelled = predicts_label(batch.labels)
    assert examples_right(logits[labelled], batch).tolist() == [True, True]
    logits[0, 1] = torch.tensor([9.0, 0, 0, 0, 0, 0])
    assert examples_right(logits[labelled], batch).tolist() == [False, True]


def test_flash_kernels_get_one_row() -> None:
    """They look for restarting positions only in a batch of one row."""
    dialogs = [Example([n] * 7, [True] * 7, [0] * 7, torch.eye(1, 4)) for n in range(3, 8)]
    batch = pack(dialogs, 15, 0)
    assert laid_for(batch, "sdpa") is batch
    joined = laid_for(batch, "flash_attention_2")
    assert joined.input_ids.shape == (1, batch.input_ids.numel())
    assert joined.learnt_tokens == batch.learnt_tokens == 5 * 6
    assert joined.position_ids.tolist() == [batch.position_ids.flatten().tolist()]
    with pytest.raises(ConfigError, match="attention 'own' may not keep the dialogs"):
        laid_for(batch, "own")


def test_logits_are_computed_where_a_label_is_predicted() -> None:
    """With transformers that take a mask, and with those that keep the same positions in all rows."""
    batch = pack([Example([n] * 9, [n % 2 > 0] * 9, [-1] * 9) for n in range(1, 9)], 20, 0)
    logits = torch.randn(*batch.labels.shape, 11, generator=torch.Generator().manual_seed(0))
    positions = predicts_label(batch.labels)
    asked = []

    def forward(keep: torch.Tensor) -> torch.Tensor:
        asked.append(keep)
        return logits[keep] if keep.ndim == 2 else logits[:, keep]

    found = logits_at(forward, positions)
    assert len(found) == batch.learnt_tokens
    assert float(labelled_loss(found, batch.labels)) == pytest.approx(
        float(causal_loss(logits, batch.labels)), abs=1e-6
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr("transformers.modeling_utils.slice_logits_to_keep", raising=False)
        torch.testing.assert_close(logits_at(forward, positions), found, rtol=0, atol=0)
    assert asked[-1].ndim == 1
