"""Picture and prompts → boxes: propose, cut, embed, score, keep the best."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.inference.perception import raised
from imagebind_llm.media.image import read_image, to_rgb
from imagebind_llm.model.messages import MediaItem
from imagebind_llm.skills.detection.boxes import Floats, cut, squared, suppress
from imagebind_llm.skills.detection.nothing import Nothing
from imagebind_llm.skills.detection.prompts import Prompt, embed_prompts
from imagebind_llm.skills.detection.proposals import Proposals, Proposer
from imagebind_llm.skills.detection.results import Detection, Detections
from imagebind_llm.skills.detection.scoring import NO_WORDS, scores
from imagebind_llm.skills.detection.settings import DetectionSettings

MARGINS = (1.0, 1.4)
"""Sides of the squares that a box is seen in, of its own longer side: as it is, and with the room around it
that pictures of single things have (MNIST's digits take 20 of 28 pixels)."""
MOST_PROMPTS = 1000


@dataclass(frozen=True)
class Looked:
    """A picture whose proposals have been embedded.

    Attributes:
        picture: RGB.
        proposals: its boxes.
        views: unit rows ``[boxes, margins, D]``; None without boxes.
    """

    picture: Image.Image
    proposals: Proposals
    views: Tensor | None


class Detector:
    """Finds what prompts of any modality describe.

    Args:
        bot: its encoder scores the boxes.
        proposer: finds them; by default :class:`~.regions.RegionProposer`, which needs SciPy.
        background: words for nothing, which a prompt must beat.

    Raises:
        UserError: the model has no encoder for pictures.
    """

    def __init__(
        self, bot: Assistant, proposer: Proposer | None = None, background: Sequence[str] = NO_WORDS
    ) -> None:
        if Modality.IMAGE.value not in bot.modalities:
            raise UserError(
                "this model encodes no pictures, so it can find nothing in them; give another with --model"
            )
        if proposer is None:
            from imagebind_llm.skills.detection.regions import RegionProposer

            proposer = RegionProposer()
        self.bot = bot
        self.proposer = proposer
        self._nothing = Nothing(bot, background)

    def detect(
        self,
        picture: Any,
        prompts: Sequence[Prompt],
        settings: DetectionSettings | None = None,
        cache: bool = False,
    ) -> Detections:
        """Boxes around what the prompts describe.

        Args:
            picture: a path, bytes, an array or a PIL image.
            prompts: what to look for.
            settings: which boxes are kept.
            cache: whether prompts are moved towards cached pictures, see :func:`.prompts.embed_prompts`.

        Raises:
            UserError: no prompt, or a picture or medium that cannot be read.
        """
        opened = self.open(picture)
        directions = self.embed(prompts, cache)
        chosen = settings or DetectionSettings()
        return self.choose(self.look(opened, chosen), prompts, directions, chosen)

    def open(self, picture: Any) -> Image.Image:
        """A picture, upright, RGB.

        Raises:
            MediaError: it cannot be read.
        """
        return to_rgb(read_image(picture, self.bot.processor.limits))

    def embed(self, prompts: Sequence[Prompt], cache: bool = False) -> Tensor:
        """Unit rows ``[n, D]`` of prompts, for :meth:`choose` on many pictures.

        Raises:
            UserError: none or too many, or a medium that cannot be read.
        """
        if not 1 <= len(prompts) <= MOST_PROMPTS:
            raise UserError(f"{len(prompts)} prompts; give 1 to {MOST_PROMPTS}, for example text='a dog'")
        return embed_prompts(self.bot, prompts, cache)

    def look(self, picture: Image.Image, settings: DetectionSettings | None = None) -> Looked:
        """Propose boxes of an RGB picture, and embed what is in them, all in one go through the encoder."""
        proposals = self.proposer.propose(picture, (settings or DetectionSettings()).proposals)
        crops = [cut(picture, squared(box, margin)) for box in proposals.boxes for margin in MARGINS]
        rows = [raised(row) for row in self.bot.iter_embed(MediaItem(Modality.IMAGE, crop) for crop in crops)]
        views = torch.stack(rows).unflatten(0, (len(proposals), len(MARGINS))) if rows else None
        return Looked(picture, proposals, views)

    def choose(
        self,
        looked: Looked,
        prompts: Sequence[Prompt],
        directions: Tensor,
        settings: DetectionSettings | None = None,
    ) -> Detections:
        """The boxes that answer prompts.

        Args:
            looked: of :meth:`look`; it serves any number of searches.
            prompts: what to look for.
            directions: of :meth:`embed`.
            settings: which boxes are kept.
        """
        settings = settings or DetectionSettings()
        labels = tuple(prompt.label for prompt in prompts)
        views = looked.views
        if views is None:
            return Detections(looked.picture, labels, (), 0)
        nothing = self._nothing.levels(views, prompts)
        fits = scores(views, directions, nothing, settings.temperature, settings.classify)
        near = (views @ directions.T).double().numpy()
        found = _kept(looked.proposals, fits, near, labels, settings)
        return Detections(looked.picture, labels, tuple(found), len(looked.proposals))


def _kept(
    proposals: Proposals,
    fits: Floats,
    near: Floats,
    labels: Sequence[str],
    settings: DetectionSettings,
) -> list[Detection]:
    """The boxes that answer a prompt well enough and are not a better one's shadow.

    ``fits`` is ``[boxes, prompts]``, ``near`` (cosines) is ``[boxes, margins, prompts]``.
    """
    # where the encoder sees no difference, the box that more speaks for wins
    sure = 0.5 + 0.5 * proposals.objectness / max(float(proposals.objectness.max()), 1e-9)
    ranks = fits * sure[:, None]
    if settings.classify:
        boxes, prompts = np.arange(len(fits)), fits.argmax(axis=1)
    else:
        boxes, prompts = (places.reshape(-1) for places in np.indices(fits.shape))
    found = ranks[boxes, prompts]
    good = found >= settings.threshold
    boxes, prompts, found = boxes[good], prompts[good], found[good]
    kept: list[int] = []
    for group in _rivals(prompts, settings.classify):
        kept += group[suppress(proposals.boxes[boxes[group]], found[group], settings.overlap)].tolist()
    kept.sort(key=lambda row: -float(found[row]))
    return [
        Detection(
            number,
            (float(x0), float(y0), float(x1), float(y1)),
            int(prompts[row]),
            labels[prompts[row]],
            float(found[row]),
            float(near[boxes[row], :, prompts[row]].max()),
            float(proposals.objectness[boxes[row]]),
            MARGINS[int(near[boxes[row], :, prompts[row]].argmax())],
        )
        for number, row in enumerate(kept[: settings.most], 1)
        for x0, y0, x1, y1 in [proposals.boxes[boxes[row]]]
    ]


def _rivals(prompts: NDArray[np.intp], classify: bool) -> list[NDArray[np.intp]]:
    """Rows among which one box suppresses another: all, or those of one prompt."""
    if classify:
        return [np.arange(len(prompts))]
    return [np.flatnonzero(prompts == one) for one in np.unique(prompts)]
