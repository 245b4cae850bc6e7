"""How much a crop looks like nothing, for prompts of each modality."""

from collections.abc import Sequence

import torch
from torch import Tensor

from imagebind_llm.common.modality import Modality
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.model.messages import MediaItem
from imagebind_llm.skills.detection.prompts import Prompt
from imagebind_llm.skills.detection.scoring import NO_WORDS, no_pictures, no_sounds

_ALIKE = {Modality.VIDEO: Modality.IMAGE}
"""Modalities that borrow another's pictures of nothing."""


class Nothing:
    """Embeds what is nothing when it is first needed.

    Args:
        bot: whose encoder is used.
        words: for nothing.
    """

    def __init__(self, bot: Assistant, words: Sequence[str] = NO_WORDS) -> None:
        self._bot = bot
        self._words = tuple(words)
        self._known: dict[Modality, Tensor | None] = {}

    def levels(self, views: Tensor, prompts: Sequence[Prompt]) -> Tensor:
        """``[boxes, views, prompts]``: the largest cosine of each view to what is nothing for each prompt.

        Of a mixture it is the mean over its media by their absolute weights. Where the encoder has nothing
        to compare with (no words), it is 0.
        """
        found: dict[Modality, Tensor] = {}
        columns = []
        for prompt in prompts:
            total = torch.zeros(views.shape[:2])
            weights = sum(abs(item.weight) for item in prompt.media)
            for item in prompt.media:
                if item.modality not in found:
                    rows = self._rows(item.modality)
                    near = torch.zeros(views.shape[:2]) if rows is None else (views @ rows.T).amax(dim=-1)
                    found[item.modality] = near
                total = total + found[item.modality] * (abs(item.weight) / weights)
            columns.append(total)
        return torch.stack(columns, dim=-1)

    def _rows(self, modality: Modality) -> Tensor | None:
        kind = _ALIKE.get(modality, modality)
        if kind not in (Modality.IMAGE, Modality.AUDIO):
            kind = Modality.TEXT
        if kind not in self._known:
            self._known[kind] = self._embedded(kind)
        return self._known[kind]

    def _embedded(self, kind: Modality) -> Tensor | None:
        if kind.value not in self._bot.modalities:
            return None
        sources: Sequence[object] = self._words
        if kind is Modality.IMAGE:
            sources = no_pictures()
        elif kind is Modality.AUDIO:
            sources = no_sounds()
        rows = list(self._bot.iter_embed(MediaItem(kind, source) for source in sources))
        return torch.stack([row for row in rows if isinstance(row, Tensor)]) if rows else None
