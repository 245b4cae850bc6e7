"""Media files of every format, mutated; arrays of every kind as every modality."""

from collections import defaultdict
from random import Random

import numpy as np
import torch
from support.media_samples import SHAPES, SMALL, Sample, make_samples

from fuzz.mutate import mutate_bytes
from fuzz.target import Case, Target
from imagebind_llm.common.modality import Modality
from imagebind_llm.media import guess_modality, load_media


def check(modality: Modality, source: object) -> None:
    """Load a medium, with the limits of every day; what comes is a whole tensor of finite numbers."""
    tensor = load_media(modality, source, SMALL)
    assert tuple(tensor.shape) == SHAPES[modality], f"shape {tuple(tensor.shape)}"
    assert torch.isfinite(tensor.float()).all(), "values that are not finite"


class MediaFiles(Target):
    """A valid file, changed once or a few times, under its own or another suffix, as what it is or seems."""

    name = "media"

    def prepare(self) -> None:
        kinds: dict[str, list[Sample]] = defaultdict(list)
        for sample in make_samples():
            kinds[sample.suffix].append(sample)
        self._kinds = [kinds[suffix] for suffix in sorted(kinds)]

    def case(self, rng: Random) -> Case:
        sample = rng.choice(rng.choice(self._kinds))
        data, labels = sample.data, []
        for _ in range(rng.choice((1, 1, 2, 4))):
            label, data = mutate_bytes(data, rng)
            labels.append(label)
        suffix = sample.suffix if rng.random() < 0.9 else rng.choice(self._kinds)[0].suffix
        path = self.input / f"odd{suffix}"
        path.write_bytes(data)
        way = rng.choice(("own", "own", "own", "bytes", "guessed", "other"))

        def run() -> None:
            modality = sample.modality
            if way == "guessed":
                modality = guess_modality(path)
            elif way == "other":
                modality = rng.choice([m for m in SHAPES if m is not Modality.TEXT])
            if modality is Modality.TEXT:
                return  # read by the command line, not here
            check(modality, data if way == "bytes" else path)

        return Case(f"{sample.modality} {sample.suffix} ({way}): {', '.join(labels)}", run)


_TYPES = (
    "float32",
    "float64",
    "float16",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "int64",
    "bool",
    "complex64",
    "object",
)
_VALUES = (0.0, 1.0, -1.0, 0.5, 255.0, 65535.0, 1e-30, 1e30, 3e38, float("nan"), float("inf"), float("-inf"))
_SIDES = (0, 1, 2, 3, 4, 6, 7, 9, 33, 200, 3000)


class Arrays(Target):
    """Arrays of any type, shape and values, as each modality."""

    name = "arrays"

    def case(self, rng: Random) -> Case:
        modality = rng.choice([m for m in SHAPES if m is not Modality.TEXT])
        kind = rng.choice(_TYPES)
        shape = [rng.choice(_SIDES) for _ in range(rng.choice((0, 1, 2, 2, 2, 3, 3, 4)))]
        while int(np.prod(shape)) > 4_000_000:
            shape[shape.index(max(shape))] = 2
        numbers = np.random.default_rng(rng.getrandbits(32))
        values = numbers.random(shape) * rng.choice((1, 1, 255, 10_000)) - rng.choice((0, 0, 0.5))
        if values.size and rng.random() < 0.6:
            flat = values.reshape(-1)
            flat[numbers.integers(0, values.size, max(values.size // rng.choice((1, 3, 100)), 1))] = (
                rng.choice(_VALUES)
            )
        if kind == "object":
            array: object = np.array([None] * 3, dtype=object)
        else:
            with np.errstate(all="ignore"):
                array = values.astype(kind)
        form = rng.choice(("array", "array", "fortran", "strided", "tensor", "list"))
        if form == "fortran":
            array = np.asfortranarray(array)
        elif form == "strided" and np.ndim(array):
            array = np.asarray(array)[::-1]
        elif form == "tensor" and kind not in ("object", "uint16"):
            array = torch.from_numpy(np.array(array, copy=True))
        elif form == "list" and np.prod([max(side, 1) for side in shape]) < 10_000:
            array = np.asarray(array).tolist()
        source: object = array
        if modality is Modality.AUDIO:
            rate = rng.choice((16000, 8000, 1, 0, -1, 10**9, 44100.5, "x", None, True))
            source = {"array": array, "sampling_rate": rate}
        return Case(f"{modality} {kind} {shape} as {form}", lambda: check(modality, source))
