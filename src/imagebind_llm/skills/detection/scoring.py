"""Crops and prompts → scores.

A prompt competes with the other prompts, and with prompts for nothing in particular, as classes do in
zero-shot recognition: a softmax over cosines divided by a temperature. Cosines of pictures to sounds are
smaller than those to words, whatever is heard (the gap between modalities). So each prompt is compared with
prompts for nothing of its own modality: words for it, pictures of it, sounds of it. Modalities without such
are compared with words.
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from imagebind_llm.skills.detection.boxes import Floats

NO_WORDS = ("nothing", "an empty page", "noise", "a blank wall", "a meaningless pattern")
_SIDE = 32
_RATE = 16_000
_SECONDS = 2


def no_pictures(seed: int = 0, count: int = 12) -> list[Image.Image]:
    """Pictures of nothing: plain colours, slopes of colour, grain; always the same."""
    random = np.random.default_rng(seed)
    found = []
    slope = np.linspace(-1, 1, _SIDE)
    for number in range(count):
        pixels = np.tile(random.uniform(0.1, 0.9, 3), (_SIDE, _SIDE, 1))
        if number % 3 == 1:
            pixels += random.uniform(-0.3, 0.3, 3) * slope[:, None, None]
            pixels += random.uniform(-0.3, 0.3, 3) * slope[None, :, None]
        if number % 3 == 2:
            pixels += random.normal(0, random.uniform(0.02, 0.2), pixels.shape)
        found.append(Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8)))
    return found


def no_sounds(seed: int = 0) -> list[dict[str, object]]:
    """Sounds of nothing: near silence, hiss and rumble, two seconds each; always the same."""
    random = np.random.default_rng(seed)
    white = random.standard_normal(_RATE * _SECONDS).astype(np.float32)
    low = np.convolve(white, np.ones(64, np.float32) / 8, mode="same").astype(np.float32)
    waves = (white * 1e-4, white * 0.05, low * 0.05)
    return [{"array": wave, "sampling_rate": _RATE} for wave in waves]


def scores(
    views: Tensor, prompts: Tensor, nothing: Tensor, temperature: float, classify: bool = True
) -> Floats:
    """How well each box fits each prompt, ``[boxes, prompts]``, 0 … 1.

    Args:
        views: unit rows ``[boxes, views, D]``: each box is seen with several margins, the best one counts.
        prompts: unit rows ``[prompts, D]``.
        nothing: ``[boxes, views, prompts]``, the cosine of each view to what is nothing for each prompt.
        temperature: cosines are divided by it.
        classify: whether prompts compete with each other, too.
    """
    logits = ((views @ prompts.T - nothing) / temperature).double()
    if not classify:
        return np.asarray(torch.sigmoid(logits).amax(dim=1))
    with_none = torch.cat([logits, torch.zeros_like(logits[..., :1])], dim=-1)
    return np.asarray(torch.softmax(with_none, dim=-1)[..., :-1].amax(dim=1))
