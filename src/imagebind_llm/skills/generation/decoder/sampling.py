"""From noise to pictures: Euler steps of diffusers' flow-matching scheduler, guided."""

from collections.abc import Sequence

import torch
from torch import Tensor

from imagebind_llm.common.errors import require
from imagebind_llm.skills.generation.decoder.model import FEATURE, TIMESTEPS, EmbeddingDecoder
from imagebind_llm.skills.tools.stopping import check_time

STEPS = 25
GUIDANCE = 2.5
"""Ours, to be set by measurement when the weights are trained; both can be given."""


@torch.no_grad()
def sample(
    decoder: EmbeddingDecoder,
    embeddings: Tensor,
    seeds: Sequence[int],
    *,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    negatives: Tensor | None = None,
    progress: bool = False,
) -> Tensor:
    """Pictures uint8 ``[B, H, W, 3]``.

    Args:
        decoder: in evaluation mode.
        embeddings: ``[B, D]`` unit rows.
        seeds: of the noise of each; the result of a row depends on nothing but these two.
        steps: of Euler's method.
        guidance: ``velocity = without + guidance · (with - without)``; 1 is none.
        negatives: ``[B, D]`` unit rows that stand in the place of no condition.
        progress: show a bar, on terminals.

    Raises:
        UserError: the time of the call that this is part of is over.
    """
    from tqdm import tqdm

    diffusers = require("diffusers", "generate", FEATURE)
    device = decoder.nothing.device
    side = decoder.config.size
    rows = [torch.randn(3, side, side, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    pictures = torch.stack(rows).to(device)
    embeddings = embeddings.to(device, torch.float32)
    given = torch.ones(len(pictures), dtype=torch.bool, device=device)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=TIMESTEPS)
    scheduler.set_timesteps(steps)
    for step in tqdm(scheduler.timesteps, desc="imagine", unit="step", disable=None if progress else True):
        check_time()
        levels = (step / TIMESTEPS).expand(len(pictures)).to(device)
        velocity = decoder(pictures, levels, embeddings, given)
        if guidance != 1:
            if negatives is None:
                without = decoder(pictures, levels, embeddings, ~given)
            else:
                without = decoder(pictures, levels, negatives.to(embeddings), given)
            velocity = torch.lerp(without, velocity, guidance)
        pictures = scheduler.step(velocity, step, pictures).prev_sample
    shown = pictures.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return shown.permute(0, 2, 3, 1).cpu()
