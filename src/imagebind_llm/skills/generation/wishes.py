"""Media and words → a wish: embedded, mixed, moved towards the visual cache."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.common.modality import Modality
from imagebind_llm.model.conditioning import cache_settings, check_direction, mixtures, move_towards_cache
from imagebind_llm.model.messages import Embedded, MediaItem, media_items
from imagebind_llm.skills.generation.contract import Generator, Wish

if TYPE_CHECKING:
    from imagebind_llm.inference.assistant import Assistant

POINT_DIVISOR = 5.0
"""The reference divides the un-normalised feature of a point cloud by it before it goes to Stable unCLIP
(ImageBind-LLM, image generation): Point-Bind's are that much longer than those of pictures."""
QUESTION = "Describe it in one sentence."
"""What the model is asked for the description of media."""
_LONGEST_NAME = 60


def make_wish(
    bot: "Assistant",
    media: Mapping[str, Any],
    generator: Generator,
    *,
    cache: bool | None = None,
    description: str | None = None,
    negative: str = "",
) -> Wish:
    """What ``generator`` reads of these media.

    Args:
        bot: embeds them, and describes them where the generator reads words.
        media: as in :meth:`~imagebind_llm.inference.assistant.Assistant.ask`: any modalities, weights too.
        generator: says what it reads.
        cache: whether the mixture is moved towards the visual cache; None: as the model does by itself.
        description: words for generators that read text; None: the model's own answer about the media.
        negative: what it should not be; also embedded, for generators that read embeddings.

    Raises:
        UserError: no media and no words, none with a positive weight, media that cannot be read, an encoder
            that the generator was not trained with, or the cache is asked for and there is none.
    """
    reads = generator.reads
    wish = Wish(description=description or "", negative=negative)
    if "embedding" in reads or "feature" in reads:
        check_encoder(bot, generator)
        items = media_items(media)
        if not items:
            raise UserError("there is nothing to imagine; give media or words, for example text='a seven'")
        if all(item.weight < 0 for item in items):
            raise UserError(
                "all media have negative weights, so nothing says what to make; give one with a positive "
                "weight"
            )
        made_of = tuple(f"{item.modality.value} {_shown(item)}" for item in items)
        rows = [_raised(row) for row in bot.iter_embed(items)]
        embedding = _embedding(bot, items, rows, generator.shifts, cache)
        wish = replace(wish, embedding=embedding, made_of=made_of)
        if "feature" in reads:
            wish = replace(wish, feature=_feature(bot, items, embedding))
        if negative and "embedding" in reads:
            shift = generator.shifts.get(Modality.TEXT.value)
            row = bot.embed(text=[negative])[0]
            wish = replace(wish, negative_embedding=_unit(row if shift is None else row + shift))
    if "description" in reads and description is None:
        wish = replace(wish, description=_described(bot, media))
    if not wish.made_of:
        wish = replace(wish, made_of=(f"description {short(wish.description)}",))
    return wish


def between(first: Wish, last: Wish, frames: int) -> list[Wish]:
    """``frames`` wishes from one to the other, along the great circle.

    Raises:
        UserError: fewer than 2 frames, no embeddings, or opposite ones.
    """
    if not 2 <= frames <= 256:
        raise UserError(f"frames is {frames}; expected 2 to 256")
    if first.embedding is None or last.embedding is None:
        raise UserError("only wishes with embeddings have something between them; use a generator for these")
    made_of = (*first.made_of, "to", *last.made_of)
    found = []
    for number in range(frames):
        share = number / (frames - 1)
        feature = None
        if first.feature is not None and last.feature is not None:
            feature = torch.lerp(first.feature, last.feature, share)
        found.append(
            replace(
                first,
                embedding=_arc(first.embedding, last.embedding, share),
                feature=feature,
                made_of=made_of,
            )
        )
    return found


def check_encoder(bot: "Assistant", generator: Generator) -> None:
    """Refuse a generator that was made for the embeddings of another encoder.

    Raises:
        UserError: naming both encoders.
    """
    wanted, found = generator.encoder_fingerprint, bot.encoder_fingerprint
    if wanted is not None and found is not None and wanted != found:
        raise UserError(
            f"the generator was trained on embeddings of the encoder {wanted}, this model has {found}; "
            "use the model it belongs to, or train the generator again"
        )


def _arc(first: Tensor, last: Tensor, share: float) -> Tensor:
    """The unit vector that lies ``share`` of the way (Shoemake's slerp)."""
    cosine = float((first @ last).clamp(-1, 1))
    angle = math.acos(cosine)
    if angle < 1e-4:
        return F.normalize(torch.lerp(first, last, share), dim=0)
    if math.pi - angle < 1e-3:
        raise UserError("the two media are opposite, so no way between them is the shortest; give others")
    return F.normalize(math.sin((1 - share) * angle) * first + math.sin(share * angle) * last, dim=0)


def _embedding(
    bot: "Assistant",
    items: Sequence[MediaItem],
    rows: Sequence[Tensor],
    shifts: Mapping[str, Tensor],
    cache: bool | None,
) -> Tensor:
    """The unit vector of the mixture."""
    pairs = []
    for item, row in zip(items, rows, strict=True):
        shift = shifts.get(item.modality.value)
        pairs.append((row if shift is None else _unit(row + shift), item.weight))
    mixed = mixtures([pairs])
    wanted = bot.uses_cache([item.modality.value for item in items]) if cache is None else cache
    if wanted:
        if bot.cache is None:
            raise UserError(
                "the cache was asked for, but this model has none; build one with: imagebind-llm cache build"
            )
        settings = cache_settings(bot.model.config.cache, bot.cache.size)
        mixed = move_towards_cache(mixed, [True], bot.cache, settings)
    return _unit(mixed[0].float())


def _feature(bot: "Assistant", items: Sequence[MediaItem], embedding: Tensor) -> Tensor:
    """``embedding`` at the length that the mixture of un-normalised features has, as the reference does:
    the cache changes the direction, the length is restored.

    Raises:
        UserError: the encoder has no such features, or a medium came as an embedding.
    """
    from imagebind_llm.media.reading import load_medium

    encoder: Any = bot.model.encoder
    if not hasattr(encoder, "features"):
        raise UserError(
            "this model's encoder gives unit embeddings only; this generator needs the un-normalised "
            "features of an encoder of type imagebind"
        )
    total = torch.zeros_like(embedding)
    for item in items:
        if isinstance(item.source, Embedded):
            raise UserError("an embedding has lost its length, which this generator needs; give the medium")
        media = load_medium(bot.processor.media, item.modality, item.source, bot.processor.limits)
        with torch.no_grad():
            row = encoder.features(item.modality, media[None]).prenorm[0].float().cpu()
        divisor = POINT_DIVISOR if item.modality is Modality.POINT else 1.0
        total = total + item.weight * row / divisor
    total = total / sum(abs(item.weight) for item in items)
    check_direction(total[None])
    return embedding * torch.linalg.vector_norm(total)


def _described(bot: "Assistant", media: Mapping[str, Any]) -> str:
    """What the model says of the media; words that are media themselves are taken as they are."""
    items = media_items(media)
    if items and all(item.modality is Modality.TEXT for item in items):
        return ", ".join(str(item.source) for item in items)
    if not items:
        raise UserError("there is nothing to imagine; give media, or words with --description")
    text = bot.ask(QUESTION, media=media).text.strip()
    if not text:
        raise UserError("the model says nothing about these media; give words with --description")
    return text


def _unit(row: Tensor) -> Tensor:
    return F.normalize(row, dim=0)


def _raised(row: Tensor | Exception) -> Tensor:
    if isinstance(row, Exception):
        raise row
    return row


def _shown(item: MediaItem) -> str:
    """A medium's name for people and metadata: words, or the name of a file without its folder."""
    source = item.source
    name = str(source).rpartition("/")[2] if not isinstance(source, bytes) else "bytes"
    if item.modality is Modality.TEXT:
        name = repr(str(source))
    elif not isinstance(source, str) and not hasattr(source, "__fspath__"):
        name = "in memory"
    weight = "" if item.weight == 1.0 else f" × {item.weight:g}"
    return f"{name[:_LONGEST_NAME]}{weight}"


def each(wishes: Sequence[Wish], count: int) -> Iterator[tuple[int, int]]:
    """The numbers of wish and thing, in the order in which results lie."""
    for wish in range(len(wishes)):
        for thing in range(count):
            yield wish, thing
