"""A model folder → another one to give away; it appears whole or not at all.

With ``merged``, low-rank updates are folded into the weights, and both models' answers are compared.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from imagebind_llm.checkpoints.card import Comparison, Evaluation
from imagebind_llm.checkpoints.convert.store import check_target, new_folder
from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.common.files import read_json, require_space
from imagebind_llm.common.locate import HUB_ID, NANO, locate_folder, nano_folder, relative_base_path
from imagebind_llm.inference.assistant import CACHE_FOLDER
from imagebind_llm.model.adaptation import merge_lora, saved_bytes

if TYPE_CHECKING:
    from imagebind_llm.checkpoints.card import Comparison
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration


Form = Literal["adapter", "full", "merged"]
CARD_FILE = "README.md"


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: the new folder.
        form: adapter, full or merged.
        files: names and sizes in bytes, the cache's under ``cache/…``.
        comparison: of a merged model with the one it was made from.
        notes: what whoever publishes it should know.
    """

    folder: Path
    form: Form
    files: dict[str, int]
    comparison: "Comparison | None"
    notes: tuple[str, ...]


def export(
    name: str,
    out: Path,
    form: Form,
    dtype: torch.dtype | None = None,
    cache: bool | None = None,
    evaluation: "Evaluation | None" = None,
    bases: Mapping[str, str | None] | None = None,
    licence: str | None = None,
) -> Exported:
    """Write the model ``name`` as a folder that can be given away.

    Args:
        name: ``"nano"``, a folder (whole or adapter) or a hub id.
        out: the new folder; it must not exist, or be empty.
        form: ``"adapter"``: what training changed, naming its base and encoder; ``"full"``: everything;
            ``"merged"``: everything, with the low-rank updates folded into the weights.
        dtype: precision of the weights that are written (of an adapter: of its own); ``None``: as they are.
        cache: whether to take the visual cache along; ``None``: if there is one, and not with an adapter.
        evaluation: for the card.
        bases: where ``language_model`` and ``encoder`` will be for those who get the adapter.
        licence: for the card, as the hub writes it (``apache-2.0``, ``cc-by-nc-4.0``, ``other`` …).

    Raises:
        CheckpointError: the model cannot be loaded, ``out`` is in use, the disk is too small, or a merged
            model answers differently.
        UserError: the results are another model's, or there is no cache to take along.
    """
    check_target(out)
    source = locate_folder(name)
    cache_folder = _cache_of(source, form, cache)
    from imagebind_llm.checkpoints import card
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration as Model
    from imagebind_llm.model.processing import ImageBindLLMProcessor

    processor = ImageBindLLMProcessor.from_pretrained(source)
    model = Model.from_pretrained(source, dtype="auto" if dtype is None or form == "adapter" else dtype)
    if evaluation is not None:
        card.check_results(evaluation.results, model.config.fingerprints, str(source))
    if form != "adapter" and dtype is not None:
        model.to(dtype=dtype)  # type: ignore[call-arg]
    comparison = merge_and_compare(model) if form == "merged" else None
    if form == "adapter":
        notes = _name_bases(model, name, out, bases or {})
        _round_adapter(model, dtype)
    else:
        notes = []
        _forget_places(model, merged=form == "merged")
    require_space(out.parent, _bytes(model, form, cache_folder), f"the export to {str(out)!r}")
    with new_folder(out) as stage:
        model.save_pretrained(stage, adapter_only=form == "adapter")
        processor.save_pretrained(stage)
        if cache_folder is not None:
            shutil.copytree(cache_folder, stage / CACHE_FOLDER)
        text = card.card(model, form, out.name, evaluation, cache_folder, licence, comparison)
        (stage / CARD_FILE).write_text(text, encoding="utf-8")
    files = {
        path.relative_to(out).as_posix(): path.stat().st_size
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }
    return Exported(out, form, files, comparison, tuple(notes))


def _cache_of(source: Path, form: Form, wanted: bool | None) -> Path | None:
    folder = source / CACHE_FOLDER
    if wanted is False or (wanted is None and (form == "adapter" or not folder.is_dir())):
        return None
    if not folder.is_dir():
        raise UserError(f"{str(source)!r} has no visual cache to take along; leave out --cache")
    return folder


def _name_bases(
    model: "ImageBindLLMForConditionalGeneration",
    name: str,
    out: Path,
    given: Mapping[str, str | None],
) -> list[str]:
    """Record where the adapter's parts are: as given, as recorded, else inside the model it came from."""
    notes = []
    for part in ("language_model", "encoder"):
        recorded = model.config.base_models.get(part)
        if part == "encoder" and model.encoder is None:
            continue
        there = given.get(part)
        found: dict[str, Any]
        if there:
            found = {"id": there, "revision": None}
        elif part == "encoder" and model.config.fingerprints[part] == _nano_encoder():
            found = {"id": NANO, "revision": None}  # everybody has it: wherever this copy of it lies
        elif recorded:
            found = dict(recorded)
        else:
            found = {"id": name, "revision": None}
        where = str(found["id"])
        if where != NANO and Path(where).expanduser().is_dir():
            found = {"id": relative_base_path(Path(where).expanduser(), out), "revision": None}
            notes.append(
                f"the {part.replace('_', ' ')} is named by its folder on this machine ({found['id']}); "
                f"before publishing, name one that others can get with --{part.replace('_', '-')} OWNER/NAME"
            )
        model.config.base_models[part] = found
    return notes


def _nano_encoder() -> str | None:
    """The fingerprint of nano's encoder."""
    config = nano_folder() / "config.json"
    return read_json(config)["fingerprints"]["encoder"] if config.is_file() else None


def _forget_places(model: "ImageBindLLMForConditionalGeneration", merged: bool) -> None:
    """A whole folder needs no other place; hub ids stay as a record of origin, except of merged weights."""
    for part, found in model.config.base_models.items():
        away = found is None or not HUB_ID.match(str(found.get("id", "")))
        if away or (merged and part == "language_model"):
            model.config.base_models[part] = None


def _round_adapter(model: "ImageBindLLMForConditionalGeneration", dtype: torch.dtype | None) -> None:
    """Round what the adapter holds, and nothing else: its base keeps the weights it is known by."""
    if dtype is None:
        return
    from imagebind_llm.model.adaptation import trainable_parameters, tuned_parameters

    chosen = {**trainable_parameters(model, "pretrain"), **tuned_parameters(model)}
    with torch.no_grad():
        for parameter in chosen.values():
            parameter.data = parameter.data.to(dtype)


def _bytes(model: "ImageBindLLMForConditionalGeneration", form: Form, cache: Path | None) -> int:
    """Size of what will be written."""
    files = [] if cache is None else [path for path in cache.rglob("*") if path.is_file()]
    return saved_bytes(model, form == "adapter") + sum(path.stat().st_size for path in files)


_ROWS, _LENGTH = 4, 24
_TOLERANCE = {torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 1.5e-1}
"""Largest change of a logit, as a share of the spread of the logits. Rounding the weights of every map shifts
sums of many terms; these bounds are some times what was seen on small models."""


def merge_and_compare(model: "ImageBindLLMForConditionalGeneration") -> Comparison:
    """Merge in place (:func:`~imagebind_llm.model.adaptation.merge_lora`) and compare.

    Raises:
        CheckpointError: the model has no low-rank updates, or its logits changed by more than rounding does.
    """
    if model.config.lora is None:
        raise CheckpointError("the model has no low-rank updates to merge; export it with --full")
    if model.config.lora["tokens"] != "all":
        raise CheckpointError(
            "the model's low-rank updates act only on tokens that see a condition, so no weight can hold "
            "them; export it with --full"
        )
    before = probe_logits(model)
    merge_lora(model)
    after = probe_logits(model)
    spread = float(before.std())
    dtype = next(model.language_model.parameters()).dtype
    allowed = _TOLERANCE.get(dtype, _TOLERANCE[torch.float32]) * spread
    found = Comparison(
        largest=float((after - before).abs().max()),
        spread=spread,
        agreement=float((after.argmax(-1) == before.argmax(-1)).float().mean()),
        allowed=allowed,
    )
    if not found.largest <= allowed:  # also when it is not a number
        raise CheckpointError(
            f"the merged model answers differently: logits differ by up to {found.largest:.3g}, rounding "
            f"explains {allowed:.3g}; export with --full, or in a finer --dtype"
        )
    return found


@torch.no_grad()
def probe_logits(model: "ImageBindLLMForConditionalGeneration") -> Tensor:
    """Logits ``[rows, length, vocabulary]``, float32, of fixed random tokens; half the rows see a
    condition."""
    generator = torch.Generator().manual_seed(0)
    config = model.config.text_config
    limit = getattr(config, "max_position_embeddings", None) or _LENGTH
    device = model.language_model.device
    ids = torch.randint(config.vocab_size, (_ROWS, min(_LENGTH, limit)), generator=generator)
    vectors = torch.randn(_ROWS // 2, model.config.embedding_dim, generator=generator)
    conditions = torch.nn.functional.normalize(vectors, dim=-1).to(device, model.bind.project.weight.dtype)
    rows = torch.tensor([[0], [1], [-1], [-1]]).expand_as(ids)
    outputs = model(ids.to(device), conditions=conditions, condition_ids=rows.to(device))
    logits: Tensor = outputs.logits.float().cpu()
    return logits
