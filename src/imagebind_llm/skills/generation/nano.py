"""Nano's own generator: pictures of its digits and objects, its digits sawn out of a board, and sounds.

Its sounds are looked up, not made anew: spoken digits and animal calls that the project synthesised itself
(:mod:`imagebind_llm.skills.generation.bank`). The recordings that nano learnt from are other people's, and
are not shipped.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.common.locate import nano_folder
from imagebind_llm.inference.loading import choose_device
from imagebind_llm.skills.generation.bank import RATE, SoundBank, load_bank
from imagebind_llm.skills.generation.contract import (
    Kind,
    Made,
    Part,
    Pictures,
    Settings,
    Shapes,
    Sounds,
    Wish,
    embeddings_of,
    require_kind,
)
from imagebind_llm.skills.generation.decoder.folder import load_decoder
from imagebind_llm.skills.generation.decoder.model import EmbeddingDecoder
from imagebind_llm.skills.generation.decoder.sampling import GUIDANCE, STEPS, sample
from imagebind_llm.skills.generation.registry import GeneratorKind
from imagebind_llm.skills.generation.solids import extrude
from imagebind_llm.skills.generation.wishes import each

_AT_ONCE = 64
"""Pictures in one batch."""


class DecoderGenerator:
    """A decoder of :mod:`imagebind_llm.skills.generation.decoder` as a generator.

    Args:
        decoder: in evaluation mode.
        encoder_fingerprint: of the encoder it was trained with.
        shifts: modality → ``[D]``.
        name: for metadata.
        sounds: that can be looked up; None: it makes no sound.
    """

    reads: Sequence[Part] = ("embedding",)

    def __init__(
        self,
        decoder: EmbeddingDecoder,
        encoder_fingerprint: str | None,
        shifts: Mapping[str, Tensor],
        name: str = "nano",
        sounds: SoundBank | None = None,
    ) -> None:
        self.decoder, self.encoder_fingerprint, self.shifts = decoder, encoder_fingerprint, shifts
        self.sounds = sounds
        self.kinds: Sequence[Kind] = ("picture", "shape") if sounds is None else ("picture", "sound", "shape")
        self.about: Mapping[str, str] = {"generator": name, "encoder": encoder_fingerprint or "unknown"}

    def make(self, kind: Kind, wishes: Sequence[Wish], settings: Settings) -> Made:
        """Pictures ``[n, H, W, 3]``, what their light ink is as a board, or sounds that lie near.

        Raises:
            UserError: a wish has no embedding, a shape is asked for and the picture is no drawing, or a sound
                is asked for and none is near.
        """
        require_kind(self, kind)
        rows = embeddings_of(wishes, self.decoder.config.embedding_dim)
        if kind == "sound" and self.sounds is not None:
            return _played(self.sounds, rows, wishes, settings)
        places = list(each(wishes, settings.count))
        parts = []
        for start in range(0, len(places), _AT_ONCE):
            now = places[start : start + _AT_ONCE]
            chosen = [wish for wish, _ in now]
            parts.append(
                sample(
                    self.decoder,
                    rows[chosen],
                    [settings.seed + thing for _, thing in now],
                    steps=settings.steps or STEPS,
                    guidance=GUIDANCE if settings.guidance is None else settings.guidance,
                    negatives=_negatives([wishes[wish] for wish in chosen]),
                    progress=settings.progress,
                )
            )
        pixels = torch.cat(parts).numpy()
        if kind == "picture":
            return Pictures(pixels)
        return Shapes(tuple(extrude(ink_of(picture)) for picture in pixels))


def _played(bank: SoundBank, rows: Tensor, wishes: Sequence[Wish], settings: Settings) -> Sounds:
    for name in ("steps", "guidance", "seconds"):
        if getattr(settings, name) is not None:
            raise UserError(f"nano's sounds are looked up as they are, so {name} means nothing; leave it out")
    found = [
        bank.play(rows[wish], settings.seed + thing, wishes[wish].negative_embedding)
        for wish, thing in each(wishes, settings.count)
    ]
    return Sounds([samples[None] for _, samples in found], RATE, tuple(name for name, _ in found))


def ink_of(picture: np.ndarray) -> np.ndarray:
    """The ink 0 … 1 ``[H, W]`` of a drawing uint8 ``[H, W, 3]``: light on dark, without colour.

    Raises:
        UserError: it is no such drawing.
    """
    values = picture.astype(np.float32) / 255.0
    grey = values.mean(2)
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    colour = float(np.ptp(values, axis=2).mean())
    if edge.mean() > _DARKEST_EDGE or colour > _MOST_COLOUR or not (grey > 0.5).any():
        raise UserError(
            "nano makes shapes of digits only, and this picture is no digit; ask for a digit or a picture"
        )
    return grey


_DARKEST_EDGE = 0.2
_MOST_COLOUR = 0.1
"""A digit of nano's is white on black with a black margin: mean of the margin, mean spread of
the channels."""


def generator_folder() -> Path:
    """Where nano's generator lies."""
    return nano_folder().parent / "generator"


def _open(weights: str | None, device: str) -> DecoderGenerator:
    folder = generator_folder() if weights is None else Path(weights).expanduser()
    if weights is None and not (folder / "config.json").is_file():
        raise CheckpointError(
            "nano's generator is not in this installation; install the package again, or give a folder that "
            "recipes/nano/generator.yaml trained (imagine --weights DIR, ask --tool generator=DIR, "
            "serve --generator DIR), or use another generator"
        )
    decoder, fingerprint, shifts = load_decoder(folder, choose_device(device))
    sounds = load_bank(folder, decoder.config.embedding_dim)
    return DecoderGenerator(decoder, fingerprint, shifts, sounds=sounds)


def _negatives(wishes: Sequence[Wish]) -> Tensor | None:
    """The negative embeddings, if the wishes have them."""
    found = [wish.negative_embedding for wish in wishes]
    known = [row for row in found if row is not None]
    if not known:
        return None
    if len(known) != len(found):
        raise UserError("some wishes have a negative and some have none; make them one after the other")
    return torch.stack(known)


NANO = GeneratorKind(
    _open, ("picture", "sound", "shape"), "Nano's digits and objects, from the joint embedding."
)
