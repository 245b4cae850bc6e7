"""Do base, encoder, adapter and cache belong together?"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.common.files import read_json
from imagebind_llm.common.locate import ADAPTER_FILE, NANO, find_place, locate_folder
from imagebind_llm.common.tensor_files import TensorsBelow, TensorSource, weights_of
from imagebind_llm.diagnosis import weights
from imagebind_llm.diagnosis.report import Report
from imagebind_llm.encoders.registry import find_encoder
from imagebind_llm.model.adaptation import language_model_fingerprint_of
from imagebind_llm.model.configuration import read_model_config

if TYPE_CHECKING:
    from imagebind_llm.model.configuration import ImageBindLLMConfig

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


def inside(config: "ImageBindLLMConfig", bare: Any, source: TensorSource) -> dict[str, str | None]:
    """Fingerprints of the parts in a whole folder, computed from its files."""
    language_model = TensorsBelow(source, "language_model.")
    found: dict[str, str | None] = {
        "language_model": language_model_fingerprint_of(language_model, bare.language_model)
    }
    if config.encoder_config is not None:
        found["encoder"] = weights.encoder_digest(config.encoder_config, TensorsBelow(source, "encoder."))
    return found


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
            where = find_place(part, base, folder)
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
    if place.kind != "imagebind":
        return None
    source: TensorSource = weights_of(place.folder)
    if place.in_model:
        source = TensorsBelow(source, "encoder.")
    return weights.encoder_digest(place.settings, source)


def _language_model_digest_at(folder: Path) -> str | None:
    from transformers import AutoConfig

    if read_json(folder / "config.json").get("model_type") != "imagebind_llm":
        bare = weights.bare_language_model(AutoConfig.from_pretrained(folder))
        return language_model_fingerprint_of(weights_of(folder), bare)
    config = read_model_config(folder)
    if (folder / ADAPTER_FILE).is_file():
        base = config.base_models["language_model"]
        if not base:
            raise CheckpointError(f"the adapter in {str(folder)!r} does not say where its language model is")
        return _language_model_digest_at(locate_folder(find_place("language_model", base, folder)))
    model: Any = weights.bare_model(config)
    source = TensorsBelow(weights_of(folder), "language_model.")
    return language_model_fingerprint_of(source, model.language_model)


def check_cache(report: Report, folder: Path, encoder: str | None, width: int | None) -> None:
    """A cache folder by its manifest and files; and whether this encoder made it.

    Args:
        report: where findings go.
        folder: of the cache.
        encoder: fingerprint of the encoder it will be used with; None does not ask.
        width: dimensions of that encoder's space.
    """
    from imagebind_llm.cache.folder import read_folder

    try:
        _, manifest, entries = read_folder(folder, None, memory_map=True)
    except UserError as error:
        report.find("cache", str(error), "copy or build the cache again: imagebind-llm cache build")
        return
    report.facts["cache"] = {
        "pictures": manifest.count,
        "dimensions": manifest.dim,
        "kind": manifest.kind,
        "encoder_fingerprint": manifest.encoder_fingerprint,
        "bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        "captions_or_thumbnails": entries is not None,
    }
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
