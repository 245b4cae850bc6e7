"""Make the example inputs: drawings, pictures, sounds, shapes and readings, all from this code alone.

::

    pip install -c constraints.txt -e ".[examples]"
    python examples/make_inputs.py               # the files in examples/inputs, as they are shipped
    python examples/make_inputs.py --all DIR     # every variant that the code knows, to choose from

Nothing is taken from a data set. Spoken digits need the program ``espeak-ng`` (Debian: ``apt-get install
espeak-ng``) and are left as they are without it. The same seeds give the same pixels, samples and points.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import soundfile
import torch
import trimesh
from making import pen, photos, solids, sounds
from PIL import Image

from nano_lab.world.concepts import concept_named
from nano_lab.world.extrude import extruded_points
from nano_lab.world.film import film
from nano_lab.world.heat import heat_picture
from nano_lab.world.motion import writing_motion
from nano_lab.world.penpath import KNOTS
from nano_lab.world.relief import relief_depth

SEED = 7
INPUTS = Path(__file__).parent / "inputs"

HANDWRITING = {
    "seven.png": ("seven", "white"),
    "three.jpg": ("three", "squared"),
    "two.jpg": ("two", "yellow"),
    "eight.jpg": ("eight", "board"),
    "five.jpg": ("five", "marker"),
    "four.png": ("four", "white"),
}
"""File → digit and paper."""

PHOTOS = {
    "airplane.jpg": "airplane_1",
    "ship.jpg": "ship_1",
    "car.jpg": "automobile_1",
    "truck.jpg": "truck_1",
    "bird.jpg": "bird_1",
    "horse.jpg": "horse_1",
    "dog.jpg": "dog_1",
}
"""File → picture in ``making/photos.py``."""

SPEECH = {
    "four.wav": ("four", "en-us", 140),
    "eight.ogg": ("eight", "en-gb", 150),
    "nine.flac": ("nine", "en-us+m3", 140),
    "two.mp3": ("two", "en-us+m7", 130),
}
"""File → word, espeak-ng voice, words per minute."""

VOICES = (
    *("en-us", "en-us+m2", "en-us+m3", "en-us+m7", "en-us+f3", "en-us+f4", "en-us+f5"),
    *("en-gb", "en-gb+f2", "en-gb-x-rp"),
)

CALLS = {"dog.ogg": "dog_1", "cat.ogg": "cat_1", "bird.flac": "bird_1", "frog.wav": "frog_1"}
"""File → call in ``making/sounds.py``."""

SHAPES = {"airplane.glb": solids.airplane, "ship.obj": solids.ship}
"""File → mesh."""


def main() -> int:
    """Write the files."""
    parser = argparse.ArgumentParser(description="Make the example inputs.")
    parser.add_argument("--all", metavar="DIR", type=Path, help="write every variant into DIR instead")
    parser.add_argument("--only", metavar="WORD", default="", help="only the files with WORD in their name")
    chosen = parser.parse_args()
    folder: Path = chosen.all or INPUTS
    folder.mkdir(parents=True, exist_ok=True)
    jobs = every_variant() if chosen.all else shipped()
    speaks = shutil.which("espeak-ng") is not None
    for name, make in jobs.items():
        if chosen.only not in name:
            continue
        if make[0] is _speech and not speaks:
            print(f"left as it is: {name} (espeak-ng is not installed)")
            continue
        make[0](folder / name, *make[1:])
        print(f"{(folder / name).stat().st_size:8,d}  {name}")
    return 0


def shipped() -> dict[str, tuple]:
    """What is in ``examples/inputs``: file → how to make it."""
    jobs: dict[str, tuple] = {name: (_handwriting, *how) for name, how in HANDWRITING.items()}
    jobs |= {name: (_photo, how) for name, how in PHOTOS.items()}
    jobs |= {name: (_speech, *how) for name, how in SPEECH.items()}
    jobs |= {name: (_call, how) for name, how in CALLS.items()}
    jobs |= {name: (_shape, how) for name, how in SHAPES.items()}
    jobs |= {
        "three.ply": (_board_digit, "three"),
        "five.npy": (_board_cloud, "five"),
        "airplane.xyz": (_airplane_cloud,),
        "eight_depth.png": (_depth, "eight"),
        "three_thermal.png": (_thermal, "three"),
        "seven_imu.csv": (_imu, "seven"),
        "two.mp4": (_drawn_video, "two"),
        "ship.mp4": (_photo_video, PHOTOS["ship.jpg"]),
        "noise.png": (_noise,),
        "blank.png": (_blank,),
        "white_noise.wav": (_static,),
    }
    return jobs


def every_variant() -> dict[str, tuple]:
    """All digits on all papers, all pictures, all voices, …"""
    jobs: dict[str, tuple] = {}
    for digit in pen.STROKES:
        jobs |= {f"{digit}_{paper}.png": (_handwriting, digit, paper)
                 for paper in ("white", "squared", "yellow", "board", "marker")}  # fmt: skip
        jobs |= {f"{digit}_{voice}.wav": (_speech, digit, voice, 140) for voice in VOICES}
        jobs |= {f"{digit}_depth.png": (_depth, digit), f"{digit}_thermal.png": (_thermal, digit),
                 f"{digit}_imu.csv": (_imu, digit), f"{digit}.ply": (_board_digit, digit),
                 f"{digit}.npy": (_board_cloud, digit), f"{digit}.mp4": (_drawn_video, digit)}  # fmt: skip
    for name in photos.SCENES:
        jobs |= {f"{name}.jpg": (_photo, name)}
    jobs |= {f"{name}.wav": (_call, name) for name in sounds.CALLS}
    for kind in (solids.airplane, solids.ship):
        jobs |= {f"{kind.__name__}.glb": (_shape, kind)}
    return jobs


def _rng(path: Path, again: int = 0) -> np.random.Generator:
    """Each file has randomness of its own, so that adding one changes no other."""
    return np.random.default_rng([SEED + again, *path.stem.encode()])


def _handwriting(path: Path, digit: str, paper: str) -> None:
    rng = _rng(path)
    ink = pen.ink_of(pen.pen_lines(digit, rng), 480, rng.uniform(0.58, 0.68), rng.uniform(0.052, 0.07))
    _save_image(path, pen.on_paper(ink, paper, rng))


def _photo(path: Path, name: str) -> None:
    _save_image(path, photos.take(name, SEED))


def _save_image(path: Path, image: Image.Image) -> None:
    if path.suffix == ".jpg":
        image.save(path, quality=88)
    else:
        image.save(path, optimize=True)


def _speech(path: Path, word: str, voice: str, speed: int) -> None:
    """A word from espeak-ng, with silence around it and a quiet background."""
    spoken = subprocess.run(
        ["espeak-ng", "-v", voice, "-s", str(speed), "--stdout", word], check=True, capture_output=True
    ).stdout
    wave, rate = soundfile.read(io.BytesIO(spoken), dtype="float32")
    loud = np.flatnonzero(np.abs(wave) > 0.01)
    wave = wave[max(loud[0] - 800, 0) : loud[-1] + 1600]
    wave = 0.7 * wave / np.abs(wave).max()
    rng = _rng(path)
    _save_sound(path, wave + 0.0015 * rng.normal(size=len(wave)), rate)


def _call(path: Path, name: str) -> None:
    _save_sound(path, sounds.call(name, SEED), sounds.RATE)


def _static(path: Path) -> None:
    _save_sound(path, sounds.white_noise(SEED), sounds.RATE)


def _save_sound(path: Path, wave: np.ndarray, rate: int) -> None:
    subtype = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS", ".mp3": "MPEG_LAYER_III"}[path.suffix]
    soundfile.write(path, wave.clip(-1, 1).astype(np.float32), rate, subtype=subtype)


def _shape(path: Path, build: object) -> None:
    build().export(path)  # type: ignore[operator]


def _airplane_cloud(path: Path) -> None:
    points, _ = trimesh.sample.sample_surface(solids.airplane(), 2500, seed=SEED)
    np.savetxt(path, points, fmt="%.3f")


def _board_digit(path: Path, digit: str) -> None:
    ink = pen.ink_of(pen.pen_lines(digit, _rng(path)), 40, 0.66, 0.09)
    solids.board_digit(ink).export(path)


def _nano_ink(path: Path, digit: str) -> torch.Tensor:
    """A digit as nano's derived senses start from: ``[1, 64, 64]``, the digit 20/32 high."""
    return torch.from_numpy(pen.ink_of(pen.pen_lines(digit, _rng(path)), 64, 20 / 32, 0.075))[None]


def _board_cloud(path: Path, digit: str) -> None:
    np.save(path, extruded_points(_nano_ink(path, digit), _rng(path), 4096)[0])


def _depth(path: Path, digit: str) -> None:
    """A relief, in 16-bit millimetres."""
    metres = relief_depth(_nano_ink(path, digit), _rng(path, 2), 160)[0].numpy()
    Image.fromarray((metres * 1000).round().astype(np.uint16)).save(path)


def _thermal(path: Path, digit: str) -> None:
    """A warm trace on a wall, 8-bit from the coldest to the warmest pixel."""
    celsius = heat_picture(_nano_ink(path, digit), _rng(path), 120)[0].numpy()
    low, high = celsius.min(), celsius.max()
    Image.fromarray(((celsius - low) / (high - low) * 255).round().astype(np.uint8)).save(path)


def _imu(path: Path, digit: str) -> None:
    """Five seconds at 100 Hz from a hand that writes the digit in the air."""
    path_drawn = pen.pen_path(pen.pen_lines(digit, _rng(path)), KNOTS)[None].astype(np.float32) * 1.25
    readings = writing_motion(path_drawn, _rng(path), 2000, 400.0)[0]
    readings = readings.reshape(500, 4, 6).mean(1)
    time = (np.arange(500) + 0.5) / 100
    header = "time_s,ax,ay,az,gx,gy,gz"
    np.savetxt(path, np.column_stack([time, readings]), "%.4f", ",", header=header, comments="")


def _drawn_video(path: Path, digit: str) -> None:
    """The drawn digit drifts before a camera."""
    ink = (pen.ink_of(pen.pen_lines(digit, _rng(path)), 128, 20 / 32, 0.075) * 255).astype(np.uint8)
    _video(path, np.repeat(ink[..., None], 3, -1), concept_named(digit).id)


def _photo_video(path: Path, name: str) -> None:
    """A picture, panned."""
    _video(path, np.asarray(photos.take(name, SEED, 160)), concept_named(name.rpartition("_")[0]).id)


def _video(path: Path, pixels: np.ndarray, label: int) -> None:
    fps, seconds = 12, 3
    progress = np.linspace(0.0, 1.0, fps * seconds)[None]
    frames = film(pixels[None], np.array([label]), _rng(path), progress, 144)[0]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width, stream.pix_fmt = 144, 192, "yuv420p"
        stream.options = {"crf": "26"}
        for frame in (frames.permute(1, 2, 3, 0).numpy() * 255).round().astype(np.uint8):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"))
            )
        container.mux(stream.encode())


def _noise(path: Path) -> None:
    Image.fromarray(_rng(path).integers(0, 256, (96, 96, 3), np.uint8)).save(path)


def _blank(path: Path) -> None:
    Image.new("RGB", (256, 256), "white").save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
