"""One small computed file of every kind, for measurements without the example inputs."""

import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from imagebind_llm.common.modality import Modality
from imagebind_llm.media import guess_modality

_MARKS = ("depth", "thermal", "imu")
"""A file called ``…_depth.png`` (and so on) is what its name says; the others are told by their content."""


def files_by_modality(folder: Path) -> dict[Modality, list[Path]]:
    """The media files of a folder, sorted by name; files of no known kind are left out."""
    found: dict[Modality, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        mark = path.stem.rpartition("_")[2]
        try:
            modality = Modality.parse(mark) if mark in _MARKS else guess_modality(path)
        except Exception:  # a README or the like
            continue
        found.setdefault(modality, []).append(path)
    found.pop(Modality.TEXT, None)
    return found


def complete(
    found: Mapping[Modality, list[Path]], folder: Path
) -> tuple[dict[Modality, list[Path]], list[str]]:
    """``found``, with a drawn file in ``folder`` for each kind it lacks; and the names of those kinds."""
    drawn = files_by_modality(draw_media(folder))
    missing = [modality for modality in drawn if modality not in found]
    return {**found, **{modality: drawn[modality] for modality in missing}}, [m.value for m in missing]


def draw_media(folder: Path) -> Path:
    """Write a file of each kind into ``folder``."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 320)[None, :, None] + np.linspace(0, 40, 240)[:, None, None]
    picture = (ramp + rng.integers(0, 15, (240, 320, 3))).astype(np.uint8)
    Image.fromarray(picture).save(folder / "picture.jpg")
    distance = (1000 + 2000 * np.linspace(0, 1, 120)[:, None] + np.zeros((120, 160))).astype(np.uint16)
    Image.fromarray(distance).save(folder / "wall_depth.png")
    Image.fromarray(picture[:, :, 0]).save(folder / "warm_thermal.png")
    np.save(folder / "cloud.npy", rng.normal(size=(2000, 3)).astype(np.float32))
    clock = np.arange(2000) / 400
    readings = rng.normal(size=(2000, 6)) + np.array([0, 9.81, 0, 0, 0, 0])
    np.savetxt(folder / "swing_imu.csv", np.column_stack([clock, readings]), delimiter=",", fmt="%.4f")
    with wave.open(str(folder / "tone.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        tone = np.sin(np.arange(32_000) * 2 * np.pi * 440 / 16_000) * 12_000
        sound.writeframes(tone.astype("<i2").tobytes())
    _draw_video(folder / "ramp.mp4", picture)
    return folder


def _draw_video(path: Path, picture: np.ndarray, frames: int = 48) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = picture.shape[1], picture.shape[0], "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, 4 * number, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
