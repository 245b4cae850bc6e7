"""One report about any folder: a model, an adapter, an encoder, a cache or a language model."""

from pathlib import Path
from typing import Any

from imagebind_llm.checkpoints import checks
from imagebind_llm.checkpoints.checks import Report
from imagebind_llm.common.errors import CheckpointError, UserError, reason_of
from imagebind_llm.common.files import read_json
from imagebind_llm.common.locate import ADAPTER_FILE, NANO, locate_folder
from imagebind_llm.common.tensor_files import weights_of
from imagebind_llm.model.adaptation import adapter_state_dict, language_model_fingerprint_of
from imagebind_llm.model.bind import vectors_of
from imagebind_llm.model.configuration import read_model_config
from imagebind_llm.model.recorded import fingerprints_in

_CHEAP_BYTES = 10**9
"""Weights up to this size (in half precision) are hashed, and loaded for the self-test, unasked."""
_STAGES = {
    "base": "untrained",
    "pretrain": "pre-trained (image-text alignment; does not follow instructions yet)",
    "finetune": "fine-tuned (follows instructions)",
}


def diagnose(
    name: str, fingerprints: bool | None = None, self_test: bool | None = None, device: str = "auto"
) -> Report:
    """Look at what is called ``name``.

    Args:
        name: ``"nano"``, a folder or a hub id.
        fingerprints: compute them from the weights (streamed, but all are read; an adapter's encoder that is
            no ImageBind is loaded); ``None``: if they are small.
        self_test: load the model and use it; ``None``: if it is small.
        device: of the self-test.

    Raises:
        CheckpointError: there is nothing of that name, or nothing that is known here.
    """
    folder = Path(name).expanduser()
    if name != NANO and (folder / "manifest.json").is_file() and not (folder / "config.json").is_file():
        report = Report(name, "cache")
        checks.check_cache(report, folder, None, None, fingerprints)
        return report
    folder = locate_folder(name)
    values = read_json(folder / "config.json")
    if values.get("model_type") == "imagebind_llm":
        return _model(name, folder, fingerprints, self_test, device)
    from imagebind_llm.encoders.registry import KINDS, encoder_kind

    if any(encoder_kind(kind).recognises(values) for kind in KINDS):
        return _encoder(name, folder, fingerprints, self_test)
    if "model_type" in values:
        return _language_model(name, folder, fingerprints)
    raise CheckpointError(
        f"{str(folder)!r} holds no model, adapter, encoder, cache or language model that is known here; give "
        "the folder with its config.json"
    )


def _model(name: str, folder: Path, fingerprints: bool | None, self_test: bool | None, device: str) -> Report:
    from imagebind_llm.checkpoints.checks import check_tokenizer
    from imagebind_llm.checkpoints.selftest import self_test as run

    adapter = (folder / ADAPTER_FILE).is_file()
    report = Report(name, "adapter" if adapter else "model")
    try:
        config = read_model_config(folder)
        bare = checks.bare_model(config)
    except Exception as error:  # what modules make of odd values has many names
        reason = _reason(error)
        report.find("config.json", f"no model can be built from it: {reason}", "get the file again")
        return report
    text = config.text_config
    counts = checks.parameter_counts(bare)
    report.facts["model"] = {
        "folder": str(folder),
        "stage": config.stage,
        "meaning": _STAGES[config.stage],
        "language_model": f"{text.model_type}, {text.num_hidden_layers} layers of width {text.hidden_size}",
        "encoder": None if config.encoder_config is None else config.encoder_config.get("type", "imagebind"),
        "embedding_dim": config.embedding_dim,
        "injection": f"{config.injection['style']}, {len(bare.injection.layers)} layers"
        + ("" if vectors_of(config.bind) == 1 else f", {vectors_of(config.bind)} tokens a condition"),
        "low_rank_updates": None if config.lora is None else config.lora["rank"],
        "updates_act_on": None if config.lora is None else f"{config.lora['tokens']} tokens",
    }
    report.facts["parameters"] = counts
    small = 2 * counts["total"] <= _CHEAP_BYTES
    compute = small if fingerprints is None else fingerprints
    whole = _weight_files(report, bare, folder, adapter)
    found: dict[str, str | None] = {}
    if adapter:
        found = checks.of_adapter(report, config, folder, compute)
    elif whole is not None and compute:
        found = fingerprints_in(config, bare, whole)
    checks.check_fingerprints(report, checks.Fingerprints(config.fingerprints, found))
    if not compute:
        report.notes.append(
            "fingerprints were not computed from the weights; add --fingerprints to read them all"
        )
    if (folder / "cache").is_dir():
        encoder = config.fingerprints.get("encoder") or found.get("encoder")
        checks.check_cache(report, folder / "cache", encoder, config.embedding_dim, fingerprints)
    check_tokenizer(report, folder, config.text_config)
    _memory(report, counts, bare.language_model, config.text_config)
    if small if self_test is None else self_test:
        if report.healthy:
            run(report, folder, device)
        else:
            report.notes.append("the self-test was left out: mend the findings first")
    else:
        report.notes.append("the self-test was left out; add --self-test to load and try the model")
    return report


def _weight_files(report: Report, bare: Any, folder: Path, adapter: bool) -> Any:
    """Look at the headers; the files if they are whole and fit the configuration."""
    try:
        source = checks.adapter_files(folder) if adapter else weights_of(folder)
    except UserError as error:
        report.find("weights", str(error), "copy or download the folder again")
        return None
    report.facts["weights"] = checks.facts_of(source)
    expected = adapter_state_dict(bare) if adapter else bare.state_dict(keep_vars=True)
    return source if checks.compare(report, "weights", expected, source) else None


def _memory(report: Report, counts: dict[str, int], language_model: Any, text_config: Any) -> None:
    tokens = min(2048, getattr(text_config, "max_position_embeddings", None) or 2048)
    maps = checks.linear_map_parameters(language_model)
    needed = checks.memory_needed(counts, maps, text_config, tokens)
    free = checks.devices()
    report.facts["memory"] = {
        "needed_bytes": needed,
        "for_tokens": tokens,
        "free_bytes": free,
        "plan": checks.device_plan(needed, free),
    }


def _encoder(name: str, folder: Path, fingerprints: bool | None, self_test: bool | None) -> Report:
    """An encoder folder; trying it means loading it strictly."""
    from imagebind_llm.encoders.registry import load_encoder, media_of_encoder

    report = Report(name, "encoder")
    try:
        source = weights_of(folder)
    except UserError as error:
        report.find("weights", str(error), "copy or download the folder again")
        return report
    size = checks.bytes_of(source)
    report.facts["weights"] = {
        "files": len(source.files),
        "bytes": size,
        "precisions": checks.precisions(source),
    }
    small = size <= _CHEAP_BYTES
    if not (small if self_test is None else self_test) and not fingerprints:
        report.notes.append("it was not loaded; add --self-test to load and try it")
        return report
    try:
        encoder: Any = load_encoder(folder)
    except UserError as error:
        report.find("weights", str(error), "use the configuration these weights were saved with")
        return report
    report.facts["encoder"] = {
        "type": encoder.settings["type"],
        "modalities": sorted(modality.value for modality in encoder.modalities),
        "embedding_dim": encoder.embedding_dim,
        "parameters": checks.parameter_count(encoder),
        "fingerprint": str(encoder.fingerprint),
    }
    from imagebind_llm.checkpoints.selftest import try_encoder

    try_encoder(report, encoder, media_of_encoder(folder, encoder))
    return report


def _reason(error: Exception) -> str:
    """What is wrong with a configuration; of what says already that nothing can be built, only why."""
    said = str(error).startswith("no model can be built")
    return reason_of((error.__cause__ if said else None) or error)


def _language_model(name: str, folder: Path, fingerprints: bool | None) -> Report:
    from imagebind_llm.checkpoints.checks import check_tokenizer
    from imagebind_llm.model.bases import language_model_config
    from imagebind_llm.model.families import family_of

    report = Report(name, "language model")
    try:
        config = language_model_config(str(folder))
        bare = checks.bare_language_model(config)
    except Exception as error:  # what modules make of odd values has many names
        reason = _reason(error)
        report.find("config.json", f"no model can be built from it: {reason}", "get the file again")
        return report
    try:
        family_of(config.model_type)
    except UserError as error:
        report.find("language model", str(error), "take one of a known family")
        return report
    total = checks.parameter_count(bare)
    report.facts["parameters"] = {"total": total}
    try:
        source = weights_of(folder)
    except UserError as error:
        report.find("weights", str(error), "copy or download the folder again")
        return report
    report.facts["weights"] = checks.facts_of(source)
    fits = checks.compare(report, "weights", bare.state_dict(keep_vars=True), source)
    if fits and (2 * total <= _CHEAP_BYTES if fingerprints is None else fingerprints):
        report.facts["fingerprint"] = language_model_fingerprint_of(source, bare)
    check_tokenizer(report, folder, config, with_processor=False)
    _memory(report, {"total": total}, bare, config)
    return report
