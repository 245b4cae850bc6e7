"""Against numbers the reference code produced on the same files.

``tests/golden/preprocess`` holds the inputs and thinned-out outputs. With ``IMAGEBIND_LLM_GOLDEN`` naming the
folder of the full set, every number is compared.
"""

import json
import os
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import soundfile
from PIL import Image

from imagebind_llm.media import (
    AudioSettings,
    ImageSettings,
    Limits,
    MediaSettings,
    PointSettings,
    TextSettings,
    VideoSettings,
    load_media,
)
from imagebind_llm.media.audio_features import resample
from imagebind_llm.media.image import resized_pixels
from imagebind_llm.media.text import END, START, tokenize
from imagebind_llm.media.video import VideoReader, frames_to_tensor, select_frames

HERE = Path(__file__).parent.parent / "golden" / "preprocess"
FULL = Path(os.environ.get("IMAGEBIND_LLM_GOLDEN", "/nonexistent")) / "preprocess"
IMAGES = ("rgb_300x417.png", "photo_640x360.jpg", "gray_257x190.png", "rgba_225x224.png")
SOUNDS = ("stereo_44k1_3s7.wav", "mono_8k_10s.wav", "mono_16k_1s1.wav")
VIDEO = "clip_320x240_25fps_3s.mp4"
HUGE = MediaSettings()


class Thin:
    """The copied subset: which steps each kind of output was thinned with."""

    files = HERE / "files"
    steps: ClassVar = {"mel": (3, 2), "resampled": (7,), "norm": (8, 8), "frames": (4, 4), "crops": (6, 6)}

    def __init__(self):
        self._data = np.load(HERE / "expected.npz")

    def get(self, group, key):
        return self._data[f"{group}__{key}"]

    def thin(self, kind, values):
        return values[(..., *(slice(None, None, step) for step in self.steps[kind]))]


class Whole:
    files = FULL / "files"

    def get(self, group, key):
        return np.load(FULL / f"{group}.npz")[key]

    def thin(self, kind, values):
        return values


@pytest.fixture(
    params=[
        Thin,
        pytest.param(
            Whole,
            marks=pytest.mark.skipif(not FULL.exists(), reason="IMAGEBIND_LLM_GOLDEN names no full set"),
        ),
    ]
)
def golden(request):
    return request.param()


def gap(ours, theirs) -> np.ndarray:
    assert ours.shape == theirs.shape
    return np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))


@pytest.mark.parametrize("file", IMAGES)
def test_image(golden, file):
    with Image.open(golden.files / file) as image:
        pixels = resized_pixels(image, ImageSettings())
    levels = gap(pixels, golden.get("images", f"uint8__{file}")).max()
    assert levels <= (2 if file.endswith(".jpg") else 0)
    tensor = load_media("image", golden.files / file, HUGE).numpy()
    if levels == 0:
        assert gap(golden.thin("norm", tensor), golden.get("images", f"norm__{file}")).max() <= 1e-5


@pytest.mark.parametrize("file", SOUNDS)
def test_audio(golden, file):
    key = f"resampled_channel0__{file}"
    if file != "mono_16k_1s1.wav":
        wave, rate = soundfile.read(golden.files / file, dtype="float32", always_2d=True)
        ours = golden.thin("resampled", resample(wave[:, 0], rate, 16000))
        assert gap(ours, golden.get("audio", key)).max() <= 1e-5
    ours = golden.thin("mel", load_media("audio", golden.files / file, HUGE).numpy())
    difference = gap(ours, golden.get("audio", f"mel__{file}")[0])
    assert difference.max() <= 2e-3
    assert difference.mean() <= 1e-5


def test_video_frames_and_tensor(golden):
    with (golden.files / VIDEO).open("rb") as stream, VideoReader(stream, VIDEO, Limits()) as video:
        assert video.duration == 3
        wanted = select_frames(video.times, video.duration, VideoSettings())
        assert wanted == [[0, 49], [7, 56], [13, 62], [19, 68], [25, 74]]
        frames = dict(video.frames(sorted({number for clip in wanted for number in clip})))
    clips = np.stack([[frames[number] for number in clip] for clip in wanted])
    ours = golden.thin("frames", clips.transpose(0, 4, 1, 2, 3))
    levels = gap(ours, golden.get("video", "frames_uint8")).max()
    assert levels <= 2
    tensor = load_media("video", golden.files / VIDEO, HUGE).numpy()
    np.testing.assert_array_equal(tensor, frames_to_tensor(clips, VideoSettings()).numpy())
    if levels == 0:
        assert gap(tensor[..., ::8, ::8], golden.get("video", "strided8")).max() <= 1e-4
        half = golden.get("video", "full_clip2_crops")
        assert gap(golden.thin("crops", tensor[6:9]), half).max() <= 3e-3
        assert gap(tensor.mean((3, 4)), golden.get("video", "mean")[0]).max() <= 1e-4
        assert gap(tensor.std((3, 4), ddof=1), golden.get("video", "std")[0]).max() <= 1e-4


def test_text(golden):
    texts = json.loads((golden.files / "texts.json").read_text())
    assert len(texts) == 12
    old = tokenize(texts, TextSettings(end_token_on_truncation=False)).numpy()
    (marked,) = [number for number, text in enumerate(texts) if "<|endoftext|>" in text]
    fork, upstream = golden.get("text", "tokens_fork"), golden.get("text", "tokens_upstream")
    fork[marked] = upstream[marked] = old[marked]  # CLIP reads these names as its tokens; here they are words
    np.testing.assert_array_equal(old, fork)
    np.testing.assert_array_equal(tokenize(texts, TextSettings()).numpy(), upstream)
    spaced = texts[marked].replace("<|", "< |")
    np.testing.assert_array_equal(tokenize(spaced, TextSettings()), tokenize(texts[marked], TextSettings()))
    assert [(old[marked] == token).sum() for token in (START, END)] == [1, 1]
    assert (old != tokenize(texts, TextSettings()).numpy()).sum() == 1  # the end token of the long text


@pytest.mark.parametrize(
    ("file", "key", "count"), [("cloud_2048.npy", "point_npy", 2048), ("cloud_256.obj", "point_obj", 256)]
)
def test_point(golden, file, key, count):
    settings = MediaSettings(point=PointSettings(count=count, normalise=False))
    ours = load_media("point", golden.files / file, settings).numpy()
    assert gap(ours, golden.get("other", key)[0].astype(np.float32)).max() == 0


def test_imu(golden):
    ours = load_media("imu", golden.files / "imu_6x2000.csv", HUGE).numpy()
    assert gap(ours, golden.get("other", "imu")).max() <= 1e-6


def test_comparison_notices_a_wrong_constant(golden):
    settings = MediaSettings(audio=AudioSettings(mean=-4.27))
    ours = golden.thin("mel", load_media("audio", golden.files / SOUNDS[2], settings).numpy())
    assert gap(ours, golden.get("audio", f"mel__{SOUNDS[2]}")[0]).mean() > 1e-5
