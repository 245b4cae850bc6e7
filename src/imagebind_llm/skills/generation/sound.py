"""Sounds by diffusers' text-to-audio pipelines. They read words, not embeddings: the model's own description
of the media, or the user's."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.errors import UserError, reason_of
from imagebind_llm.skills.generation.contract import Kind, Made, Part, Settings, Sounds, Wish, require_kind
from imagebind_llm.skills.generation.pipelines import (
    descriptions,
    open_pipeline,
    options,
    seeded,
    show_progress,
)
from imagebind_llm.skills.generation.registry import GeneratorKind
from imagebind_llm.skills.generation.wishes import each


class SoundGenerator:
    """A ``StableAudioPipeline`` or ``AudioLDM2Pipeline`` as a generator.

    Args:
        pipeline: the pipeline.
        name: of the generator.
        weights: where it came from, for metadata.
        length: what the pipeline calls the length in seconds.
        rate: of its sounds, Hz.
    """

    kinds: Sequence[Kind] = ("sound",)
    reads: Sequence[Part] = ("description",)
    encoder_fingerprint: str | None = None
    shifts: Mapping[str, Tensor] = {}

    def __init__(self, pipeline: Any, name: str, weights: str, length: str, rate: int) -> None:
        self.pipeline, self.length, self.rate = pipeline, length, rate
        self.about: Mapping[str, str] = {"generator": name, "weights": weights}

    def make(self, kind: Kind, wishes: Sequence[Wish], settings: Settings) -> Made:
        """Sounds of equal length.

        Raises:
            UserError: another kind is asked for, a wish has no description, or the pipeline refuses the
                length.
        """
        require_kind(self, kind)
        words = descriptions(wishes)
        show_progress(self.pipeline, settings)
        made = []
        for wish, thing in each(wishes, settings.count):
            try:
                with torch.no_grad():
                    found = self.pipeline(
                        prompt=words[wish],
                        negative_prompt=wishes[wish].negative or None,
                        generator=seeded(self.pipeline, [settings.seed + thing])[0],
                        **options(settings, **{self.length: settings.seconds}),
                    ).audios[0]
            except ValueError as error:
                raise UserError(f"the pipeline refuses these settings: {reason_of(error)}") from error
            made.append(_channels(found))
        return Sounds(made, self.rate)


def _channels(found: Any) -> np.ndarray:
    """``[channels, length]`` float32, not beyond -1 … 1."""
    samples = found.float().cpu().numpy() if isinstance(found, Tensor) else np.asarray(found, np.float32)
    samples = samples[None] if samples.ndim == 1 else samples
    return (samples / max(1.0, float(np.abs(samples).max()))).astype(np.float32)


def _open_stable_audio(weights: str | None, device: str) -> SoundGenerator:
    pipeline = open_pipeline("StableAudioPipeline", "stable-audio", weights, device)
    rate = int(pipeline.vae.config.sampling_rate)
    return SoundGenerator(pipeline, "stable-audio", str(weights), "audio_end_in_s", rate)


def _open_audioldm2(weights: str | None, device: str) -> SoundGenerator:
    pipeline = open_pipeline("AudioLDM2Pipeline", "audioldm2", weights, device)
    rate = int(pipeline.vocoder.config.sampling_rate)
    return SoundGenerator(pipeline, "audioldm2", str(weights), "audio_length_in_s", rate)


STABLE_AUDIO = GeneratorKind(_open_stable_audio, ("sound",), "Stable Audio: sounds from a description.")
AUDIOLDM2 = GeneratorKind(_open_audioldm2, ("sound",), "AudioLDM 2: sounds from a description.")
