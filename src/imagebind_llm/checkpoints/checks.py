"""What ``doctor`` checks in a model folder, without loading it, and the report it fills.

Weights against the configuration; base, encoder, adapter and cache against each other; the tokenizer; memory.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from imagebind_llm.common.budget import built_from
from imagebind_llm.common.errors import CheckpointError, UserError, reason_of
from imagebind_llm.common.files import read_json
from imagebind_llm.common.locate import ADAPTER_FILE, NANO, find_base_path, locate_folder, refuse_circle
from imagebind_llm.common.tensor_files import TensorFiles, TensorsBelow, TensorSource, weights_of
from imagebind_llm.encoders.base import encoder_fingerprint_of
from imagebind_llm.encoders.registry import find_encoder, load_encoder
from imagebind_llm.model.adaptation import language_model_fingerprint_of
from imagebind_llm.model.assembly import PROBE_DIALOG
from imagebind_llm.model.configuration import read_model_config
from imagebind_llm.model.families import DecoderShape

if TYPE_CHECKING:
    from imagebind_llm.model.configuration import ImageBindLLMConfig
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration


@dataclass(frozen=True)
class Finding:
    """Something that is wrong: where, what, and what to do about it, one line each."""

    part: str
    problem: str
    remedy: str


@dataclass
class Report:
    """Facts by section, findings, and remarks that are no faults.

    Attributes:
        name: what was asked about.
        kind: ``model``, ``adapter``, ``encoder``, ``cache`` or ``language model``.
        facts: section → name → value (plain JSON values).
        findings: empty for a healthy folder.
        notes: what was not looked at, and why.
    """

    name: str
    kind: str
    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def find(self, part: str, problem: str, remedy: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(part, problem, remedy))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "healthy": self.healthy,
            "findings": [vars(finding) for finding in self.findings],
            "notes": self.notes,
            **self.facts,
        }


CHEAP_BYTES = 10**9
"""Files up to this size (weights: in half precision) are hashed unasked."""
_SHOWN = 3
_AGAIN = "copy or download the whole folder again"


def bare_model(config: "ImageBindLLMConfig") -> "ImageBindLLMForConditionalGeneration":
    """The modules that ``config`` makes, on the meta device: names and shapes without memory."""
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration

    with built_from("config.json", None), torch.device("meta"):
        return ImageBindLLMForConditionalGeneration(config)


def bare_language_model(config: Any) -> nn.Module:
    """A language model without memory."""
    from transformers import AutoModelForCausalLM

    with built_from("config.json", None), torch.device("meta"):
        made: nn.Module = AutoModelForCausalLM.from_config(config)
    return made


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """Numbers of parameters of the parts of a model, see :func:`parameter_count`."""
    counts = {name: parameter_count(part) for name, part in model.named_children()}
    return {**counts, "total": sum(counts.values())}


def parameter_count(module: nn.Module) -> int:
    """How many numbers of ``module`` are in its weight files, as the hub counts parameters.

    Statistics of batch norms and other saved buffers are among them; tied weights count once.
    """
    return sum(
        each.numel() for each in {id(t): t for t in module.state_dict(keep_vars=True).values()}.values()
    )


def facts_of(source: TensorFiles) -> dict[str, Any]:
    """Number, size and precisions of the weight files."""
    return {"files": len(source.files), "bytes": bytes_of(source), "precisions": precisions(source)}


def precisions(source: TensorSource) -> dict[str, int]:
    """Numbers of values in the files by their type, most first."""
    found: Counter[str] = Counter()
    for info in source.infos.values():
        count = 1
        for side in info.shape:
            count *= side
        found[str(info.dtype).removeprefix("torch.")] += count
    return dict(found.most_common())


def compare(report: Report, part: str, expected: Mapping[str, Tensor], source: TensorFiles) -> bool:
    """Find names and shapes that differ; whether there were none.

    Args:
        report: where findings go.
        part: what they are about.
        expected: the state dict of the bare module, with ``keep_vars=True``: a tensor that has two names may
            be stored under either.
        source: the files.
    """
    infos = source.infos
    by_identity: dict[int, list[str]] = {}
    for name, tensor in expected.items():
        by_identity.setdefault(id(tensor), []).append(name)
    missing = [names[0] for names in by_identity.values() if not any(name in infos for name in names)]
    unexpected = [name for name in infos if name not in expected]
    shapes = [
        f"{name} {list(infos[name].shape)} instead of {list(expected[name].shape)}"
        for name in expected
        if name in infos and tuple(expected[name].shape) != infos[name].shape
    ]
    for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes)):
        if names:
            more = ", …" if len(names) > _SHOWN else ""
            report.find(part, f"{len(names)} tensors {what}: {', '.join(names[:_SHOWN])}{more}", _AGAIN)
    return not (missing or unexpected or shapes)


def bytes_of(source: TensorSource) -> int:
    """Size of all weight files."""
    return sum(file.stat().st_size for file in source.files)


def adapter_files(folder: Path) -> TensorFiles:
    """The one file of an adapter."""
    from imagebind_llm.common.locate import ADAPTER_FILE

    return TensorFiles([folder / ADAPTER_FILE])


_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_PACKED = {"int8": 1.0, "4bit": 0.56}
"""Bytes a value of the decoder's linear layers; 4-bit values carry a scale for every 64 of them."""
_WORK = 1.15
"""Room for activations and the library's own buffers beside the weights."""
_KEPT = 2
"""Bytes a value of all that is not packed when the decoder's maps are."""


def memory_needed(counts: dict[str, int], maps: int, text_config: Any, tokens: int) -> dict[str, int]:
    """Bytes by precision: weights, working room, and keys and values of one dialog.

    Args:
        counts: parameters by part, with ``total``.
        maps: parameters in the linear layers of the decoder layers, which are what packing packs.
        text_config: of the language model.
        tokens: length of the dialog.
    """
    shape = DecoderShape.of(text_config)
    values = 2 * shape.layers * shape.kv_heads * shape.head_dim * tokens
    needed = {name: int(_WORK * size * counts["total"]) + size * values for name, size in _BYTES.items()}
    for name, size in _PACKED.items():
        weights = size * maps + _KEPT * (counts["total"] - maps)
        needed[name] = int(_WORK * weights) + _KEPT * values
    return needed


def linear_map_parameters(language_model: Any) -> int:
    """Parameters in the decoder layers' matrices."""
    from imagebind_llm.model.families import decoder_layers

    return sum(
        parameter.numel()
        for layer in decoder_layers(language_model)
        for parameter in layer.parameters()
        if parameter.ndim == 2
    )


def devices() -> dict[str, int]:
    """Free bytes of main memory (``cpu``) and of each GPU (``cuda:0`` …)."""
    from accelerate.utils import get_max_memory

    free = {device: size for device, size in get_max_memory().items() if device != "disk"}
    named = {
        f"cuda:{device}" if isinstance(device, int) else str(device): size for device, size in free.items()
    }
    return {device: int(size) for device, size in named.items()}


def device_plan(needed: dict[str, int], free: dict[str, int]) -> str:
    """The best of what fits, as options of the commands; GPUs before the CPU, precision before speed."""
    for device, room in free.items():
        order = ("float32", "bfloat16", "int8") if device == "cpu" else ("bfloat16", "int8", "4bit")
        for precision in order:
            if needed[precision] <= room:
                packed = precision in _PACKED
                option = f"--quantize {precision}" if packed else f"--dtype {precision}"
                return f"--device {device} {option}"
    if needed["bfloat16"] <= sum(free.values()):
        return "--dtype bfloat16 --device-map auto"
    return "--dtype bfloat16 --device-map auto --offload-dir FOLDER (it does not fit into memory; slow)"


_SENTENCE = "What is this? 这是什么? 12 + 34"


def check_tokenizer(report: Report, folder: Path, text_config: Any, with_processor: bool = True) -> None:
    """Load the tokenizer and try it out; what is wrong is found, facts are noted."""
    from transformers import AutoTokenizer

    from imagebind_llm.model import register

    register()
    part = "tokenizer"
    try:
        if with_processor:
            from imagebind_llm.model.processing import ImageBindLLMProcessor

            tokenizer: Any = ImageBindLLMProcessor.from_pretrained(folder).tokenizer
        else:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (UserError, OSError, ValueError, KeyError) as error:
        reason = reason_of(error)
        report.find(part, reason, "save the processor (tokenizer and media settings) into the folder")
        return
    rows = int(text_config.vocab_size)
    back = tokenizer.decode(tokenizer(_SENTENCE, add_special_tokens=False)["input_ids"])
    report.facts[part] = {
        "type": type(tokenizer).__name__,
        "tokens": len(tokenizer),
        "rows_of_embedding": rows,
        "end_token": tokenizer.eos_token,
        "chat_template": bool(tokenizer.chat_template),
        "round_trip": back.strip() == _SENTENCE,
    }
    if len(tokenizer) > rows:
        report.find(
            part,
            f"it has {len(tokenizer)} tokens, the language model embeds {rows}",
            "put the tokenizer of this language model into the folder",
        )
    if tokenizer.eos_token_id is None:
        report.find(
            part, "it has no end token, so no answer would end", "set eos_token in tokenizer_config.json"
        )
    stops = text_config.eos_token_id
    stops = stops if isinstance(stops, list) else [stops]
    if None not in stops and tokenizer.eos_token_id not in (None, *stops):
        report.notes.append(
            f"the tokenizer ends with token {tokenizer.eos_token_id}, the configuration says {stops}; "
            "generation_config.json decides"
        )
    if not with_processor and not tokenizer.chat_template:
        return
    from imagebind_llm.model.dialog import build_dialog

    try:
        build_dialog(PROBE_DIALOG, tokenizer, add_generation_prompt=True)
    except UserError as error:
        if with_processor:
            report.find(
                part, str(error), "put a chat_template.jinja into the folder that can be used turn by turn"
            )
        else:  # a language model alone may have any
            report.notes.append(f"{error}; imagebind-llm new takes this model with --template alpaca")


_NAMES = {"language_model": "language model", "encoder": "encoder"}


@dataclass
class Fingerprints:
    """What is recorded, and what the weights say (None: not computed)."""

    recorded: Mapping[str, str | None]
    found: dict[str, str | None]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {part: {"recorded": self.recorded.get(part), "found": self.found.get(part)} for part in _NAMES}


def check_fingerprints(report: Report, prints: Fingerprints) -> None:
    """Compare what was computed with what is recorded."""
    for part, name in _NAMES.items():
        recorded, found = prints.recorded.get(part), prints.found.get(part)
        if None not in (recorded, found) and recorded != found:
            report.find(
                name,
                f"recorded is the fingerprint {recorded}, but the weights have {found}",
                f"use the {name} that this was trained with, or get the files again",
            )
    report.facts["fingerprints"] = prints.to_dict()


def of_adapter(
    report: Report, config: "ImageBindLLMConfig", folder: Path, compute: bool
) -> dict[str, str | None]:
    """Fingerprints of the parts that an adapter names, as far as they are on this machine."""
    found: dict[str, str | None] = {}
    for part, name in _NAMES.items():
        if part == "encoder" and config.encoder_config is None:
            continue
        base = config.base_models.get(part)
        if not base:
            report.find(
                name,
                "the adapter does not say where it is",
                f"add it to base_models in config.json, or give {part}= in Python",
            )
            continue
        try:
            where = find_base_path(part, base, folder)
        except UserError:
            report.find(
                name,
                f"there is no folder {base['id']!r}",
                "bring it there, or correct base_models in config.json",
            )
            continue
        try:
            if where != NANO and not Path(where).is_dir():
                report.notes.append(f"the {name} is {where} on the hub: it was not compared")
                continue
            found[part] = _digest_at(part, where) if compute else None
        except UserError as error:
            report.find(name, str(error), f"give the adapter a {name} that is whole")
    return found


def _digest_at(part: str, name: str) -> str | None:
    """The fingerprint of a part that lies in a folder of its own, in a model's, or where an adapter says.

    Raises:
        CheckpointError: it cannot be found or read.
    """
    return _encoder_digest_at(name) if part == "encoder" else _language_model_digest_at(locate_folder(name))


def _encoder_digest_at(name: str) -> str | None:
    place = find_encoder(name)
    if place.kind != "imagebind":  # its fingerprint is of the loaded weights
        return str(load_encoder(name).fingerprint)
    source: TensorSource = weights_of(place.folder)
    if place.in_model:
        source = TensorsBelow(source, "encoder.")
    return encoder_fingerprint_of(place.settings, source)


def _language_model_digest_at(folder: Path, depth: int = 0) -> str | None:
    from transformers import AutoConfig

    refuse_circle(folder, depth)

    if read_json(folder / "config.json").get("model_type") != "imagebind_llm":
        bare = bare_language_model(AutoConfig.from_pretrained(folder))
        return language_model_fingerprint_of(weights_of(folder), bare)
    config = read_model_config(folder)
    if (folder / ADAPTER_FILE).is_file():
        base = config.base_models["language_model"]
        if not base:
            raise CheckpointError(f"the adapter in {str(folder)!r} does not say where its language model is")
        where = locate_folder(find_base_path("language_model", base, folder))
        return _language_model_digest_at(where, depth + 1)
    model: Any = bare_model(config)
    source = TensorsBelow(weights_of(folder), "language_model.")
    return language_model_fingerprint_of(source, model.language_model)


def check_cache(
    report: Report, folder: Path, encoder: str | None, width: int | None, compute: bool | None
) -> None:
    """A cache folder by its manifest and files; and whether this encoder made it.

    Args:
        report: where findings go.
        folder: of the cache.
        encoder: fingerprint of the encoder it will be used with; None does not ask.
        width: dimensions of that encoder's space.
        compute: compare the SHA-256 of all its files; ``None``: if they are small.
    """
    from imagebind_llm.cache.folder import check_all, read_folder

    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    try:
        _, manifest, entries = read_folder(folder, None, memory_map=True)
        summed = check_all(folder) if size <= CHEAP_BYTES or compute else None
    except UserError as error:
        report.find("cache", str(error), "copy or build the cache again: imagebind-llm cache build")
        return
    report.facts["cache"] = {
        "pictures": manifest.count,
        "dimensions": manifest.dim,
        "kind": manifest.kind,
        "encoder_fingerprint": manifest.encoder_fingerprint,
        "bytes": size,
        "captions_or_thumbnails": entries is not None,
        "compared_with_their_sha256": summed or [],
    }
    if summed is None:
        report.notes.append("the cache was not compared with its SHA-256; add --fingerprints to read it all")
    elif not summed:
        report.notes.append("the cache has no SHA-256 to compare with: it was written before they were")
    if encoder is not None and manifest.encoder_fingerprint != encoder:
        made = manifest.encoder_fingerprint or "an unknown encoder"
        report.find(
            "cache",
            f"it was made by encoder {made}, but the model uses encoder {encoder}",
            "build one with this encoder (imagebind-llm cache build), or leave the cache away",
        )
    if width is not None and manifest.dim != width:
        report.find(
            "cache",
            f"its vectors have {manifest.dim} numbers, the encoder gives {width}",
            "build one with this encoder: imagebind-llm cache build",
        )
