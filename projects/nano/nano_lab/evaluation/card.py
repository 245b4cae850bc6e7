"""The model card: a README for the Hugging Face hub, written from the results of an evaluation."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import yaml

from imagebind_llm.checkpoints.card import CardSection
from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import atomic_write
from imagebind_llm.evaluation.report import points, table
from nano_lab.evaluation import card_text, tables

SCHEMA = 1
_PARTS = (
    "model", "environment", "settings", "class_means", "senses", "strange", "strange_total", "mixtures",
    "wordings", "kinds", "dialogs", "text", "no_media", "targets", "seconds",
)  # fmt: skip


def read_results(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read ``results.json`` of ``eval nano``.

    Raises:
        UserError: it is missing, not JSON, of another schema or incomplete.
    """
    name = os.fspath(path)
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"cannot read {name!r} ({error.strerror}); make it with: imagebind-llm eval nano"
        ) from None
    except ValueError as error:
        raise UserError(f"{name!r} is not JSON ({error}); run imagebind-llm eval nano again") from None
    schema = values.get("schema") if isinstance(values, dict) else None
    if schema != SCHEMA:
        raise UserError(
            f"{name!r} has schema {schema!r}; expected {SCHEMA}; run imagebind-llm eval nano again"
        )
    missing = [part for part in _PARTS if part not in values]
    if missing:
        raise UserError(f"{name!r} lacks {', '.join(missing)}; run imagebind-llm eval nano again")
    return dict(values)


def write_card(results: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the card, all or nothing."""
    with atomic_write(path) as temporary:
        temporary.write_text(model_card(results), encoding="utf-8")


def model_card(results: Mapping[str, Any]) -> str:
    """The card as Markdown with YAML front matter."""
    environment, settings = results["environment"], results["settings"]
    versions = ", ".join(f"{name} {found}" for name, found in environment["versions"].items())
    caps = settings["caps"]
    parts = [
        f"---\n{_front_matter(results)}---\n",
        Template(card_text.INTRODUCTION).substitute(facts=_facts(results["model"])),
        card_text.USE,
        "## Results\n",
        "Test splits; shares in per cent with 95 % intervals. An answer counts when it names the true label "
        "and no other. Asked in English, in phrasings that training never used. *Encoder alone* is the "
        f"nearest mean of {results['class_means']}: about the best that the language model could do with its "
        "embedding. *Shuffled* is the control: the same questions about another item's embedding.\n",
        tables.senses_table(results),
        "### The project's targets, at the default settings\n",
        tables.targets_table(results),
        "### Cache on or off\n",
        cache_advice(results),
        "### Far-off input\n",
        "Noise, emptiness and strangers. Right is doubt (“I am not sure what this is.”); *invents* is the "
        "share of answers, at the default setting, that name something nonetheless.\n",
        tables.strange_table(results),
        "### Mixtures\n",
        "One vector for two things, half and half; right is naming both and nothing else.\n",
        tables.mixtures_table(results),
        "### Languages and phrasings\n",
        tables.wordings_table(results),
        "### Other questions, dialogs, text alone\n",
        "Unseen phrasings, half in Chinese; senses in turn; dialogs with the model's own earlier answers.\n",
        tables.skills_table(results),
        card_text.CAUTIONS,
        Template(card_text.REPRODUCE).substitute(
            seed=settings["seed"],
            items="" if caps["recordings"] is None else f" --items {caps['recordings']}",
            commit=environment["commit"] or "unknown",
            versions=versions,
        ),
    ]  # fmt: skip
    return "\n".join(parts)


def cache_advice(results: Mapping[str, Any]) -> str:
    """Which setting is the default for which modality, and what the difference on the test set says."""
    used = results["model"]["cache"]
    lines = []
    if results["model"]["cache_pictures"] is None:
        return "This model was evaluated without a cache.\n"
    on = ", ".join(used["modalities"]) or "none"
    mixtures = (
        "A mixture uses it when one of its parts does."
        if used["mixtures"]
        else "Mixtures do not use it: it would pull them to one of their parts."
    )
    lines.append(
        f"By default the cache ({results['model']['cache_pictures']:,} training pictures; k = {used['k']}, "
        f"temperature {used['temperature']:g}, weight {used['weight']:g}) is **on** for {on}, and off for "
        f"all others. {mixtures} What the test sets say:\n"
    )
    rows = []
    for row in results["senses"]:
        difference = row["difference"]
        if difference["low"] > 0:
            says = "on helps"
        elif difference["high"] < 0:
            says = "off is better"
        else:
            says = "no clear difference"
        rows.append([row["name"], row["modality"], row["default"], points(difference), says])
    lines.append(table(["sense", "modality", "default", "on − off, points", "so"], rows))
    return "\n".join(lines)


def _facts(model: Mapping[str, Any]) -> str:
    sizes = model["parameters"]
    rows = {
        "weights": f"sha256 `{model['weights_sha256'] or 'unknown'}`",
        "encoder fingerprint": f"`{model['fingerprints'].get('encoder')}`",
        "language model fingerprint": f"`{model['fingerprints'].get('language_model')}`",
        "parameters": f"{sizes['total']:,} ("
        + ", ".join(f"{name} {count:,}" for name, count in sizes.items() if name != "total")
        + ")",
        "joint space": f"{model['embedding_dim']} dimensions",
        "licence of the weights": "research only; see the data below",
    }
    return "\n".join(f"| {name} | {value} |" for name, value in rows.items()) + "\n"


def index_results(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The senses' accuracies as the hub's ``model-index`` wants them, in per cent."""
    return [
        {
            "task": {"type": "any-to-any", "name": "name the thing"},
            "dataset": {"name": f"{row['name']} ({row['origin']}, test split)", "type": "imagebind-llm/nano"},
            "metrics": [
                {
                    "type": "accuracy",
                    "name": f"accuracy, cache {row['default']}",
                    "value": round(100 * row[f"cache_{row['default']}"]["accuracy"], 2),
                }
            ],
        }
        for row in results["senses"]
    ]


def card_section(results: Mapping[str, Any]) -> CardSection:
    """What the card of an exported model says of nano's evaluation."""
    text = (
        "Test splits of nano's world (`imagebind-llm eval nano`); shares in per cent "
        "with 95 % intervals. *Shuffled* is the control: the same questions about another item's "
        "embedding.\n\n" + tables.senses_table(results) + "\n" + tables.mixtures_table(results)
    )
    asked = results["wordings"]["all"]
    languages = [word for word in ("en", "zh") if f"{word}/heldout" in asked]
    return CardSection(text, index_results(results), languages)


def _front_matter(results: Mapping[str, Any]) -> str:
    values = {
        "license": "other",
        "license_name": "research-only",
        "language": ["en", "zh"],
        "library_name": "imagebind-llm",
        "pipeline_tag": "any-to-any",
        "tags": [
            "imagebind",
            "multimodal",
            "audio",
            "video",
            "point-cloud",
            "depth",
            "thermal",
            "imu",
            "llama",
        ],
        "model-index": [{"name": "nano", "results": index_results(results)}],
    }
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
