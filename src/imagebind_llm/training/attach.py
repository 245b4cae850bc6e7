"""Give a finished model an encoder that has learnt more: the language model stays as it is."""

import shutil
from dataclasses import replace
from pathlib import Path

from imagebind_llm.cache.folder import CacheManifest
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.files import atomic_directory
from imagebind_llm.encoders.imagebind import ImageBindModel, load_imagebind
from imagebind_llm.encoders.imagebind.kind import sensor_media
from imagebind_llm.media.settings import MediaSettings
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
from imagebind_llm.model.processing import ImageBindLLMProcessor
from imagebind_llm.training.bind_sense import vision_fingerprint

CACHE_FOLDER = "cache"


def attach_encoder(model_folder: Path, encoder_folder: Path, out: Path) -> list[str]:
    """Write ``out``: the model in ``model_folder`` with the encoder in ``encoder_folder``, cache included.

    The language model was trained on what the vision tower says, and the cache was made by it, so both
    encoders must have the same one. The new encoder's sensors use the cache by default, as all modalities but
    images do.

    Returns:
        What the model can take now.

    Raises:
        CheckpointError: another vision tower, a modality that would be lost, or ``out`` is one of the inputs.
    """
    if out.resolve() in (model_folder.resolve(), encoder_folder.resolve()):
        raise CheckpointError(f"{out} is an input itself; give another --out")
    model = ImageBindLLMForConditionalGeneration.from_pretrained(model_folder, dtype="auto")
    processor = ImageBindLLMProcessor.from_pretrained(model_folder)
    before, encoder = model.encoder, load_imagebind(encoder_folder)
    if not isinstance(before, ImageBindModel) or not isinstance(processor.media, MediaSettings):
        raise CheckpointError(f"{model_folder} has no ImageBind as its encoder; only those can be exchanged")
    ours, theirs = vision_fingerprint(before), vision_fingerprint(encoder)
    if ours != theirs:
        raise CheckpointError(
            f"{encoder_folder} has the vision tower {theirs}, but {model_folder} was trained with {ours}; "
            "train the new tower on the model's own encoder"
        )
    lost = sorted(before.modalities - encoder.modalities)
    if lost:
        raise CheckpointError(
            f"{encoder_folder} has no {', '.join(lost)}, which the model has; train from its encoder"
        )
    old_fingerprint = model.config.fingerprints["encoder"]
    fingerprint = encoder.fingerprint
    model.encoder = encoder.to(next(before.parameters()).dtype)
    model.encoder.remember_fingerprint(fingerprint)
    config = model.config
    config.encoder_config = {"type": "imagebind", **encoder.config.to_dict()}
    moved = [*config.cache["modalities"], *(encoder.config.sensors or {})]
    config.cache = {**config.cache, "modalities": list(dict.fromkeys(moved))}
    processor.media = replace(processor.media, sensors=sensor_media(encoder.config))
    config.media = processor.media.to_dict()
    with atomic_directory(out) as temporary:
        model.save_pretrained(temporary)
        processor.save_pretrained(temporary)
        if (model_folder / CACHE_FOLDER).is_dir():
            _copy_cache(model_folder / CACHE_FOLDER, temporary / CACHE_FOLDER, old_fingerprint, fingerprint)
    return sorted(modality.value for modality in encoder.modalities)


def _copy_cache(source: Path, target: Path, before: str | None, now: str) -> None:
    """The same cache under the fingerprint of the new encoder, whose vision tower made it."""
    manifest = CacheManifest.read(source)
    manifest.check_encoder(before)
    shutil.copytree(source, target)
    replace(manifest, encoder_fingerprint=now).write(target)
