"""A made-up touch sensor to try adding a modality with: handwritten digits as reliefs on a soft skin.

    python examples/make_tactile.py --data DATA --out pairs --train 6000 --test 500

DATA holds ``mnist/train.parquet`` and ``mnist/test.parquet``. The result is a folder of pairs as
``imagebind-llm train bind`` reads them: ``pairs/train/three/00017.npy`` beside ``00017.png``.

The physics, all derived (no sensor was there):

1. Relief. The digit stands out of a plate by 0.6 to 1.4 mm, turned, zoomed and shifted at random.
2. Contact. A flat pad of 36 x 36 mm meets it with a slight tilt. Where the relief reaches into the pad, the
   pressure on its surface grows with the depth (a Winkler foundation: independent springs).
3. Skin. The taxels lie under 0.8 to 2.5 mm of elastic skin. A point load F on its surface reaches a point at
   depth d and distance r aside with the stress 3 F d^3 / (2 pi (r^2 + d^2)^(5/2)) (Boussinesq's half space),
   which blurs the map the more the thicker the skin.
4. Taxels. 24 x 24 of them, each with its own gain (spread 8 %), noise and an offset; values in kPa.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from nano_lab.world.concepts import CONCEPTS
from nano_lab.world.images import CANVAS
from nano_lab.world.strokes import InkWarp, vary_thickness, warp_ink
from nano_lab.world.tables import decode_pictures, label_ids, read_columns

TAXELS = 24
PAD_MM = 36.0
FINE = 72  # cells of the contact problem: three a taxel
STIFFNESS = 60.0  # kPa per mm of indentation


def tactile_maps(ink: torch.Tensor, rng: np.random.Generator) -> np.ndarray:
    """Pressure maps float32 ``[B, 24, 24]`` in kPa of ink ``[B, H, W]`` (0..1)."""
    count = len(ink)
    relief = warp_ink(vary_thickness(ink, rng), rng, InkWarp(), FINE)
    relief = relief * column(rng.uniform(0.6, 1.4, count))
    axis = torch.linspace(-1.0, 1.0, FINE)
    tilt = rng.uniform(-0.25, 0.25, (2, count))
    gap = column(rng.uniform(0.05, 0.35, count))
    gap = gap + column(tilt[0]) * axis[:, None] + column(tilt[1]) * axis[None, :]
    surface = STIFFNESS * (relief - gap).clamp(min=0.0)
    depths = rng.uniform(0.8, 2.5, count).tolist()
    under = torch.stack([through_skin(surface[i], depths[i]) for i in range(count)])
    taxels = F.avg_pool2d(under[:, None], FINE // TAXELS)[:, 0].numpy()
    gain = rng.normal(1.0, 0.08, (count, TAXELS, TAXELS))
    noise = rng.normal(0.0, 0.4, (count, TAXELS, TAXELS)) + rng.normal(0.0, 0.3, (count, 1, 1))
    return (gain * taxels + noise).astype(np.float32)


def through_skin(pressure: torch.Tensor, depth_mm: float) -> torch.Tensor:
    """Surface pressure ``[H, W]`` as the normal stress under ``depth_mm`` of skin."""
    cell = PAD_MM / FINE
    reach = int(np.ceil(3 * depth_mm / cell))
    offset = torch.arange(-reach, reach + 1) * cell
    square = offset[:, None] ** 2 + offset[None, :] ** 2
    kernel = 3 * depth_mm**3 / (2 * np.pi * (square + depth_mm**2) ** 2.5) * cell**2
    return F.conv2d(pressure[None, None], kernel[None, None], padding=reach)[0, 0]


def column(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))[:, None, None]


def write_split(data: Path, out: Path, split: str, count: int, seed: int) -> None:
    """Write ``count`` pairs of one split of MNIST."""
    rng = np.random.default_rng((seed, split == "test"))
    columns = read_columns(data, "mnist", split, ("image", "label"))  # type: ignore[arg-type]
    chosen = rng.permutation(len(columns["label"]))[:count]
    labels = label_ids([columns["label"][row] for row in chosen])
    grey = decode_pictures([columns["image"][row] for row in chosen], "L")
    border = (CANVAS - grey.shape[1]) // 2
    pixels = np.pad(grey, ((0, 0), (border, border), (border, border)))
    for start in range(0, count, 256):
        part = slice(start, start + 256)
        maps = tactile_maps(torch.from_numpy(pixels[part].astype(np.float32) / 255), rng)
        for number, pressure in enumerate(maps, start):
            folder = out / split / CONCEPTS[labels[number]].name
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / f"{number:05d}.npy", pressure)
            Image.fromarray(pixels[number]).convert("RGB").save(folder / f"{number:05d}.png")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with mnist/train.parquet, …")
    parser.add_argument("--out", type=Path, required=True, help="folder of pairs to write")
    parser.add_argument("--train", type=int, default=6000)
    parser.add_argument("--test", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for split, count in (("train", given.train), ("test", given.test)):
        write_split(given.data, given.out, split, count, given.seed)


if __name__ == "__main__":
    main()
