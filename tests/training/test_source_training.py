"""Both stages on data sets: captions, dialogs and text, encoded on the way or embedded before."""

import json
import logging
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from support.builders import encoder_folder, language_folder
from support.tiny_training import OPTIMIZER, run_values

from imagebind_llm.common.errors import ConfigError, TrainingDataError
from imagebind_llm.common.settings import build
from imagebind_llm.data.augment import random_resized_crop
from imagebind_llm.training.checkpoint import claim_run_folder
from imagebind_llm.training.loop import train
from imagebind_llm.training.recipe import STAGES
from imagebind_llm.training.registry import make_stage, stage_kind

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220)}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures, captions of them with one broken line, dialogs about them and dialogs about nothing."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    lines, talks = [], []
    for number in range(12):
        name = list(COLOURS)[number % 3]
        pixels = np.clip(np.array(COLOURS[name]) + rng.integers(-20, 20, (12, 16, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
        lines.append(f"{number}.png\ta {name} image")
        talks.append(
            {
                "id": str(number),
                "image": f"{number}.png",
                "conversations": [
                    {"from": "human", "value": "<image>\nwhat is this ?"},
                    {"from": "gpt", "value": f"it is {name}"},
                    {"from": "human", "value": "say this twice"},
                    {"from": "gpt", "value": f"{name} {name}"},
                ],
            }
        )
    lines.append("missing.png\ta blue image")
    (folder / "captions.tsv").write_text("url\tcaption\n" + "\n".join(lines) + "\n")
    (folder / "talks.json").write_text(json.dumps(talks))
    texts = [{"instruction": f"say {name}", "input": "", "output": name} for name in COLOURS]
    (folder / "texts.json").write_text(json.dumps(texts))
    return folder


def captions(data: Path, **changes: Any) -> dict[str, Any]:
    return {"kind": "tsv", "path": str(data / "captions.tsv"), **changes}


def pretrain_values(folder: Path, inputs: Path, data: Path, /, **changes: Any) -> dict[str, Any]:
    return {
        "run": run_values(folder, **changes.pop("run", {})),
        "optimizer": OPTIMIZER,
        "data": {"sources": [captions(data)], "max_bad_share": 0.5, **changes.pop("data", {})},
        "encoder": str(encoder_folder(inputs)),
        "language_model": str(language_folder(inputs)),
        "row_length": 48,
        "evaluate_items": 4,
        **changes,
    }


def finetune_values(folder: Path, model: Path, data: Path) -> dict[str, Any]:
    sources = [
        {"kind": "llava", "path": str(data / "talks.json"), "weight": 2},
        {"kind": "alpaca", "path": str(data / "texts.json"), "weight": 1},
    ]
    return {
        "run": run_values(folder),
        "optimizer": OPTIMIZER,
        "data": {"sources": sources},
        "model": str(model),
        "adapters": {"rank": 2},
        "row_length": 64,
    }


def run(stage: str, values: dict[str, Any]) -> Any:
    recipe = build(STAGES[stage], values)
    return train(make_stage(recipe), recipe)


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_captions_then_instructions(tmp_path: Path, inputs: Path, data: Path) -> None:
    tests = {"data": {"test_sources": [captions(data)]}}
    first = run("pretrain", pretrain_values(tmp_path / "one", inputs, data, run={"steps": 12}, **tests))
    assert first.finished
    losses = [line["loss"] for line in metrics(tmp_path / "one") if "loss" in line]
    assert losses[-1] < losses[0]
    assert "eval/loss" in metrics(tmp_path / "one")[-1]
    assert "a red image" in next((tmp_path / "one" / "samples").iterdir()).read_text()
    result = json.loads((first.export / "training.json").read_text())
    assert result["bad_samples"] == {"captions.tsv": 1}
    bad = (tmp_path / "one" / "quarantine.jsonl").read_text().splitlines()
    assert len(bad) == 1
    assert "missing.png" in bad[0]
    second = run("finetune", finetune_values(tmp_path / "two", first.export, data))
    assert second.finished
    from imagebind_llm import Assistant

    assert Assistant.from_pretrained(second.export, device="cpu", cache=False).ask(
        "what is this ?", image=data / "0.png"
    )


def test_both_stages_may_have_a_tokenizer_of_their_own(tmp_path: Path, inputs: Path, data: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(language_folder(inputs))
    templates = []
    for name in ("short", "long"):
        templates.append(f"{{# {name} #}}{tokenizer.chat_template}")
        copy: Any = AutoTokenizer.from_pretrained(language_folder(inputs))
        copy.chat_template = templates[-1]
        copy.save_pretrained(tmp_path / name)

    def template(folder: Path) -> str:
        return str(AutoTokenizer.from_pretrained(folder).chat_template)

    short, long = (str(tmp_path / name) for name in ("short", "long"))
    plain = pretrain_values(tmp_path / "one", inputs, data, run={"steps": 2}, tokenizer=short)
    first = run("pretrain", plain).export
    assert template(first) == templates[0]
    for number, (given, expected) in enumerate(((None, templates[0]), (long, templates[1]))):
        values = finetune_values(tmp_path / f"two-{number}", first, data)
        assert template(run("finetune", {**values, "tokenizer": given}).export) == expected


def test_texts_see_no_condition_and_pictures_are_seen(tmp_path: Path, inputs: Path, data: Path) -> None:
    first = run("pretrain", pretrain_values(tmp_path / "one", inputs, data, run={"steps": 1}))
    recipe = build(STAGES["finetune"], finetune_values(tmp_path / "two", first.export, data))
    stage = make_stage(recipe)
    batch = stage.batch(0)
    again = stage.batch(0)
    assert torch.equal(batch.input_ids, again.input_ids)
    assert batch.media is not None
    assert torch.equal(
        *(next(iter(b.media.groups.values())).tensor for b in (batch, again))
    )  # augmented alike
    owners = [batch.condition_ids[batch.segment_ids == number] for number in range(8)]
    assert any(bool((seen == -1).all()) for seen in owners)
    assert any(bool((seen >= 0).all()) for seen in owners)
    stage.eval()
    conditions = stage.conditions(batch)
    torch.testing.assert_close(conditions.norm(dim=1), torch.ones(len(conditions)))


def test_embedded_data_train_as_the_pictures_they_were_made_of(
    tmp_path: Path, inputs: Path, data: Path
) -> None:
    """Without augmentation, looking up embeddings gives the losses of encoding the pictures each time."""
    from imagebind_llm.data.embed.run import embed_sources
    from imagebind_llm.data.embed.shard import Job
    from imagebind_llm.data.sources import SourceSettings

    clean = tmp_path / "clean.tsv"
    clean.write_text("\n".join((data / "captions.tsv").read_text().splitlines()[:-1]) + "\n")
    raw = {"kind": "tsv", "path": str(clean), "root": str(data)}
    embed_sources(
        Job((SourceSettings(**raw),), str(encoder_folder(inputs)), device="cpu"),
        tmp_path / "embedded",
        progress=False,
    )
    stages = []
    for source in (raw, {"kind": "embedded", "path": str(tmp_path / "embedded")}):
        values = pretrain_values(tmp_path / "run", inputs, data)
        values["data"] = {"sources": [source], "augment": False}
        stage = make_stage(build(STAGES["pretrain"], values)).eval()
        with torch.no_grad():
            stage.model.injection.gate.fill_(0.5)
        stages.append(stage)
    for index in range(3):
        raw_batch, embedded_batch = (stage.batch(index) for stage in stages)
        assert raw_batch.media is not None
        assert embedded_batch.media is None
        losses = [float(stage.loss(stage.batch(index))[0].detach()) for stage in stages]
        assert losses[0] == pytest.approx(losses[1], abs=2e-3)  # embeddings are kept in half precision
    other = encoder_folder(tmp_path / "other", seed=2)
    values = pretrain_values(tmp_path / "run", inputs, data) | {"encoder": str(other)}
    values["data"] = {"sources": [{"kind": "embedded", "path": str(tmp_path / "embedded")}]}
    with pytest.raises(ConfigError, match="embed the data with this encoder"):
        make_stage(build(STAGES["pretrain"], values))


def test_a_model_stored_in_half_precision_goes_on_with_a_whole_encoder(
    tmp_path: Path, inputs: Path, data: Path
) -> None:
    """As the bundled nano is; its batch norms do not take what autocast gives them."""
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration as Model
    from imagebind_llm.model.processing import ImageBindLLMProcessor

    export = run("pretrain", pretrain_values(tmp_path / "one", inputs, data, run={"steps": 1})).export
    half = Model.from_pretrained(export).half()
    half.save_pretrained(tmp_path / "half")
    ImageBindLLMProcessor.from_pretrained(export).save_pretrained(tmp_path / "half")
    values = finetune_values(tmp_path / "two", tmp_path / "half", data)
    values["run"] |= {"precision": "bf16", "steps": 2}
    stage = make_stage(build(STAGES["finetune"], values))
    assert {parameter.dtype for parameter in stage.model.encoder.parameters()} == {torch.float32}
    assert run("finetune", values).finished


def test_too_many_bad_samples_stop_the_run(tmp_path: Path, inputs: Path, data: Path) -> None:
    broken = tmp_path / "broken.tsv"
    broken.write_text("url\tcaption\n" + "".join(f"none-{n}.png\ta red image\n" for n in range(40)))
    values = pretrain_values(tmp_path / "run", inputs, data)
    values["data"] = {"sources": [{"kind": "tsv", "path": str(broken)}]}
    with pytest.raises(TrainingDataError, match=r"samples are bad, more than the allowed share 0\.05"):
        run("pretrain", values)


def test_a_run_does_not_go_on_with_other_data(tmp_path: Path, inputs: Path, data: Path) -> None:
    own = tmp_path / "own.tsv"
    own.write_text((data / "captions.tsv").read_text())
    source = {"sources": [{"kind": "tsv", "path": str(own), "root": str(data)}]}
    run("pretrain", pretrain_values(tmp_path / "run", inputs, data, run={"steps": 2}, data=source))
    own.write_text(own.read_text() + "0.png\tsay red\n")
    values = pretrain_values(tmp_path / "run", inputs, data, run={"steps": 2}, data=source)
    with pytest.raises(ConfigError, match=r"other data \(own\.tsv changed\)"):
        run("pretrain", values)


def test_what_changed_of_a_source_is_named_and_what_does_not_matter_may_change(
    tmp_path: Path, inputs: Path, data: Path
) -> None:
    run("pretrain", pretrain_values(tmp_path / "run", inputs, data, run={"steps": 2, "checkpoint_every": 1}))
    values = pretrain_values(tmp_path / "run", inputs, data, run={"steps": 2})
    values["data"]["sources"][0]["weight"] = 2
    with pytest.raises(ConfigError, match=r"recipe: data\.sources\[0\]\.weight \(1\.0 then, 2\.0 now\); use"):
        run("pretrain", values)
    values = pretrain_values(tmp_path / "run", inputs, data, run={"steps": 2})
    values["data"] |= {"max_bad_share": 0.9, "test_sources": [captions(data)]}
    assert run("pretrain", values).step == 2


def test_sources_or_world_not_both(tmp_path: Path, inputs: Path, data: Path) -> None:
    nano = stage_kind("nano.pretrain").recipe_class
    with pytest.raises(ConfigError, match=r"data\.sources is given, and data\.root"):
        build(nano, pretrain_values(tmp_path, inputs, data, data={"root": "data"}))
    values = pretrain_values(tmp_path, inputs, data)
    values["data"] = {"root": "data"}
    with pytest.raises(ConfigError, match=r"'data\.bank' is missing"):
        build(nano, values)


def test_crops_keep_nine_tenths_and_their_colours() -> None:
    rng = np.random.default_rng(1)
    ramp = np.tile(np.linspace(0, 255, 100).astype(np.uint8), (60, 1))
    image = Image.fromarray(np.stack([ramp] * 3, 2))
    widths = []
    for _ in range(200):
        found = np.asarray(random_resized_crop(image, rng, 24)).astype(float)
        assert found.shape == (24, 24, 3)
        widths.append((found[0, -1, 0] - found[0, 0, 0]) / 255)
    # The picture is wider than 4:3, so all that fits is about four thirds of its height.
    assert min(widths) > 0.6
    assert max(widths) < 0.95
    square = image.resize((64, 64))
    crops = {np.asarray(random_resized_crop(square, rng, 16)).tobytes() for _ in range(20)}
    assert len(crops) > 10


def test_bad_samples_of_all_processes_are_counted_once_and_a_new_run_counts_anew(
    tmp_path: Path, inputs: Path, data: Path
) -> None:
    folder = tmp_path / "run"
    claim_run_folder(folder)
    stale = json.dumps({"source": "captions.tsv", "key": "stale:1", "reason": "of an earlier run"}) + "\n"
    (folder / "quarantine.jsonl").write_text(stale)
    (folder / "quarantine-1.jsonl").write_text(stale)
    values = pretrain_values(folder, inputs, data, run={"steps": 4, "checkpoint_every": 2})
    values["data"]["test_sources"] = [captions(data)]
    stage = make_stage(build(STAGES["pretrain"], values))
    assert not (folder / "quarantine-1.jsonl").exists()
    own = (
        json.dumps({"source": "captions.tsv", "key": key, "reason": "-"})
        for key in ("captions.tsv:14", "captions.tsv:2")
    )
    (folder / "quarantine-1.jsonl").write_text("\n".join(own) + "\n")  # as a second process would
    result = train(stage, build(STAGES["pretrain"], values))
    assert "stale" not in (folder / "quarantine.jsonl").read_text()
    assert json.loads((result.export / "training.json").read_text())["bad_samples"] == {"captions.tsv": 2}
    make_stage(build(STAGES["pretrain"], values))  # goes on, so the lists stay
    assert "captions.tsv:14" in (folder / "quarantine.jsonl").read_text()
    assert (folder / "quarantine-1.jsonl").exists()


def documented_line(option: str) -> list[str]:
    """The words of the line in docs/any-llm.md that has ``option``."""
    text = (Path(__file__).parents[2] / "docs" / "any-llm.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("imagebind-llm ") and option in line)
    return shlex.split(line, comments=True)[1:]


def test_the_documented_line_trains_a_model_made_by_new(
    tmp_path: Path,
    inputs: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As it stands in docs/any-llm.md, on the shipped template; only smaller."""
    from imagebind_llm.cli import main

    def run_line(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main(list(words))
        told = capsys.readouterr()
        return int(left.value.code or 0), told.out + told.err

    shutil.copytree(Path(__file__).parents[2] / "recipes", tmp_path / "recipes")
    shutil.copytree(data, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    parts = ["--llm", str(language_folder(inputs)), "--encoder", str(encoder_folder(inputs))]
    code, told = run_line("new", *parts, "--out", "my-model")
    assert code == 0, told
    line = documented_line("train pretrain")
    own = ["model=my-model", "encoder=null", "language_model=null"]
    assert line == ["train", "pretrain", "recipes/any-llm.yaml", *own]
    small = ["run.steps=2", "run.batch_size=2", "run.accumulate=1", "row_length=48", "data.max_bad_share=0.5"]
    code, told = run_line(*line, *small)
    assert code == 0, told
    assert (tmp_path / "runs/any-llm/pretrain/export/config.json").is_file()


def test_samples_ask_every_turn_and_name_what_was_shown(tmp_path: Path, inputs: Path, data: Path) -> None:
    first = run("pretrain", pretrain_values(tmp_path / "one", inputs, data, run={"steps": 1}))
    values = finetune_values(tmp_path / "two", first.export, data)
    values["data"]["test_sources"] = values["data"]["sources"]
    stage = make_stage(build(STAGES["finetune"], values)).eval()
    with torch.no_grad():
        found = {sample.about: sample for sample in stage.samples(20)}
    talks = {about: sample for about, sample in found.items() if about.startswith("talks.json:")}
    assert talks
    for sample in talks.values():
        asked = [turn.question for turn in sample.turns]
        assert [words.split()[-1] for words in asked] == ["?", "twice"]
        once, twice = (turn.expected for turn in sample.turns)
        colour = once.removeprefix("it is ")
        assert colour in COLOURS
        assert twice == f"{colour} {colour}"
    assert any(about.startswith("texts.json:") and about.endswith("(text only)") for about in found)
    from imagebind_llm.training.report import write_samples

    write_samples(tmp_path, 7, list(talks.values())[:1])
    page = (tmp_path / "step-00000007.md").read_text()
    assert "## 1: talks.json:" in page
    assert page.index("**answer**") < page.index("**question 2**") < page.index("**answer 2**")


def test_a_run_without_held_out_data_says_so(
    tmp_path: Path, inputs: Path, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "imagebind_llm")
    values = pretrain_values(tmp_path / "one", inputs, data)
    make_stage(build(STAGES["pretrain"], values))
    assert "no data.test_sources: nothing is evaluated" in caplog.text
    caplog.clear()
    values["data"]["test_sources"] = [captions(data)]
    make_stage(build(STAGES["pretrain"], values))
    assert "test_sources" not in caplog.text


def test_pretraining_that_sees_nothing_is_warned_about(
    tmp_path: Path, inputs: Path, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = {"sources": [{"kind": "alpaca", "path": str(data / "texts.json")}]}
    run("pretrain", pretrain_values(tmp_path / "short", inputs, data, run={"steps": 2}, data=text))
    assert caplog.text.count("none of the first 16 examples shows a picture") == 1
    caplog.clear()
    run("pretrain", pretrain_values(tmp_path / "long", inputs, data, run={"steps": 40}, data=text))
    assert caplog.text.count("none of the first 256 examples shows a picture") == 1
    caplog.clear()
    run("pretrain", pretrain_values(tmp_path / "seeing", inputs, data, run={"steps": 2}))
    assert "shows a picture" not in caplog.text


def test_an_interrupted_run_says_how_to_go_on(
    tmp_path: Path, inputs: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from typer.testing import CliRunner

    from imagebind_llm.cli.train import app
    from imagebind_llm.training.align import Pretrain

    usual = Pretrain.batch

    def batch(self: Pretrain, index: int) -> Any:
        if index == 2:
            signal.raise_signal(signal.SIGTERM)
        return usual(self, index)

    monkeypatch.setattr(Pretrain, "batch", batch)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(pretrain_values(tmp_path / "run", inputs, data)))
    done = CliRunner().invoke(app, ["pretrain", str(recipe)])
    assert done.exit_code == 128 + signal.SIGTERM
    assert "stopped at step 3 of 6, saved in " in done.stdout
    assert "step-00000003; run the same command again to go on" in done.stdout
    assert "export" not in done.stdout
    monkeypatch.undo()
    done = CliRunner().invoke(app, ["pretrain", str(recipe), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["export"] == str(tmp_path / "run" / "export")


def test_a_cleaned_source_is_a_path_in_a_recipe(tmp_path: Path, inputs: Path, data: Path) -> None:
    cleaned = tmp_path / "source.yaml"
    cleaned.write_text(yaml.safe_dump({"kind": "tsv", "path": str(data / "captions.tsv"), "name": "cleaned"}))
    values = pretrain_values(tmp_path / "run", inputs, data)
    values["data"]["sources"] = [{"kind": "tsv", "path": str(cleaned), "weight": 2}]
    assert list(make_stage(build(STAGES["pretrain"], values)).data_fingerprints()) == ["cleaned"]


def test_tokens_of_the_encoder_are_learnt_from_pictures_not_from_embeddings(
    tmp_path: Path, inputs: Path, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from imagebind_llm.data.embed.run import embed_sources
    from imagebind_llm.data.embed.shard import Job
    from imagebind_llm.data.sources import SourceSettings
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

    asked = {"bind": {"encoder_tokens": 2}, "injection": {"style": "value", "gate_std": 0.5}}
    values = pretrain_values(tmp_path / "one", inputs, data, run={"steps": 3}, **asked)
    stage = make_stage(build(STAGES["pretrain"], values)).eval()
    assert stage.conditions(stage.batch(0)).shape[1:] == (3, 10)
    before = stage.model.bind.project_tokens.weight.clone()
    export = run("pretrain", values).export
    assert "has tokens" not in caplog.text
    after = ImageBindLLMForConditionalGeneration.from_pretrained(export).bind.project_tokens.weight
    assert not torch.equal(before, after)
    assert run("finetune", finetune_values(tmp_path / "two", export, data)).finished
    clean = tmp_path / "clean.tsv"
    clean.write_text("\n".join((data / "captions.tsv").read_text().splitlines()[:-1]) + "\n")
    raw = SourceSettings(kind="tsv", path=str(clean), root=str(data))
    embed_sources(
        Job((raw,), str(encoder_folder(inputs)), device="cpu"), tmp_path / "embedded", progress=False
    )
    source = {"sources": [{"kind": "embedded", "path": str(tmp_path / "embedded")}]}
    run("pretrain", pretrain_values(tmp_path / "three", inputs, data, run={"steps": 2}, data=source, **asked))
    assert caplog.text.count("the first 16 examples bring no medium that has tokens") == 1
