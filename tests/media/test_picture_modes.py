"""Pictures in every colour space and depth, as image, thermal and depth: the right values, or one line."""

from io import BytesIO

import numpy as np
import PIL
import pytest
import torch
from PIL import Image, ImageCms
from support.media_samples import SMALL, saved

from imagebind_llm.common.errors import ConfigError
from imagebind_llm.media import DepthSettings, Limits, MediaError, MediaSettings, load_media
from imagebind_llm.media.image import open_image, to_rgb

PLAIN = np.zeros((32, 32, 3), np.uint8)
PLAIN[:16, :16], PLAIN[:16, 16:], PLAIN[16:, :16], PLAIN[16:, 16:] = (
    (200, 40, 30),
    (30, 180, 60),
    (40, 50, 190),
    (128, 128, 128),
)
RGB = Image.fromarray(PLAIN)


def lab() -> Image.Image:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(RGB, *profiles, outputMode="LAB")


def in_mode(mode: str) -> Image.Image:
    if mode == "LAB":
        return lab()
    if mode == "La":
        return RGB.convert("LA").convert("La")
    if mode in ("P", "PA"):
        return RGB.quantize(16).convert(mode)
    if mode == "RGBa":
        return RGB.convert("RGBA").convert("RGBa")
    return RGB.convert(mode)


@pytest.mark.parametrize("mode", ["LAB", "CMYK", "YCbCr", "RGBX", "RGBA", "RGBa", "HSV", "P", "PA"])
def test_colour_is_colour_in_every_mode(mode):
    near = 8 if mode == "LAB" else 4  # 8-bit CIELAB is coarse
    found = np.asarray(to_rgb(in_mode(mode))).astype(int)
    assert np.abs(found - PLAIN).max() <= near
    grey = load_media("thermal", in_mode(mode), SMALL)
    expected = load_media("thermal", RGB.convert("L"), SMALL)
    torch.testing.assert_close(grey, expected, atol=near / 255, rtol=0)


@pytest.mark.parametrize("mode", ["LAB", "CMYK", "YCbCr", "P", "RGBA"])
def test_colour_tiff_is_read_as_image_and_thermal_and_refused_as_depth(mode):
    data = saved(in_mode(mode), "TIFF")
    if mode == "YCbCr" and int(PIL.__version__.partition(".")[0]) < 13:  # reads it as cut off
        with pytest.raises(MediaError, match="damaged TIFF"):
            load_media("image", data, SMALL)
        return
    near = 8 if mode == "LAB" else 4
    assert open_image(data, "a.tiff", Limits()).mode == mode
    found = np.asarray(to_rgb(open_image(data, "a.tiff", Limits()))).astype(int)
    assert np.abs(found - PLAIN).max() <= near
    expected = load_media("thermal", RGB.convert("L"), SMALL)
    torch.testing.assert_close(load_media("thermal", data, SMALL), expected, atol=near / 255, rtol=0)
    with pytest.raises(MediaError, match=f"mode {mode}; .* a coloured map|mode {mode}; .*16-bit millimetres"):
        load_media("depth", data, SMALL)


def test_cielab_by_known_values():
    # CIE L*a*b* (D50) of sRGB red, green and blue, from the definition of both spaces
    known = {
        (255, 0, 0): (54.29, 80.81, 69.89),
        (0, 255, 0): (87.82, -79.27, 80.99),
        (0, 0, 255): (29.57, 68.30, -112.03),
    }
    for rgb, (lightness, a, b) in known.items():
        stored = bytes([round(lightness * 2.55), round(a) & 255, round(b) & 255])  # as in a TIFF
        pixel = to_rgb(Image.frombytes("LAB", (1, 1), stored)).getpixel((0, 0))
        assert np.abs(np.array(pixel) - rgb).max() <= 24  # 8 bits at the edge of sRGB


@pytest.mark.parametrize("form", ["TIFF", "PNG"])
def test_one_bit_is_black_and_white(form):
    bits = Image.fromarray(PLAIN[:, :, 0] > 100)
    data = saved(bits, form)
    assert (
        np.asarray(to_rgb(open_image(data, "a", Limits()))).min(axis=2).tolist()
        == ((PLAIN[:, :, 0] > 100) * 255).tolist()
    )
    thermal = load_media("thermal", data, SMALL)
    assert thermal.unique().tolist() == [0.0, 1.0]
    with pytest.raises(MediaError, match="mode 1"):
        load_media("depth", data, SMALL)


@pytest.mark.parametrize("mode", ["L", "LA", "La", "1", "P", "CMYK", "RGB", "HSV"])
def test_eight_bits_hold_no_metres(mode):
    with pytest.raises(MediaError, match=f"an image of mode {mode}"):
        load_media("depth", in_mode(mode), SMALL)


def test_floats_of_a_tiff_are_metres_degrees_or_greys():
    metres = np.linspace(0.5, 8, 32 * 32, dtype=np.float32).reshape(32, 32)
    data = saved(Image.fromarray(metres), "TIFF")
    torch.testing.assert_close(load_media("depth", data, SMALL), load_media("depth", metres, SMALL))
    torch.testing.assert_close(load_media("thermal", data, SMALL), load_media("thermal", metres, SMALL))
    share = metres / 8
    grey = load_media("image", saved(Image.fromarray(share), "TIFF"), SMALL)
    torch.testing.assert_close(
        grey, load_media("image", (share * 255 + 0.5).astype(np.uint8), SMALL), atol=0.02, rtol=0
    )


@pytest.mark.parametrize("modality", ["image", "thermal", "depth"])
def test_a_torn_picture_given_as_an_object_is_refused(modality):
    noise = np.random.default_rng(0).integers(0, 60000, (64, 64), np.uint16)
    torn = Image.open(BytesIO(saved(Image.fromarray(noise), "PNG")[:3000]))
    with pytest.raises(MediaError, match="damaged PNG data"):
        load_media(modality, torn, SMALL)


def test_an_unknown_mode_is_one_line(monkeypatch):
    def refuse(self, mode, *rest, **more):
        raise ValueError(f"conversion to {mode} not supported")

    monkeypatch.setattr(Image.Image, "convert", refuse)
    with pytest.raises(MediaError, match=r"mode CMYK \(conversion to L not supported\)"):
        load_media("thermal", Image.new("CMYK", (9, 9)), SMALL)


def test_sun_rgbd_depth_is_read_when_declared():
    millimetres = np.linspace(400, 7990, 32 * 32).reshape(32, 32).astype(np.uint16)
    millimetres[0, :4] = (1, 2, 4, 8191)
    # the data set's toolbox reads bitor(bitshift(v, -3), bitshift(v, 13))
    packed = millimetres << 3 | millimetres >> 13
    declared = MediaSettings(depth=DepthSettings(size=32, image_encoding="sunrgbd"))
    expected = load_media("depth", millimetres, SMALL)
    for source in (saved(Image.fromarray(packed), "PNG"), packed, Image.fromarray(packed)):
        torch.testing.assert_close(load_media("depth", source, declared), expected, rtol=0, atol=0)
        assert not torch.equal(load_media("depth", source, SMALL), expected)  # it is not guessed
    metres = millimetres / 1000
    torch.testing.assert_close(
        load_media("depth", metres, declared), load_media("depth", metres, SMALL), rtol=0, atol=0
    )
    with pytest.raises(MediaError, match="16 bits"):
        load_media("depth", np.full((9, 9), 70_000), declared)
    assert MediaSettings.from_dict(declared.to_dict()) == declared
    assert "image_encoding" not in SMALL.to_dict()["depth"]
    with pytest.raises(ConfigError, match="sunrgbd"):
        DepthSettings(unit="disparity", image_encoding="sunrgbd")


@pytest.mark.parametrize(
    ("low", "high", "remedy"),
    [
        (-1, 1, "map -1..1 with x * 0.5 + 0.5"),
        (-0.25, 0.5, "map -1..1 with x * 0.5 + 0.5"),
        (-2.1, 2.6, "undo the normalisation with x * std + mean"),
        (0, 255, "divide by 255"),
        (0, 4095, "divide by the largest"),
    ],
)
def test_floats_beyond_0_to_1_are_refused_with_what_to_do(low, high, remedy):
    pixels = np.linspace(low, high, 8 * 8 * 3, dtype=np.float32).reshape(8, 8, 3)
    for given in (pixels, torch.tensor(pixels)):
        with pytest.raises(MediaError, match=r"expected floats in 0\.\.1") as caught:
            load_media("image", given, SMALL)
        assert str(caught.value).endswith(remedy)
