"""What to look for: words, a picture, a sound, a shape, or a weighted mixture of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from imagebind_llm.common.errors import UserError, one_line, short
from imagebind_llm.common.modality import Modality
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.inference.request import describe
from imagebind_llm.model.conditioning import cache_settings, move_towards_cache
from imagebind_llm.model.messages import MediaItem, media_items

_LONGEST = 40
"""Characters of words or of a file's name that become a label by themselves."""
_LONGEST_LABEL = 200
_SHORTEST = 1e-4
"""Length of a mixture of unit vectors below which its direction is chance."""


@dataclass(frozen=True)
class Prompt:
    """One kind of thing to look for.

    Attributes:
        media: what describes it. Several are one mixture, by their weights.
        label: how it is called in results, one line of at most 200 characters; longer ones are cut.
    """

    media: tuple[MediaItem, ...]
    label: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", one_line(self.label, _LONGEST_LABEL))

    @classmethod
    def of(cls, label: str | None = None, **media: Any) -> "Prompt":
        """``Prompt.of(text="a dog")``, ``Prompt.of(audio="dog.ogg")``, ``Prompt.of("it", image=("a.png",
        0.7), audio=("b.wav", 0.3))``: media as :meth:`Assistant.ask` takes them, all of them one mixture.

        Raises:
            UserError: no media, or a malformed one.
        """
        items = tuple(media_items(media))
        if not items:
            raise UserError("a prompt has no media; give for example text='a dog' or audio='dog.wav'")
        if label is None:
            label = " + ".join(_called(item) for item in items)
        if not isinstance(label, str) or not label.strip():
            raise UserError(f"the label of a prompt is {short(label)}; expected words")
        return cls(items, label)

    @classmethod
    def each(cls, **media: Any) -> "list[Prompt]":
        """A prompt for each medium: ``Prompt.each(text=["a dog", "a cat"], audio=["horse.wav"])``."""
        return [cls((item,), _called(item)) for item in media_items(media)]


def _called(item: MediaItem) -> str:
    said = (
        str(item.source)
        if isinstance(item.source, str) and item.modality is Modality.TEXT
        else describe(item)
    )
    return one_line(said, _LONGEST)


def embed_prompts(bot: Assistant, prompts: Sequence[Prompt], cache: bool = False) -> Tensor:
    """The direction of each prompt, unit rows ``[n, D]`` float32.

    Args:
        bot: whose perception is used.
        prompts: to embed.
        cache: whether those without pictures are moved towards the pictures that the model knows.

    Raises:
        UserError: a medium that cannot be read, media that cancel each other out, or no cache where one was
            asked for.
    """
    rows = torch.stack([bot.condition(**_as_given(prompt)) for prompt in prompts]).float()
    if cache:
        known = bot.cache
        if known is None:
            raise UserError("the cache was asked for, but this model has none; leave out --cache")
        chosen = [all(item.modality != Modality.IMAGE for item in prompt.media) for prompt in prompts]
        settings: Mapping[str, Any] = cache_settings(bot.model.config.cache, known.size)
        rows = move_towards_cache(rows, chosen, known, settings)
    lengths = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    if float(lengths.min()) < _SHORTEST:
        raise UserError("the media of a prompt cancel each other out; give them other weights")
    return rows / lengths


def _as_given(prompt: Prompt) -> dict[str, Any]:
    media: dict[str, Any] = {}
    for item in prompt.media:
        media.setdefault(item.modality.value, []).append((item.source, item.weight))
    return media
