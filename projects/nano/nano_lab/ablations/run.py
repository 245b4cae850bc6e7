"""Run the variants: train what is missing by the package's own recipes, ask each the same questions.

Everything lies in one folder. A training run goes on where it stopped; a variant whose answers are there is
not asked again, unless the questions or its recipe have changed.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import atomic_write
from imagebind_llm.evaluation.provenance import environment
from nano_lab.ablations.inputs import (
    Budget,
    Inputs,
    decoder_layers,
    gather_inputs,
    write_recipes,
)
from nano_lab.ablations.plan import Group, Variant, check_names, chosen, groups
from nano_lab.world.tables import check_tables

SCHEMA = 1

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Questions:
    """How many items of each sense, questions without media, and the seed of both."""

    items: int = 60
    text: int = 60
    seed: int = 0


def run_ablations(
    data: Path,
    out: Path,
    model: Path,
    *,
    encoder: Path | None = None,
    language_model: Path | None = None,
    budget: Budget | None = None,
    asked: Questions | None = None,
    seeds: Sequence[int] = (0,),
    only: Sequence[str] = (),
) -> dict[str, Any]:
    """Run all comparisons and return their results as plain values (``results.json`` of ``out``).

    Args:
        data: folder of nano's data sets.
        out: everything is written here; the same folder goes on.
        model: a whole model folder with a cache: the cache is tried on it, and it gives the encoder and the
            language model that are not named.
        encoder: encoder folder that all training variants use.
        language_model: the language model before any multi-modal training.
        budget: of each training variant.
        asked: how much is asked.
        seeds: each training variant is run once for each. All fine-tuning starts from seed 0's pre-training.
        only: keys of the comparisons to run.

    Raises:
        UserError: an input cannot be used, or ``out`` holds runs of another budget.
    """
    budget, asked = budget or Budget(), asked or Questions()
    check_names(only)
    check_tables(data)
    # As they are written into the recipes: another way to write the same folder makes no other run.
    data, out, model = data.absolute(), out.absolute(), model.absolute()
    encoder = encoder.absolute() if encoder and encoder.exists() else encoder
    language_model = language_model and language_model.absolute()
    inputs = gather_inputs(data, model, encoder, language_model, out)
    found = chosen(groups(decoder_layers(inputs.language_model)), only)
    recipes = write_recipes(inputs, budget, out)
    runner = _Runner(inputs, recipes, asked, out)
    start = time.perf_counter()
    results = [runner.group(group, seeds if group.kind != "cache" else (0,)) for group in found]
    return {
        "schema": SCHEMA,
        "task": "ablations",
        "environment": environment(),
        "settings": {
            "budget": asdict(budget),
            "questions": asdict(asked),
            "seeds": list(seeds),
            "language_model": "as given" if inputs.exact_language_model else "taken out of the model",
        },
        "groups": results,
        "seconds": round(time.perf_counter() - start, 1),
    }


class _Runner:
    """Runs one variant after the other, each once however many groups it is in."""

    def __init__(self, inputs: Inputs, recipes: dict[str, Path], asked: Questions, out: Path) -> None:
        self.inputs, self.recipes, self.asked, self.out = inputs, recipes, asked, out

    def group(self, group: Group, seeds: Sequence[int]) -> dict[str, Any]:
        """The variants of a group with their single runs."""
        variants = []
        for variant in group.variants:
            run = self._ask_cached if group.kind == "cache" else self._train_and_ask
            runs = [run(group, variant, seed) for seed in seeds]
            variants.append(
                {
                    "name": variant.name,
                    "overrides": list(variant.overrides),
                    "cache": variant.cache,
                    "runs": runs,
                }
            )
            logger.info("%s: %s done", group.title, variant.name)
        return {"key": group.key, "title": group.title, "kind": group.kind, "arms": variants}

    # --- training variants

    def _train_and_ask(self, group: Group, variant: Variant, seed: int) -> dict[str, Any]:
        if group.kind == "finetune":  # all start from the published pre-training
            self._train("pretrain", Variant("published"), 0)
        export, overrides, seconds = self._train(group.kind, variant, seed)

        def ask() -> dict[str, Any]:
            from nano_lab.ablations.measure import ask_media, ask_text, make_probes

            bot = _open(export)
            naming = group.kind == "finetune"
            tokens = bool(bot.model.bind.encoder_tokens)  # conditions of its own
            probes = make_probes(self.sets, bot, self.asked.seed) if tokens else self.probes
            outcomes: dict[str, Any] = {"media": ask_media(bot, probes, naming)}
            if naming:
                outcomes["text"] = ask_text(bot, self.asked.text, self.asked.seed)
            return outcomes

        folder = export.parent
        identity = {"recipe": (folder / "recipe.yaml").read_text(encoding="utf-8").partition("stage:")[2]}
        found = self._remembered(folder / "answers.json", identity, ask)
        command = ["imagebind-llm", "train", group.kind, str(self.recipes[group.kind]), *overrides]
        return {"seed": seed, "command": command, "train_seconds": seconds, **_losses(folder), **found}

    def _train(self, stage: str, variant: Variant, seed: int) -> tuple[Path, list[str], float | None]:
        from imagebind_llm.training.recipe import load_recipe
        from imagebind_llm.training.run import run_recipe

        folder = self.out / stage / variant.key / f"seed-{seed}"
        overrides = [*variant.overrides, f"run.seed={seed}", f"run.folder={json.dumps(str(folder))}"]
        recipe = load_recipe(stage, self.recipes[stage], overrides)
        _refuse_other(folder, stage, recipe)
        before, start = (folder / "export").is_dir(), time.perf_counter()
        result = run_recipe(recipe)
        if result.signal is not None:
            raise KeyboardInterrupt
        seconds = None if before else round(time.perf_counter() - start, 1)
        return result.export, overrides, seconds

    @cached_property
    def sets(self) -> list[Any]:
        """Test media, loaded once."""
        from nano_lab.ablations.measure import read_sets

        return read_sets(self.inputs.data, _open(self.inputs.model), self.asked.items, self.asked.seed)

    @cached_property
    def probes(self) -> list[Any]:
        """The test media under the encoder of the training variants."""
        from nano_lab.ablations.measure import make_probes

        export = self.out / "pretrain" / "published" / "seed-0" / "export"
        if not export.is_dir():
            self._train("pretrain", Variant("published"), 0)
        return make_probes(self.sets, _open(export), self.asked.seed)

    # --- cache variants: nothing is trained

    @cached_property
    def _finished(self) -> tuple[Any, list[Any]]:
        """The finished model, and the test media under its encoder."""
        from nano_lab.ablations.measure import make_probes

        bot = _open(self.inputs.model, cache=True)
        if bot.cache is None:
            raise UserError(
                f"{self.inputs.model} has no cache; give another --model, or --only the other groups"
            )
        return bot, make_probes(self.sets, bot, self.asked.seed)

    def _ask_cached(self, group: Group, variant: Variant, seed: int) -> dict[str, Any]:
        from nano_lab.ablations.measure import ask_media, with_cache

        def ask() -> dict[str, Any]:
            bot, probes = self._finished
            return {"media": ask_media(bot, with_cache(bot, probes, variant.cache), naming=True)}

        name = (
            "off"
            if variant.cache is None
            else "-".join(f"{key}-{value:g}" for key, value in variant.cache.items())
        )
        identity = {
            "data": str(self.inputs.data),
            "model": str(self.inputs.model),
            "stamp": _stamp(self.inputs.model),
            "cache": variant.cache,
        }
        return {"seed": seed, **self._remembered(self.out / "cache" / f"{name}.json", identity, ask)}

    def _remembered(self, file: Path, identity: Any, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The outcomes in ``file`` if they answer the same questions, else new ones."""
        identity = {"questions": asdict(self.asked), "about": identity}
        if file.is_file():
            kept = json.loads(file.read_text(encoding="utf-8"))
            if kept.get("identity") == identity:
                return {"outcomes": kept["outcomes"]}
        outcomes = ask()
        with atomic_write(file) as temporary:
            temporary.write_text(json.dumps({"identity": identity, "outcomes": outcomes}), encoding="utf-8")
        return {"outcomes": outcomes}


def _open(folder: Path, cache: bool = False) -> Any:
    from imagebind_llm.inference.assistant import Assistant

    return Assistant.from_pretrained(folder, cache=cache, device="cpu")


def _refuse_other(folder: Path, stage: str, recipe: Any) -> None:
    """A finished run is not looked at by ``run_recipe``, so its recipe is compared here."""
    from imagebind_llm.training.recipe import load_recipe

    if not (folder / "export").is_dir():
        return
    before = load_recipe(stage, folder / "recipe.yaml")
    if before != recipe:
        raise UserError(
            f"{folder} was made with other settings (steps, pictures, inputs …); use another --out"
        )


def _losses(folder: Path) -> dict[str, Any]:
    """Training loss at the first step and over the last tenth, and on held-out images with new phrasings."""
    from imagebind_llm.training.report import read_metrics

    losses = [line["loss"] for line in read_metrics(folder / "metrics.jsonl") if "loss" in line]
    last = losses[-max(1, len(losses) // 10) :]
    found = json.loads((folder / "export" / "training.json").read_text(encoding="utf-8"))
    return {
        "first_loss": losses[0],
        "last_loss": round(sum(last) / len(last), 5),
        "held_out_loss": found.get("eval/loss_new"),
    }


def _stamp(folder: Path) -> list[Any]:
    """Size and time of the weights, so that a model made anew is asked anew."""
    return [
        [file.name, os.stat(file).st_size, os.stat(file).st_mtime_ns]
        for file in sorted(folder.glob("*.safetensors"))
    ]
