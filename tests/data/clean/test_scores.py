"""Scores of single captions and pictures."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from support.cleaning_samples import encoded, picture

from imagebind_llm.data.clean import rules
from imagebind_llm.media.base import Limits
from imagebind_llm.media.image import open_image


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a dog", 2),
        ("Don't touch the well-known dog!", 5),
        ("一只狗在跑", 5),
        ("一只 cute 狗 2", 5),
        ("개가 뛴다", 2),
        ("... !!", 0),
    ],
)
def test_units_are_words_and_unspaced_characters(text, count):
    assert len(rules.units(text)) == count


def test_normalised_captions_ignore_case_spaces_and_punctuation():
    assert rules.normalised("A  Dog, running.") == rules.normalised("a dog running")
    assert rules.normalised("A dog") != rules.normalised("a cat")
    assert rules.normalised("!!!") != rules.normalised("???")


@pytest.mark.parametrize(
    ("text", "scripts", "share"),
    [
        ("a dog", ["latin"], 1.0),
        ("собака", ["latin"], 0.0),
        ("собака", ["cyrillic"], 1.0),
        ("一只狗 dog", ["han"], 0.5),
        ("ひらがな", ["latin", "han"], 0.0),
        ("123", ["latin"], 1.0),
    ],
)
def test_script_share(text, scripts, share):
    assert rules.script_share(text, scripts) == pytest.approx(share)


def test_every_script_that_letters_have_can_be_named():
    for name in ("latin", "Han", "cjk", "cyrillic", "arabic", "hiragana", "hangul", "devanagari", "thai"):
        assert rules.is_script(name), name
    for name in ("english", "", "unknown", "chinese"):
        assert not rules.is_script(name), name


def test_letters_and_repetition():
    assert rules.letter_share("###--- 12:30") == 0.0
    assert rules.letter_share("a small dog") == 1.0
    assert rules.word_repetition("a man with a dog in a park near a house") < 0.1
    assert rules.word_repetition("buy now buy now buy now buy now") > 0.6
    assert rules.character_repetition("ha" * 20) > 0.8
    assert rules.character_repetition("a man with a dog in a park near a house") == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "IMG_20160823_141233",
        "DSC01234.JPG",
        "see https://example.com/a.png",
        "dog - stock photo",
        "shutterstock_1234",
        "dog 2016-08-23 14:22:01",
        "click here",
        "© all rights reserved",
        "点击查看大图 狗",
        "dog 1920x1080",
        "<b>dog</b> &nbsp; dog",
    ],
)
def test_boilerplate_is_seen(text):
    assert rules.boilerplate_share(text, rules.boilerplate_pattern()) > 0.2


@pytest.mark.parametrize(
    "text",
    [
        "a dog sleeping on a photo album in 2016",
        "two people stock a shelf with books",
        "a man climbs up the image of a mountain",
        "the number 1920 written by hand on a wall",
        "一只狗在公园里跑步",
        "a camera and a download cable on the desk",
        "Mr. Smith walks. He smiles at the dog.",
    ],
)
def test_plain_captions_are_no_boilerplate(text):
    assert rules.boilerplate_share(text, rules.boilerplate_pattern()) == 0.0


def test_own_patterns_and_word_lists():
    own = rules.boilerplate_pattern([r"brought to you by \w+"])
    assert rules.boilerplate_share("a dog brought to you by ACME", own) > 0.5
    words = rules.word_list_pattern(["Darn", "heck no", "混蛋"])
    assert rules.listed_words("darn! heck no, a darned dog", words) == 2
    assert rules.listed_words("这个混蛋狗", words) == 1
    assert rules.word_list_pattern(["", "  "]) is None


def test_content_hash_is_of_pixels():
    image = picture(1)
    png, bmp = (open_image(encoded(image, kind), kind, Limits()) for kind in ("PNG", "BMP"))
    assert rules.content_hash(png) == rules.content_hash(bmp)
    assert rules.content_hash(image) != rules.content_hash(picture(2))
    wide, tall = Image.new("RGB", (8, 4)), Image.new("RGB", (4, 8))
    assert rules.content_hash(wide) != rules.content_hash(tall)


def changed(image: Image.Image) -> dict[str, Image.Image]:
    """What happens to pictures on their way through the web."""
    half = (image.width // 2, image.height // 2)
    return {
        "smaller": image.resize(half, Image.Resampling.BICUBIC),
        "larger": image.resize((image.width * 2, image.height * 2), Image.Resampling.BICUBIC),
        "JPEG": open_image(encoded(image, "JPEG", quality=50), "JPEG", Limits()),
        "brighter": ImageEnhance.Brightness(image).enhance(1.1),
        "paler": ImageEnhance.Contrast(image).enhance(0.8),
    }


def test_hash_and_signature_survive_what_the_web_does():
    for seed in range(20):
        image = picture(seed)
        code, mark = rules.perceptual_hash(image), np.frombuffer(rules.signature(image), np.uint8)
        for name, other in changed(image).items():
            assert (rules.perceptual_hash(other) ^ code).bit_count() <= 8, name
            assert rules.correlations(mark, _marks([other]))[0] > 0.97, name


def test_hash_and_signature_tell_pictures_apart():
    images = [picture(seed) for seed in range(60)]
    codes = [rules.perceptual_hash(image) for image in images]
    near = [(a ^ b).bit_count() for i, a in enumerate(codes) for b in codes[:i]]
    assert min(near) > 8
    marks = _marks(images)
    assert max(rules.correlations(marks[0], marks[1:])) < 0.9


def test_signature_sees_the_mirror_image():
    image = picture(3)
    mirror = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mark = np.frombuffer(rules.signature(image), np.uint8)
    assert rules.correlations(mark, _marks([mirror]))[0] > 0.999


def test_flat_pictures_have_no_contrast_and_are_like_nothing():
    flat = Image.new("RGB", (50, 40), (200, 10, 10))
    assert rules.contrast(flat) == 0.0
    assert rules.contrast(picture(1)) > 20
    assert rules.contrast(Image.fromarray(np.array([[0, 255]], np.uint8)).convert("RGB")) == 127.5
    mark = np.frombuffer(rules.signature(flat), np.uint8)
    assert rules.correlations(mark, _marks([flat]))[0] == 0.0


def _marks(images: list[Image.Image]) -> np.ndarray:
    return np.stack([np.frombuffer(rules.signature(image), np.uint8) for image in images])


def test_contrast_sees_colours_that_are_equally_light():
    """A yellow square on lilac: hardly any difference in grey, a large one in blue."""
    lilac, yellow = (200, 162, 200), (196, 196, 30)
    seen = Image.new("RGB", (64, 64), lilac)
    seen.paste(yellow, (16, 16, 48, 48))
    grey = float(np.asarray(seen.convert("L"), dtype=float).std())
    assert grey < 4
    assert rules.contrast(seen) == pytest.approx(np.asarray(seen, dtype=float).std((0, 1)).max())
    assert rules.contrast(seen) > 50
    assert rules.contrast(Image.new("RGB", (64, 64), lilac)) == 0
    ramp = Image.linear_gradient("L")
    assert rules.contrast(ramp.convert("RGB")) == pytest.approx(float(np.asarray(ramp, dtype=float).std()))
