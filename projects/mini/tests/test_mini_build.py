"""All steps of mini with tiny parts of random weights, one after another in this process."""

import importlib
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from PIL import Image
from safetensors import safe_open
from support.llm_folders import run_cli, write_llm
from support.tiny_backbones import write_bert, write_efficientnet, write_whisper
from test_mini_data import SMOL
from transformers import AutoModelForCausalLM, AutoTokenizer

from imagebind_llm import Assistant
from imagebind_llm.cache import VisualCache
from imagebind_llm.common.folders import MARK
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
from mini_lab import bundle, flickr, sounds
from mini_lab.build import SHARE, Plan, steps
from mini_lab.together import BACKBONES, LANGUAGE_MODEL

RECIPES = Path(__file__).parents[3] / "recipes" / "mini"
COLOURS = ("red", "green", "blue", "white", "black", "yellow")
CLASSES = 12
PICTURED = {
    animal: ((number, number, name, name),)
    for number, (animal, name) in enumerate((("cat", "tabby"), ("frog", "tree frog"), ("cow", "ox")))
}
SETTINGS = ("run.steps=2", "run.batch_size=4", "run.samples=1", "evaluate_items=2")


def write_parts(folder: Path) -> None:
    write_efficientnet(folder / BACKBONES["image"], classes=CLASSES)
    write_bert(folder / BACKBONES["text"])
    write_whisper(folder / BACKBONES["audio"])
    tokenizer = AutoTokenizer.from_pretrained(write_llm(folder / LANGUAGE_MODEL))
    tokenizer.chat_template = SMOL
    tokenizer.save_pretrained(folder / LANGUAGE_MODEL)
    for part in folder.iterdir():
        (part / "source.json").write_text("{}")


def write_data(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for split in flickr.SPLITS:
        rows = []
        for number, colour in enumerate(COLOURS):
            stream = io.BytesIO()
            Image.new("RGB", (16, 16), colour).save(stream, "PNG")
            image = {"bytes": stream.getvalue(), "path": "x.png"}
            said = [f"a {colour} square .", f"it is {colour}"]
            rows.append({"image": image, "captions": said, "file": f"{split}-{number}.png"})
        (folder / "flickr8k").mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / "flickr8k" / f"{split}.parquet")
    for name, labels in (("animals", ("cat", "frog")), ("animals_extra", ("cow", "donkey"))):
        (folder / name).mkdir()
        for split in ("train", "test"):
            rows = []
            for label in labels:
                stream = io.BytesIO()
                soundfile.write(stream, rng.uniform(-0.5, 0.5, 8000), 16_000, format="FLAC")
                rows.append({"audio": {"bytes": stream.getvalue(), "path": "x.flac"}, "label": label})
            pq.write_table(pa.Table.from_pylist(rows), folder / name / f"{split}.parquet")


def write_fetched(folder: Path) -> dict[str, Path]:
    words, furniture = folder / "words", folder / "furniture"
    words.mkdir(parents=True)
    (words / "classes.jsonl").write_text("".join(json.dumps(one) + "\n" for one in classes()))
    furniture.mkdir()
    rng, rows = np.random.default_rng(1), []
    for number in range(10):
        np.save(furniture / f"{number}.npy", rng.normal(size=(600, 3)).astype(np.float32))
        Image.new("RGB", (16, 16), COLOURS[number % 6]).save(furniture / f"{number}.png")
        row = {"point": f"{number}.npy", "image": f"{number}.png", "captions": ["Bed"], "category": "Bedroom"}
        rows.append(json.dumps(row) + "\n")
    (furniture / "points.jsonl").write_text("".join(rows))
    return {"imagenet-words": words, "sweet-home": furniture}


def classes():
    """Twelve classes of three kinds; three are of an animal."""
    names = ["tabby", "tree frog", "ox", *(f"thing{number}" for number in range(3, CLASSES))]
    return [
        {
            "index": number,
            "names": [name],
            "gloss": "a thing",
            "more_general": [{"wnid": "n1", "steps": 1, "names": [f"kind{number % 3}"]}],
        }
        for number, name in enumerate(names)
    ]


def run(step, monkeypatch) -> int:
    if step.module == "imagebind_llm":
        alone = ("--workers", "1") if step.name == "embedded" else ()
        return run_cli(*step.arguments, *alone)
    monkeypatch.setattr(sys, "argv", [step.module, *step.arguments])
    with pytest.raises(SystemExit) as leaving:
        importlib.import_module(step.module).main()
    return int(leaving.value.code or 0)


def check_language(folder, language_model):
    """Trained on pictures, it reads what is not about a picture as its language model does."""
    model = ImageBindLLMForConditionalGeneration.from_pretrained(folder)
    plain = AutoModelForCausalLM.from_pretrained(language_model, dtype=model.dtype).eval()
    updates = [p for name, p in model.named_parameters() if "lora_B" in name]
    assert updates
    assert all(bool(update.any()) for update in updates)
    ids = torch.randint(3, plain.config.vocab_size, (2, 9))
    with torch.no_grad():
        assert torch.equal(model(ids).logits, plain(ids).logits)
        shown = model(ids, conditions=torch.randn(1, model.config.embedding_dim)).logits
    assert not torch.allclose(shown, plain(ids).logits)


def test_from_parts_to_a_model_that_answers(tmp_path, monkeypatch, capsys):
    write_parts(tmp_path / "parts")
    write_data(tmp_path / "data")
    recipes = tmp_path / "recipes"
    shutil.copytree(RECIPES, recipes)
    encoder = (recipes / "encoder.yaml").read_text()
    (recipes / "encoder.yaml").write_text(encoder.replace("context: 64", "context: 20"))
    monkeypatch.setattr(sounds, "PICTURED", PICTURED)
    runs = tmp_path / "runs"
    fetched = write_fetched(tmp_path / "fetched")
    plan = Plan(tmp_path / "data", tmp_path / "parts", recipes, runs, SETTINGS, 10, fetched=fetched)
    for step in steps(plan):
        assert run(step, monkeypatch) == 0, (step.name, capsys.readouterr().err[-2000:])
        assert step.done is None or step.done.exists(), step.name

    check_language(runs / "finetune" / "export", tmp_path / "parts" / LANGUAGE_MODEL)
    trained = runs / "trained"
    size = bundle.write(trained, runs / "embedded", tmp_path / "bundle", 4)
    found = [path for path in (tmp_path / "bundle").rglob("*") if path.is_file() and path.name != MARK]
    assert sum(path.stat().st_size for path in found) == size
    assert VisualCache.load(tmp_path / "bundle" / "adapter" / "cache").size == 4
    for file in trained.rglob("*"):
        if file.is_file() and file.name != MARK:
            kept = tmp_path / "bundle" / file.relative_to(trained)
            assert (kept.read_bytes(), kept.stat().st_mode & 0o777) == (file.read_bytes(), 0o644)
    assert sorted(path.name for path in trained.iterdir() if path.is_dir()) == ["adapter", "heads"]
    for file in trained.rglob("*"):
        if file.suffix == ".safetensors":
            with safe_open(file, "pt") as opened:
                assert {opened.get_tensor(name).dtype for name in opened.keys()} <= {  # noqa: SIM118
                    torch.float16,
                    torch.int64,
                }
        elif file.is_file():
            assert str(tmp_path) not in file.read_text(encoding="utf-8"), file

    (tmp_path / "parts").rename(tmp_path / "elsewhere")
    (runs / "heads").rename(runs / "no-heads")
    bot = Assistant.from_pretrained(runs / "model")
    assert bot.cache is not None
    assert bot.model.config.lora["scale"] == SHARE
    picture = next((runs / "captioned" / "pictures").iterdir())
    answer = bot.ask("What is this?", image=str(picture), max_new_tokens=4)
    assert answer.prompt_tokens == len("user\nWhat is this?\nassistant\n") + 3
    chair = str(fetched["sweet-home"] / "1.npy")
    sound = str(next((runs / "sounds" / "files").iterdir()))
    assert bot.embed(point=chair).shape == bot.embed(audio=sound).shape == bot.embed(text="a bed").shape
