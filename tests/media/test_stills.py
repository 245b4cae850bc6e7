"""Still pictures that FFmpeg would read as a video: read as pictures, upright, or refused by name."""

import struct
import sys
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps, features
from support.media_samples import SMALL, make_samples, saved

from imagebind_llm.common.errors import MissingExtraError, UnclearMediaError
from imagebind_llm.media import Limits, MediaError, guess_modality, load_media
from imagebind_llm.media.image import read_image

needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
CORNERS = np.full((32, 48, 3), 128, np.uint8)  # three corners of their own colour: no turn looks like another
CORNERS[:16, :24], CORNERS[:16, 24:], CORNERS[16:, :24] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
GREYS = [20, 90, 160, 230]


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    body = b"ftyp" + major + b"\0\0\0\0" + b"".join(compatible)
    return struct.pack(">I", len(body) + 4) + body + b"\0\0\0\x08free" * 20


def animation(form: str, mode: str = "RGB", **options) -> bytes:
    frames = [Image.fromarray(np.full((32, 32, 3), grey, np.uint8)).convert(mode) for grey in GREYS]
    return saved(frames[0], form, save_all=True, append_images=frames[1:], duration=1000, **options)


NOT_READ = {
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 \0\0\0\0jp2 ",
    "JPEG XL": b"\xff\x0a" + b"\0" * 60,
    "Photoshop": b"8BPS\0\x01" + b"\0" * 60,
    "ICO": saved(Image.fromarray(CORNERS), "ICO"),
    "FITS": b"SIMPLE  =                    T" + b" " * 60,
    "DDS": saved(Image.fromarray(CORNERS), "DDS"),
    "OpenEXR": b"v/1\x01\x02\0\0\0" + b"\0" * 60,
    "Radiance HDR": b"#?RADIANCE\n" + b"\0" * 60,
    "QOI": b"qoif" + struct.pack(">IIBB", 48, 32, 3, 0) + b"\0" * 60,
    "PCX": saved(Image.fromarray(CORNERS), "PCX"),
    "SGI": saved(Image.fromarray(CORNERS), "SGI"),
    "HEIF sequence": ftyp(b"msf1", b"hevc"),
    "PDF": b"%PDF-1.7\n" + b" " * 60,
    "SVG": b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>" + b" " * 60,
}


@pytest.mark.parametrize("kind", list(NOT_READ))
def test_a_picture_of_another_format_is_refused_by_name(tmp_path, kind):
    path = tmp_path / "picture.bin"
    path.write_bytes(NOT_READ[kind])
    for refused in (lambda: guess_modality(path), lambda: load_media("image", path, SMALL)):
        with pytest.raises(MediaError, match=rf"\(the format {kind}\); .*convert it to PNG"):
            refused()
    for modality in ("video", "audio"):
        with pytest.raises(MediaError, match=rf"a still picture \({kind}\)"):
            load_media(modality, path, SMALL)


def test_a_still_picture_is_no_video(tmp_path):
    for form in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM"):
        with pytest.raises(MediaError, match=r"a still picture .* pass it as an image"):
            load_media("video", saved(Image.fromarray(CORNERS), form), SMALL)


@needs_avif
@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_a_picture_turned_as_it_says(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation  # Pillow writes it as the boxes irot and imir
    data = saved(Image.fromarray(CORNERS), "AVIF", exif=exif.tobytes(), quality=100, subsampling="4:4:4")
    assert (b"irot" in data or b"imir" in data) == (orientation > 1)
    plain = Image.fromarray(CORNERS)
    plain.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(plain)).astype(int)
    found = np.asarray(read_image(data, Limits())).astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 4
    path = tmp_path / "a.avif"
    path.write_bytes(data)
    assert guess_modality(path).value == "image"
    with pytest.raises(MediaError, match="a still picture"):
        load_media("video", data, SMALL)


@needs_avif
def test_avif_is_refused_where_pillow_lacks_it(monkeypatch):
    data = saved(Image.fromarray(CORNERS), "AVIF")
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(MediaError, match="pip install -U pillow"):
        load_media("image", data, SMALL)


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        ("GIF", "RGB"),
        ("PNG", "RGB"),
        pytest.param("AVIF", "RGB", marks=needs_avif),
        pytest.param("AVIF", "RGBA", marks=needs_avif),
    ],
)
def test_an_animation_is_a_video_and_its_first_frame_an_image(tmp_path, form, mode):
    path = tmp_path / f"a.{form.lower()}"
    path.write_bytes(animation(form, mode))
    assert guess_modality(path).value == "video"
    video, settings = load_media("video", path, SMALL), SMALL.video
    levels = video[::3, 0, :, 0, 0] * settings.std[0] + settings.mean[0]  # [clips, frames] of red
    # 4 s in 5 clips of 2 s, first and last frame of each: seconds 0-1, 0.5-2.5, 1-2, 1.5-3.5, 2-3
    expected = torch.tensor([[20, 90], [90, 160], [90, 160], [160, 230], [160, 230]]) / 255
    torch.testing.assert_close(levels, expected, atol=0.012, rtol=0)
    image = load_media("image", path, SMALL)
    red = image[0].mean() * SMALL.image.std[0] + SMALL.image.mean[0]
    assert red.item() == pytest.approx(20 / 255, abs=0.012)


def test_an_animated_webp_is_an_image_only_when_asked_for(tmp_path):
    path = tmp_path / "a.webp"
    path.write_bytes(animation("WEBP", lossless=True))
    with pytest.raises(UnclearMediaError, match=r"animated WebP, .*MP4"):
        guess_modality(path)
    with pytest.raises(MediaError, match=r"animated WebP, .*MP4"):
        load_media("video", path, SMALL)
    red = load_media("image", path, SMALL)[0].mean() * SMALL.image.std[0] + SMALL.image.mean[0]
    assert red.item() == pytest.approx(20 / 255, abs=0.01)


@pytest.mark.parametrize("major", [b"heic", b"mif1"])
def test_heic_names_the_extra_that_reads_it(tmp_path, monkeypatch, major):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "a.heic"
    path.write_bytes(ftyp(major, b"mif1", b"heic"))
    assert guess_modality(path).value == "image"
    with pytest.raises(MissingExtraError, match=r"imagebind-llm\[heif\]"):
        load_media("image", path, SMALL)
    with pytest.raises(MediaError, match=r"a still picture \(HEIF\)"):
        load_media("video", path, SMALL)


def test_heic_is_read_upright():
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(CORNERS.repeat(4, 0).repeat(4, 1))
    data = saved(picture, "HEIF", exif=exif.tobytes(), quality=100)
    found = np.asarray(read_image(data, Limits())).astype(int)
    assert np.abs(found - np.rot90(np.asarray(picture), -1).astype(int))[8:-8, 8:-8].mean() < 6


def test_a_tiff_that_begins_with_a_thumbnail_is_refused():
    data = saved(Image.fromarray(CORNERS), "TIFF", tiffinfo={254: 1})
    with pytest.raises(MediaError, match="thumbnail"):
        load_media("image", data, SMALL)


def test_a_float_picture_is_not_guessed(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(saved(Image.new("F", (9, 9), 2.5), "TIFF"))
    with pytest.raises(UnclearMediaError, match="floats"):
        guess_modality(path)


def test_a_damaged_file_is_called_what_its_name_says(tmp_path):
    rng = np.random.default_rng(3)
    seen = set()
    for sample in make_samples():
        if sample.suffix not in (".png", ".jpg", ".webp", ".gif", ".tif", ".mp4", ".mkv", ".wav", ".flac"):
            continue
        for start in (b"\0" * 16, rng.bytes(40)):
            path = tmp_path / f"damaged{sample.suffix}"
            path.write_bytes(start + sample.data[len(start) :])
            with pytest.raises(MediaError, match="damaged, or no"):
                guess_modality(path)
        seen.add(sample.suffix)
    assert len(seen) == 9
    path = tmp_path / "photo.png"
    path.write_bytes(saved(Image.open(BytesIO(saved(Image.fromarray(CORNERS), "PNG"))), "PNG")[:60])
    with pytest.raises(MediaError, match="PNG"):
        load_media("image", path, SMALL)
