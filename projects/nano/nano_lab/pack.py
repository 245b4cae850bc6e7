"""The last step of making nano: one half-precision model folder with its visual cache, ready to ship."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from imagebind_llm.cache import VisualCache, build_cache
from imagebind_llm.common.errors import CheckpointError
from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders.imagebind import ImageBindModel, load_imagebind
from imagebind_llm.media.settings import TextSettings
from imagebind_llm.media.text import tokenize
from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
from imagebind_llm.model.processing import ImageBindLLMProcessor
from imagebind_llm.training.towers import vision_fingerprint
from nano_lab.data.pictures import NanoPictures
from nano_lab.data.pool import ImagePool
from nano_lab.grammar.words import EN_NAMES, EN_NUMBERS
from nano_lab.world.concepts import DIGITS, UNCLEAR
from nano_lab.world.tables import FLICKR8K

CACHE_IMAGES_PER_LABEL = 200
"""Training images of each concept in the visual cache: 4,200 in all, 2 MB."""
_BATCH = 256


def pack(model_folder: Path, encoder_folder: Path, data: Path, out: Path) -> None:
    """Write ``out``: the fine-tuned model with all of the encoder's towers, in float16, and its cache.

    The model was trained next to an encoder that knew images and text only; ``encoder_folder`` has the same
    vision tower and the other senses.

    Raises:
        CheckpointError: the two folders do not share their vision weights.
    """
    model = ImageBindLLMForConditionalGeneration.from_pretrained(model_folder)
    world = NanoPictures(data)
    encoder = load_imagebind(encoder_folder)
    _forget_unseen_words(encoder, NanoPictures(data, (FLICKR8K,)).texts())
    trained_with = model.encoder
    assert isinstance(trained_with, ImageBindModel)
    ours, theirs = vision_fingerprint(encoder), vision_fingerprint(trained_with)
    if ours != theirs:
        raise CheckpointError(
            f"{encoder_folder} has the vision tower {ours} but {model_folder} was trained with {theirs}; "
            "merge the towers of the same run"
        )
    # What ships is what float16 holds, so the fingerprint and the cache are made from the rounded weights.
    model.encoder = _rounded(encoder)
    model.config.fingerprints["encoder"] = model.encoder.fingerprint
    # Single sounds, shapes and maps gain from the cache; mixtures lose the half that is less like a picture.
    model.config.cache = {**model.config.cache, "mixtures": False}
    model.config.text_config.name_or_path = ""  # a folder of this machine
    model.half().save_pretrained(out)
    ImageBindLLMProcessor.from_pretrained(model_folder).save_pretrained(out)
    image_cache(model.encoder.float(), world).save(out / "cache")


def image_cache(encoder: ImageBindModel, world: NanoPictures) -> VisualCache:
    """An exact cache of training images, the same number of each concept, with what they show as captions."""
    pool = world.images("train")
    rows = balanced_rows(pool, CACHE_IMAGES_PER_LABEL)
    encoder.eval()
    with torch.no_grad():
        vectors = torch.cat(
            [
                encoder.encode(Modality.IMAGE, world.plain(pool.pixels[part]))
                for part in np.array_split(rows, -(-len(rows) // _BATCH))
            ]
        )
    captions = [_caption(int(label)) for label in pool.labels[rows]]
    return build_cache(vectors.numpy(), "exact", captions, encoder_fingerprint=encoder.fingerprint)


def balanced_rows(pool: ImagePool, count: int) -> np.ndarray:
    """The first ``count`` rows of each label (the data sets are stored shuffled), in order of label."""
    return np.concatenate([rows[:count] for _, rows in sorted(pool.rows_by_label.items())])


def _caption(label: int) -> str:
    if label == UNCLEAR:
        return "something unclear"
    if label < len(DIGITS):
        return f"a handwritten digit {EN_NUMBERS[label]}"
    name = EN_NAMES[label]
    return f"a photo of {'an' if name[0] in 'aeiou' else 'a'} {name}"


def _forget_unseen_words(encoder: ImageBindModel, read: Sequence[str]) -> None:
    """Set the embeddings of words that are in none of the texts ``read`` in training to zero.

    They are as random as on the first step. Zeros say nothing instead of something, and take no room in an
    archive.
    """
    text = encoder.config.text
    assert text is not None
    settings = TextSettings(context_length=text.context)
    seen = tokenize(read, settings).unique()
    table = encoder.get_parameter("modality_preprocessors.text.token_embedding.weight")
    known = torch.zeros(len(table), 1)
    known[seen] = 1
    with torch.no_grad():
        table.mul_(known)


def _rounded(encoder: ImageBindModel) -> ImageBindModel:
    """The same encoder with weights that float16 represents exactly."""
    copy = ImageBindModel(encoder.config)
    copy.load_state_dict(
        {
            name: tensor.half().float() if tensor.is_floating_point() else tensor
            for name, tensor in encoder.state_dict().items()
        }
    )
    return copy.eval()
