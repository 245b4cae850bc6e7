"""The bind stage on data sets of pictures with captions: any kind of source, text or both towers, LoRA or all
of them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.builders import encoder_folder
from support.caption_data import captions_values, write_captions
from support.source_samples import WRITERS
from support.tiny_training import ENCODER

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.settings import build
from imagebind_llm.encoders.imagebind import load_imagebind
from imagebind_llm.training.checkpoint import list_checkpoints
from imagebind_llm.training.loop import train
from imagebind_llm.training.recipe import BindRecipe
from imagebind_llm.training.registry import make_stage
from imagebind_llm.training.towers import in_tower

BOTH = {"modalities": ["image", "text"]}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder_folder(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_captions(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_captions(tmp_path_factory.mktemp("held out"), 21, seed=1)


def made(values: dict[str, Any]) -> tuple[Any, Any]:
    recipe = build(BindRecipe, values)
    return make_stage(recipe), recipe


@pytest.mark.parametrize("changes", [{}, BOTH, {"lora": {"rank": 4}}], ids=["text", "both", "lora"])
def test_held_out_pictures_find_their_captions(
    changes: dict[str, Any], tmp_path: Path, encoder: Path, source: dict[str, Any], held_out: dict[str, Any]
) -> None:
    run = {"steps": 60, "batch_size": 12}
    data = {"test_sources": [held_out]}
    optimizer = {"lr": 1e-2}
    stage, recipe = made(
        captions_values(tmp_path, encoder, source, run=run, data=data, optimizer=optimizer, **changes)
    )
    with torch.no_grad():
        before = stage.eval().evaluate()
    result = json.loads((train(stage, recipe).export / "training.json").read_text())
    assert before["text_of_image"] < 0.7  # a third by chance
    assert result["eval/text_of_image"] > 0.9
    assert result["eval/image_of_text"] > 0.9
    assert result["modalities"] == changes.get("modalities", ["text"])
    assert result["bad_samples"] == {}


@pytest.mark.parametrize(
    ("changes", "towers"),
    [({}, {"text"}), (BOTH, {"text", "vision"}), ({**BOTH, "lora": {"rank": 2}}, {"text", "vision"})],
    ids=["text", "both", "lora of both"],
)
def test_exactly_the_declared_tensors_move_and_are_saved(
    changes: dict[str, Any], towers: set[str], tmp_path: Path, encoder: Path, source: dict[str, Any]
) -> None:
    run = {"steps": 2, "checkpoint_every": 2}
    stage, recipe = made(captions_values(tmp_path, encoder, source, run=run, **changes))
    before = {name: tensor.clone() for name, tensor in stage.state_dict().items()}
    declared = set(stage.trainable()) | set(stage.moving_buffers())
    export = train(stage, recipe).export
    moved = {name for name, tensor in stage.state_dict().items() if not tensor.equal(before[name])}
    if "lora" in changes:  # an update's first factor gets no gradient in step 1 and hardly one in step 2
        assert moved <= declared
        assert {name for name in declared if "lora_B" in name} <= moved
    else:
        assert moved == declared
    saved = load_file(list_checkpoints(tmp_path / "checkpoints")[-1] / "trained.safetensors")
    assert {name.partition("/")[2] for name in saved} == declared
    start, end = load_imagebind(encoder).state_dict(), load_imagebind(export).state_dict()
    changed = {name for name in start if not start[name].equal(end[name])}
    assert changed
    assert all(any(in_tower(name, tower) for tower in towers) for name in changed)
    assert {tower for tower in towers if any(in_tower(name, tower) for name in changed)} == towers


class Killed(BaseException):
    """Stands for a kill -9."""


@pytest.mark.parametrize("changes", [{}, BOTH], ids=["text", "both"])
def test_killed_and_resumed_is_bitwise_uninterrupted(
    changes: dict[str, Any], tmp_path: Path, encoder: Path
) -> None:
    source = write_captions(tmp_path / "data", bad=3)  # which draw again
    data = {"max_bad_share": 0.5}
    run = {"checkpoint_every": 2}

    def start(folder: Path) -> tuple[Any, Any]:
        return made(captions_values(folder, encoder, source, run=run, data=dict(data), **changes))

    train(*start(tmp_path / "straight"))
    stage, recipe = start(tmp_path / "broken")
    usual = stage.batch

    def batch(number: int) -> Any:
        if number >= 5:
            raise Killed
        return usual(number)

    stage.batch = batch
    with pytest.raises(Killed):
        train(stage, recipe)
    train(*start(tmp_path / "broken"))
    for name in ("trained.safetensors", "optimizer.safetensors"):
        straight, broken = (
            load_file(list_checkpoints(tmp_path / run / "checkpoints")[-1] / name)
            for run in ("straight", "broken")
        )
        assert straight.keys() == broken.keys()
        assert all(tensor.equal(broken[key]) for key, tensor in straight.items())
    lines = [(tmp_path / run / "metrics.jsonl").read_text() for run in ("straight", "broken")]
    assert lines[0] == lines[1]
    bad = (tmp_path / "broken" / "quarantine.jsonl").read_text().splitlines()
    assert len(bad) == len(set(bad)) == 3


@pytest.mark.parametrize("kind", ["tsv", "csv", "webdataset", "parquet", "datasets", "folder", "llava"])
def test_every_kind_of_source_is_read(kind: str, tmp_path: Path, encoder: Path) -> None:
    written = WRITERS[kind](tmp_path / "data")
    source = {
        "kind": written.kind,
        "path": written.path,
        "columns": dict(written.columns),
        "root": written.root,
    }
    data = {"max_bad_share": 0.5}  # of the conversations some are text only
    stage, recipe = made(captions_values(tmp_path, encoder, source, data=data))
    batch = stage.batch(0)
    assert batch.captions.shape == (recipe.run.batch_size, ENCODER["text"]["context"])
    assert batch.images.shape == (recipe.run.batch_size, 3, 8, 8)
    assert all(torch.equal(*parts) for parts in zip(batch, stage.batch(0), strict=True))
    loss, _ = stage.loss(batch)
    assert bool(loss.isfinite())


def test_embedded_pictures_train_the_text_tower_as_the_pictures_do(
    tmp_path: Path, encoder: Path, source: dict[str, Any]
) -> None:
    from imagebind_llm.data.embed.run import embed_sources
    from imagebind_llm.data.embed.shard import Job
    from imagebind_llm.data.sources import SourceSettings

    job = Job((SourceSettings(**source),), str(encoder), device="cpu")
    embed_sources(job, tmp_path / "embedded", progress=False)
    embedded = {"kind": "embedded", "path": str(tmp_path / "embedded")}
    losses = []
    for one in (source, embedded):
        stage, _ = made(captions_values(tmp_path, encoder, one, data={"augment": False}, lora={"rank": 2}))
        losses.append(float(stage.eval().loss(stage.batch(0))[0].detach()))
    assert losses[0] == pytest.approx(losses[1], abs=2e-3)  # kept in half precision
    with pytest.raises(ConfigError, match=r"embedded already, .* train \[text\] alone"):
        made(captions_values(tmp_path, encoder, embedded, **BOTH))
    other = encoder_folder(tmp_path / "other", seed=2)
    with pytest.raises(ConfigError, match="embed the data with this encoder"):
        made(captions_values(tmp_path, other, embedded))


def test_equal_captions_are_not_contrasted(tmp_path: Path, encoder: Path, source: dict[str, Any]) -> None:
    """Pictures of one caption have nothing to be told apart by."""
    stage, _ = made(captions_values(tmp_path, encoder, source))
    batch = stage.batch(0)
    same = batch._replace(captions=batch.captions[:1].expand_as(batch.captions))
    loss, _ = stage.eval().loss(same)
    logits = stage.scale * stage._pictures(same) @ stage.encoder.encode("text", same.captions).T
    expected = -(logits.log_softmax(1).mean() + logits.T.log_softmax(1).mean()) / 2
    torch.testing.assert_close(loss, expected)


def test_recomputing_activations_changes_no_gradient(
    tmp_path: Path, encoder: Path, source: dict[str, Any]
) -> None:
    found = []
    for recompute in (False, True):
        run = {"steps": 3, "gradient_checkpointing": recompute}
        stage, recipe = made(captions_values(tmp_path / str(recompute), encoder, source, run=run, **BOTH))
        block = stage.blocks()[0]
        plain = block.forward
        train(stage, recipe)
        assert (block.forward != plain) == recompute
        found.append(stage.state_dict())
    for name, tensor in found[0].items():
        torch.testing.assert_close(found[1][name], tensor, atol=1e-6, rtol=1e-5, msg=name)


def test_a_fresh_encoder_learns_from_data_sets_too(tmp_path: Path, source: dict[str, Any]) -> None:
    values = captions_values(tmp_path, Path("new"), source, **BOTH, config=ENCODER)
    result = train(*made(values))
    assert load_imagebind(result.export).config.embedding_dim == ENCODER["embedding_dim"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": ["image"]}, r"train \[text\] or \[image, text\]"),
        ({"modalities": ["depth"]}, r"train \[text\] or \[image, text\]"),
        ({"encoder": "new"}, "encoder is 'new', but .* learns towards the images of a trained encoder"),
        ({"config": ENCODER}, "config is given but encoder"),
        ({"bank_sample": 3}, "bank_sample is set, which has no effect on data.sources; leave it out"),
        ({"source": "pairs"}, "source is set, which has no effect on data.sources"),
        ({"data": {"root": "x"}}, "data.sources is given, and data.root too"),
        ({"data": {"sources": [{"kind": "alpaca", "path": "a.json"}]}}, "'a.json' is text only"),
        ({"run": {"batch_size": 1}}, "run.batch_size is 1: a pair is contrasted"),
        (
            {"data": {"sources": [{"kind": "datasets", "path": "x", "streaming": True}]}},
            "'x' is a stream .* embed it first",
        ),
        ({"data": {"max_bad_share": 2}}, r"data.max_bad_share is 2\.0; expected at most 1"),
        ({"data": {"sources": [], "test_sources": [{"kind": "tsv", "path": "t"}]}}, "without data.sources"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(
    changes: dict[str, Any], message: str, tmp_path: Path, encoder: Path, source: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(BindRecipe, captions_values(tmp_path, encoder, source, **changes))
