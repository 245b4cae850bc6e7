"""The model card of any export: what the configuration says, and what an evaluation measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.files import read_json
from imagebind_llm.common.locate import HUB_ID, NANO, nano_folder

if TYPE_CHECKING:
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration


@dataclass(frozen=True)
class Comparison:
    """Logits before and after, on random tokens with and without conditions.

    Attributes:
        largest: largest absolute difference of a logit.
        spread: standard deviation of the logits before.
        agreement: share of positions with the same likeliest token.
        allowed: largest difference that would have passed.
    """

    largest: float
    spread: float
    agreement: float
    allowed: float


_STAGES = {
    "base": "untrained: bind network and gates are as they were initialised",
    "pretrain": "pre-trained on image–text pairs; not yet taught to follow instructions",
    "finetune": "fine-tuned to follow instructions",
}
_FORMS = {
    "adapter": "only what training changed; the language model and the encoder it was trained on are loaded "
    "from where they are, and others are refused by their fingerprints",
    "full": "everything needed to run it",
    "merged": "everything needed to run it, with the low-rank updates folded into the weights",
}


class CardSection(NamedTuple):
    """What a model card says of results.

    Attributes:
        markdown: text with tables.
        entries: those of the hub's ``model-index``.
        languages: languages that were asked in.
    """

    markdown: str
    entries: Sequence[Mapping[str, Any]] = ()
    languages: Sequence[str] = ()


class Evaluation(NamedTuple):
    """What an evaluation measured, for the card.

    Attributes:
        results: as its ``results.json`` holds them; ``results["model"]["fingerprints"]`` says of which model.
        section: what the card says of them.
    """

    results: Mapping[str, Any]
    section: CardSection


def check_results(results: Mapping[str, Any], fingerprints: Mapping[str, Any], where: str) -> None:
    """Refuse an evaluation of another model.

    Raises:
        UserError: naming both fingerprints.
    """
    for part in ("encoder", "language_model"):
        measured, ours = results["model"]["fingerprints"].get(part), fingerprints.get(part)
        if None not in (measured, ours) and measured != ours:
            raise UserError(
                f"the results were measured on a model whose {part.replace('_', ' ')} is {measured}, that of "
                f"{where!r} is {ours}; evaluate this one: imagebind-llm eval "
                f"{results.get('task', 'SUITE')} --model {where}"
            )


def card(
    model: "ImageBindLLMForConditionalGeneration",
    form: str,
    name: str,
    evaluation: Evaluation | None = None,
    cache_folder: Path | None = None,
    licence: str | None = None,
    comparison: Comparison | None = None,
) -> str:
    """Markdown with the YAML front matter that the hub reads.

    Args:
        model: as it is about to be saved.
        form: ``"adapter"``, ``"full"`` or ``"merged"``.
        name: of the model.
        evaluation: of this model.
        cache_folder: the visual cache that goes along.
        licence: as the hub writes it; ``None``: ``other``, with nano's parts for research only.
        comparison: of a merged model with the one before.
    """
    matter = front_matter(model, name, evaluation, licence)
    parts = [f"---\n{yaml.safe_dump(matter, sort_keys=False, allow_unicode=True, width=100)}---\n"]
    parts.append(f"# {name}\n")
    parts.append(
        "A language model that answers questions about "
        f"{_listed(_modalities(model))}, made with `imagebind-llm` after *ImageBind-LLM: Multi-modality "
        "Instruction Tuning* (arXiv 2309.03905). What is seen or heard reaches it as one vector, added to "
        "every token; it costs no token of the context.\n"
    )
    parts.append(
        '```\npip install "imagebind-llm @ git+<repository url>"\n'
        f'imagebind-llm ask "What is this?" --image photo.jpg --model {name}\n'
        f"imagebind-llm doctor {name}\n```\n"
    )
    rows = _facts(model, form, cache_folder, comparison)
    parts.append("\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())]))
    parts.append(_evaluation(evaluation))
    parts.append(
        "\n## Limits\n\nOne vector carries the gist of what is seen, not counts, positions or written words. "
        "Other modalities than images are understood only as far as the encoder binds them to images. "
        "Answers can be wrong; do not use them for decisions that matter.\n"
    )
    parts.append("\n## Licences\n\n" + _licences(model, matter["license"]) + "\n")
    return "\n".join(parts)


def front_matter(
    model: "ImageBindLLMForConditionalGeneration",
    name: str,
    evaluation: Evaluation | None,
    licence: str | None,
) -> dict[str, Any]:
    """What the hub's search and widgets read."""
    own = licence or "other"
    values: dict[str, Any] = {"license": own}
    if own == "other":
        values["license_name"] = "research-only" if _is_nanos(model) else "that-of-its-parts"
    bases = [
        str(found["id"])
        for found in model.config.base_models.values()
        if found and HUB_ID.match(str(found.get("id", "")))
    ]
    if bases:
        values["base_model"] = bases
    section = None if evaluation is None else evaluation.section
    if section is not None and section.languages:
        values["language"] = sorted(section.languages)
    values["library_name"] = "imagebind-llm"
    values["pipeline_tag"] = "any-to-any"
    values["tags"] = ["imagebind", "multimodal", *_modalities(model), model.config.text_config.model_type]
    if section is not None and section.entries:
        values["model-index"] = [{"name": name, "results": [dict(entry) for entry in section.entries]}]
    return values


def _facts(
    model: "ImageBindLLMForConditionalGeneration",
    form: str,
    cache_folder: Path | None,
    comparison: Comparison | None,
) -> dict[str, str]:
    from imagebind_llm.checkpoints.checks import parameter_count
    from imagebind_llm.model.bind import vectors_of

    config = model.config
    text = config.text_config
    sizes = {
        part: parameter_count(module)
        for part, module in (
            ("language model", model.language_model),
            ("encoder", model.encoder),
            ("bind network", model.bind),
            ("injection", model.injection),
        )
        if module is not None
    }
    rows = {
        "holds": _FORMS[form],
        "stage": _STAGES[config.stage],
        "language model": f"{text.model_type}, {text.num_hidden_layers} layers of width {text.hidden_size}",
        "its fingerprint": f"`{config.fingerprints['language_model']}`",
        "encoder": "none: it is given embeddings"
        if config.encoder_config is None
        else f"{config.encoder_config.get('type', 'imagebind')}, {config.embedding_dim} dimensions",
        "its fingerprint ": f"`{config.fingerprints['encoder']}`",
        "injection": f"style {config.injection['style']}, {len(model.injection.layers)} layers"
        + ("" if vectors_of(config.bind) == 1 else f", {vectors_of(config.bind)} tokens a condition"),
        "low-rank updates": _updates(config.lora),
        "parameters": f"{sum(sizes.values()):,} ("
        + ", ".join(f"{part} {count:,}" for part, count in sizes.items())
        + ")",
        "precision": ", ".join(
            sorted({str(p.dtype).removeprefix("torch.") for p in model.language_model.parameters()})
        ),
    }
    for part, found in config.base_models.items():
        if found:
            revision = f" at `{found['revision']}`" if found.get("revision") else ""
            rows[f"base: {part.replace('_', ' ')}"] = f"`{found['id']}`{revision}"
    if cache_folder is not None:
        from imagebind_llm.cache.folder import CacheManifest

        manifest = CacheManifest.read(cache_folder)
        rows["visual cache"] = f"{manifest.count:,} pictures, {manifest.kind}"
    if comparison is not None:
        rows["merging changed logits by"] = (
            f"at most {comparison.largest:.2g} (their spread is {comparison.spread:.2g}); the likeliest "
            f"token is the same at {comparison.agreement:.1%} of positions"
        )
    return rows


def _updates(lora: Mapping[str, Any] | None) -> str:
    if lora is None:
        return "none"
    return f"rank {lora['rank']}" + ("" if lora["tokens"] == "all" else ", on tokens that see a condition")


def _evaluation(evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return "\n\n## Evaluation\n\nNone was recorded with this export.\n"
    return "\n\n## Evaluation\n\n" + evaluation.section.markdown


def _licences(model: "ImageBindLLMForConditionalGeneration", own: str) -> str:
    if _is_nanos(model):
        stated = "for research only" if own == "other" else own
        return f"Weights: {stated}. Some of the data that nano was trained on allow no more: see nano's card."
    kind = (model.config.encoder_config or {}).get("type", "imagebind")
    encoder = {
        "imagebind": "The published ImageBind weights are CC-BY-NC-SA-4.0: no commercial use. An ImageBind "
        "trained by yourself is yours.",
        "pe_av": "The published PE-AV weights are Apache-2.0.",
        "towers": "The encoder holds pretrained backbones; the licence of each applies.",
    }.get(kind, "")
    said = "" if own == "other" else f"Stated for this model: {own}. "
    return (
        f"{said}The licences of the language model and of the encoder apply to what contains them. {encoder}"
    )


def _is_nanos(model: "ImageBindLLMForConditionalGeneration") -> bool:
    """Whether the encoder is the one of the model in this package."""
    config = nano_folder() / "config.json"
    if not config.is_file():
        return False
    nano = read_json(config)["fingerprints"]["encoder"]
    named = {str((found or {}).get("id")) for found in model.config.base_models.values()}
    recorded = model.config.fingerprints["encoder"]
    return (
        recorded is not None
        and recorded == nano
        and (NANO in named or not any(model.config.base_models.values()))
    )


def _modalities(model: "ImageBindLLMForConditionalGeneration") -> list[str]:
    encoder: Any = model.encoder
    return [] if encoder is None else sorted(modality.value for modality in encoder.modalities)


def _listed(names: list[str]) -> str:
    return "embeddings" if not names else ", ".join(names[:-1]) + (" and " if names[1:] else "") + names[-1]
