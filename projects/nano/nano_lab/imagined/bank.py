"""Nano's sounds: recordings that this project synthesised, under keys in the joint embedding.

    python examples/make_inputs.py --all all-inputs --only .wav      # needs espeak-ng
    python -m nano_lab.imagined.bank all-inputs --weights src/imagebind_llm/nano/generator

The folder holds recordings ``THING_VARIANT.wav``, where ``THING`` is one that nano knows. A thing's key is
the mean embedding of its captions, with the generator's shift for texts. Of each thing those recordings are
kept that the encoder itself hears best. ``sounds.safetensors`` goes into the generator's folder.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from torch import Tensor

from imagebind_llm.common.errors import UserError
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.skills.generation.bank import RATE, save_bank
from imagebind_llm.skills.generation.contract import Generator
from imagebind_llm.skills.generation.registry import generator_kind
from imagebind_llm.skills.generation.wishes import make_wish
from imagebind_llm.training.build import exit_code
from nano_lab.captions import captions
from nano_lab.world.concepts import concept_named
from nano_lab.world.sounds import change_rate

MOST = 4
"""Recordings of a thing."""
HEARD = 0.75
"""Least cosine of a recording's embedding to its key: below, the encoder does not hear the thing in it."""
_WORDINGS = 20
"""Captions that a key is the mean of, evenly spread."""


def build(bot: Assistant, generator: Generator, recordings: Path, out: Path) -> dict[str, int]:
    """Write the sounds; returns how many there are of each thing.

    Args:
        bot: embeds the captions.
        generator: whose embeddings the keys are.
        recordings: folder of ``THING_VARIANT.wav``.
        out: the file goes into this folder.

    Raises:
        UserError: there is no recording, a name is none of nano's, a file cannot be read, or of a thing no
            recording is heard.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(recordings.glob("*_*.wav")):
        thing = path.stem.partition("_")[0]
        concept_named(thing)
        found.setdefault(thing, []).append(path)
    if not found:
        raise UserError(f"there is no THING_VARIANT.wav in {str(recordings)!r}; see --help")
    keys = {thing: _key(bot, generator, thing) for thing in found}
    sounds = {}
    for thing, paths in found.items():
        near = [float(_embedded(bot, generator, "audio", str(path)) @ keys[thing]) for path in paths]
        heard = [place for place in np.argsort(near)[::-1].tolist() if near[place] >= HEARD]
        if not heard:
            raise UserError(f"the encoder hears no {thing} in its {len(paths)} recordings; make others")
        sounds[thing] = [_recording(paths[place]) for place in heard[:MOST]]
    save_bank(out, keys, sounds)
    return {thing: len(kept) for thing, kept in sounds.items()}


def _embedded(bot: Assistant, generator: Generator, modality: str, medium: str) -> Tensor:
    row = make_wish(bot, {modality: medium}, generator, cache=False).embedding
    assert row is not None, "nano's generator reads embeddings"
    return row


def _key(bot: Assistant, generator: Generator, thing: str) -> Tensor:
    said = captions(concept_named(thing).id)
    chosen = [said[number * len(said) // _WORDINGS] for number in range(_WORDINGS)]
    rows = [_embedded(bot, generator, "text", words) for words in dict.fromkeys(chosen)]
    return F.normalize(torch.stack(rows).mean(0), dim=0)


def _recording(path: Path) -> np.ndarray:
    try:
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (RuntimeError, OSError) as error:
        raise UserError(f"{str(path)!r} is no recording that can be read; make it again") from error
    return change_rate(wave.mean(1), rate, RATE)


def main(given: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m nano_lab.imagined.bank", description="Nano's sounds.")
    parser.add_argument("recordings", type=Path, help="folder of THING_VARIANT.wav")
    parser.add_argument("--weights", type=Path, required=True, metavar="DIR", help="of the generator")
    parser.add_argument("--model", default="nano", help="embeds the captions")
    chosen = parser.parse_args(given)

    def work() -> None:
        generator = generator_kind("nano").open(str(chosen.weights), "cpu")
        bot = Assistant.from_pretrained(chosen.model, device="cpu")
        made = build(bot, generator, chosen.recordings, chosen.weights)
        sys.stdout.write(", ".join(f"{thing} {count}" for thing, count in made.items()) + "\n")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
