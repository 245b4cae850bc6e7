"""The contract: wishes from media, nano's decoder, solids, and the files that are written."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imagebind_llm.common.errors import CheckpointError, ConfigError, UserError
from imagebind_llm.inference.assistant import Assistant
from imagebind_llm.media import load_media
from imagebind_llm.media.settings import MediaSettings
from imagebind_llm.skills.generation import (
    GENERATORS,
    Mesh,
    Pictures,
    Settings,
    Shapes,
    Sounds,
    Wish,
    between,
    generator_kind,
    make_wish,
    nano,
    write_animation,
    write_pictures,
    write_shapes,
    write_sounds,
)
from imagebind_llm.skills.generation.nano import DecoderGenerator, ink_of
from imagebind_llm.skills.generation.solids import extrude
from imagebind_llm.skills.generation.writing import KEY, facts, kind_of, write_strip

EXAMPLES = Path(__file__).parents[3] / "examples" / "inputs"


class Reads:
    """A generator of which only what it reads is asked."""

    kinds = ("picture",)
    encoder_fingerprint = None
    about = {"generator": "test"}  # noqa: RUF012

    def __init__(self, *reads, shifts=None):
        self.reads, self.shifts = reads, shifts or {}


@pytest.fixture(scope="module")
def bot():
    return Assistant.from_pretrained("nano", device="cpu")


@pytest.fixture(scope="module")
def decoder():
    pytest.importorskip("diffusers")
    from imagebind_llm.skills.generation.decoder import DecoderConfig, EmbeddingDecoder

    torch.manual_seed(0)
    config = DecoderConfig(
        embedding_dim=6, size=8, channels=(8, 16), attention=(False, True), heads_dim=8, groups=4
    )
    return EmbeddingDecoder(config).eval()


def unit(seed, dim=6):
    row = torch.randn(dim, generator=torch.Generator().manual_seed(seed))
    return row / row.norm()


# --- wishes


def test_a_mixture_is_a_unit_vector_and_the_cache_moves_it(bot):
    media = {"audio": (str(EXAMPLES / "eight.ogg"), 0.7), "text": "a seven"}
    plain = make_wish(bot, media, Reads("embedding"), cache=False)
    moved = make_wish(bot, media, Reads("embedding"), cache=True)
    assert plain.embedding.norm() == pytest.approx(1, abs=1e-5)
    assert moved.embedding.norm() == pytest.approx(1, abs=1e-5)
    expected = 0.7 * bot.embed(audio=str(EXAMPLES / "eight.ogg"))[0] + bot.embed(text=["a seven"])[0]
    assert torch.allclose(plain.embedding, expected / expected.norm(), atol=1e-5)
    assert not torch.allclose(plain.embedding, moved.embedding, atol=1e-2)
    assert plain.made_of == ("audio eight.ogg × 0.7", "text 'a seven'")


def test_a_shift_is_added_before_the_mixture(bot):
    shift = torch.full((bot.model.encoder.embedding_dim,), 0.1)
    wish = make_wish(bot, {"text": "a seven"}, Reads("embedding", shifts={"text": shift}), cache=False)
    expected = bot.embed(text=["a seven"])[0] + shift
    assert torch.allclose(wish.embedding, expected / expected.norm(), atol=1e-5)


def test_the_feature_has_the_length_that_the_encoder_made(bot):
    path = str(EXAMPLES / "seven.png")
    wish = make_wish(bot, {"image": path}, Reads("feature"), cache=True)
    from imagebind_llm.common.modality import Modality
    from imagebind_llm.media.reading import load_medium

    tensor = load_medium(bot.processor.media, Modality.IMAGE, path, bot.processor.limits)
    raw = bot.model.encoder.features(Modality.IMAGE, tensor[None]).prenorm[0]
    assert wish.feature.norm() == pytest.approx(float(raw.norm()), rel=1e-4)
    assert torch.allclose(wish.feature / wish.feature.norm(), wish.embedding, atol=1e-5)


def test_points_are_divided_by_five(bot):
    from imagebind_llm.common.modality import Modality
    from imagebind_llm.media.reading import load_medium

    path = str(EXAMPLES / "three.ply")
    wish = make_wish(bot, {"point": path}, Reads("feature"), cache=False)
    tensor = load_medium(bot.processor.media, Modality.POINT, path, bot.processor.limits)
    raw = bot.model.encoder.features(Modality.POINT, tensor[None]).prenorm[0]
    assert wish.feature.norm() == pytest.approx(float(raw.norm()) / 5, rel=1e-3)


def test_the_description_is_the_models_own_answer(bot):
    wish = make_wish(bot, {"image": str(EXAMPLES / "seven.png")}, Reads("description"))
    assert "seven" in wish.description.lower() or "7" in wish.description
    given = make_wish(bot, {}, Reads("description"), description="rain on a roof")
    assert given.description == "rain on a roof"


def test_nothing_and_another_encoder_are_refused(bot):
    with pytest.raises(UserError, match="nothing to imagine"):
        make_wish(bot, {}, Reads("embedding"))
    with pytest.raises(UserError, match="nothing to imagine"):
        make_wish(bot, {}, Reads("description"))
    other = Reads("embedding")
    other.encoder_fingerprint = "0123456789abcdef"
    with pytest.raises(UserError, match="trained on embeddings of the encoder 0123456789abcdef"):
        make_wish(bot, {"text": "a seven"}, other)


def test_between_goes_along_the_arc():
    first, last = Wish(torch.eye(3)[0], made_of=("a",)), Wish(torch.eye(3)[1], made_of=("b",))
    found = between(first, last, 3)
    assert torch.allclose(found[0].embedding, first.embedding, atol=1e-6)
    assert torch.allclose(found[1].embedding, torch.tensor([0.5**0.5, 0.5**0.5, 0.0]), atol=1e-6)
    assert torch.allclose(found[2].embedding, last.embedding, atol=1e-6)
    assert found[1].made_of == ("a", "to", "b")
    with pytest.raises(UserError, match="opposite"):
        between(first, replace(first, embedding=-first.embedding), 3)
    with pytest.raises(UserError, match="frames is 1"):
        between(first, last, 1)


# --- nano's decoder


def test_a_picture_depends_on_its_wish_and_seed_alone(decoder):
    generator = DecoderGenerator(decoder, "abc", {})
    settings = Settings(count=2, seed=3, steps=3)
    both = generator.make("picture", [Wish(unit(1)), Wish(unit(2))], settings).pixels
    assert both.shape == (4, 8, 8, 3)
    assert both.dtype == np.uint8
    alone = generator.make("picture", [Wish(unit(2))], replace(settings, count=1, seed=4)).pixels
    assert np.abs(both[3].astype(int) - alone[0]).max() <= 1
    assert (both[0] != both[1]).any()


def test_guidance_and_negatives_change_the_picture(decoder):
    generator = DecoderGenerator(decoder, "abc", {})

    def made(wish, guidance):
        return generator.make("picture", [wish], Settings(steps=4, guidance=guidance)).pixels.astype(int)

    wish = Wish(unit(1))
    negative = replace(wish, negative_embedding=unit(9))
    assert (made(wish, 1) != made(wish, 40)).any()
    assert (made(wish, 40) != made(negative, 40)).any()
    assert (made(wish, 1) == made(negative, 1)).all(), "without guidance there is nothing to move away from"


def test_a_decoder_comes_back_from_its_folder(decoder, tmp_path):
    from imagebind_llm.skills.generation.decoder import load_decoder, save_decoder

    save_decoder(tmp_path, decoder, "abc", {"text": unit(5)})
    found, fingerprint, shifts = load_decoder(tmp_path)
    assert fingerprint == "abc"
    assert torch.allclose(shifts["text"], unit(5), atol=1e-3)
    for name, tensor in decoder.state_dict().items():
        assert torch.allclose(found.state_dict()[name], tensor, atol=1e-3), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "other"}, "is of type 'other'"),
        ({"encoder": None}, "fingerprint"),
        ({"config": {"embedding_dim": 7}}, "shapes|expected tensors"),
    ],
)
def test_a_damaged_decoder_is_refused(decoder, tmp_path, change, message):
    from imagebind_llm.skills.generation.decoder import load_decoder, save_decoder

    save_decoder(tmp_path, decoder, "abc", {})
    values = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=message):
        load_decoder(tmp_path)


def test_impossible_sizes_are_refused():
    from imagebind_llm.skills.generation.decoder.model import DecoderConfig

    for values, message in (
        ({"size": 30}, "multiple of 8"),
        ({"channels": (64, 96)}, "one of each"),
        ({"channels": (60, 96, 128)}, "config.channels has 60"),
    ):
        with pytest.raises(ConfigError, match=message):
            DecoderConfig(embedding_dim=4, **values)


def test_nano_says_what_it_cannot_do(decoder):
    generator = DecoderGenerator(decoder, "abc", {})
    with pytest.raises(UserError, match="'nano' makes no sound, only pictures and shapes"):
        generator.make("sound", [Wish(unit(1))], Settings())
    with pytest.raises(UserError, match="nothing to make a picture of"):
        generator.make("picture", [Wish()], Settings())
    with pytest.raises(UserError, match="shape \\[5\\]"):
        generator.make("picture", [Wish(unit(1, 5))], Settings())


def test_the_bundled_generator_draws_what_nano_then_reads():
    bot = Assistant.from_pretrained("nano", device="cpu")
    generator = generator_kind("nano").open(None, "cpu")
    assert generator.encoder_fingerprint == bot.encoder_fingerprint
    media = {"eight": {"audio": EXAMPLES / "eight.ogg"}, "seven": {"text": "please, a seven"}}
    media["dog"] = {"audio": EXAMPLES / "dog.ogg"}
    for name, given in media.items():
        wish = make_wish(bot, given, generator)
        (picture,) = generator.make("picture", [wish], Settings(seed=1)).pixels
        assert name in bot.ask("What is this?", image=Image.fromarray(picture)).text


def test_a_generator_that_is_not_there_is_said_plainly(monkeypatch, tmp_path):
    monkeypatch.setattr(nano, "generator_folder", lambda: tmp_path)
    with pytest.raises(CheckpointError, match=r"install the package again, or give a folder"):
        generator_kind("nano").open(None, "cpu")


def test_generators_are_found_by_name():
    assert set(GENERATORS.names()) >= {"nano", "unclip", "stable-audio", "audioldm2", "shap-e"}
    with pytest.raises(UserError, match="did you mean 'unclip'"):
        generator_kind("unclipp")


def test_settings_are_checked():
    for values in ({"count": 0}, {"steps": 0}, {"guidance": float("nan")}, {"seconds": 0}, {"seed": -1}):
        with pytest.raises(ConfigError):
            Settings(**values)


# --- solids


def stroke():
    ink = np.zeros((32, 32), np.float32)
    ink[6:26, 14:18] = 1
    ink[6:10, 8:18] = 1
    return ink


def test_a_solid_is_closed_and_as_large_as_its_ink():
    trimesh = pytest.importorskip("trimesh")
    mesh = extrude(stroke())
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert solid.is_watertight
    assert solid.volume == pytest.approx(stroke().sum() / 16**2 * 0.28, rel=0.1)
    front = solid.triangles[solid.face_normals[:, 2] > 0.9]
    assert front[..., 1].max() == pytest.approx(1 - 6 / 16, abs=0.05), "the drawing's top is up"
    assert front[..., 0].min() == pytest.approx(8 / 16 - 1, abs=0.05)


def test_what_is_no_drawing_has_no_solid():
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    with pytest.raises(UserError, match="no digit"):
        ink_of(photo)
    drawing = np.repeat((stroke() * 255).astype(np.uint8)[..., None], 3, 2)
    assert ink_of(drawing).max() == pytest.approx(1, abs=0.01)
    with pytest.raises(UserError, match="no ink"):
        extrude(np.zeros((8, 8)))


# --- files

WHAT = facts({"generator": "nano"}, Wish(made_of=("audio sieben.ogg",)), Settings(seed=5), 1)


def test_png_says_what_made_it(tmp_path):
    pixels = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    paths = write_pictures(tmp_path / "a.png", Pictures(pixels), [WHAT, WHAT])
    assert [path.name for path in paths] == ["a-1.png", "a-2.png"]
    with Image.open(paths[1]) as found:
        assert json.loads(found.text[KEY]) == WHAT
        assert (np.array(found) == pixels[1]).all()
    assert WHAT["seed"] == 6
    assert WHAT["synthetic"] is True
    (strip,) = write_strip(tmp_path / "s.png", Pictures(pixels), WHAT)
    assert Image.open(strip).size == (8, 4)


def test_gif_goes_there_and_back(tmp_path):
    pixels = np.stack([np.full((4, 4, 3), value, np.uint8) for value in (0, 120, 250)])
    (path,) = write_animation(tmp_path / "a.gif", Pictures(pixels), WHAT)
    with Image.open(path) as found:
        assert found.n_frames == 4
        assert b"audio sieben.ogg" in found.info["comment"]


def test_wav_says_what_made_it(tmp_path):
    import soundfile

    tone = 0.5 * np.sin(np.arange(1600, dtype=np.float32) / 5)[None, None].repeat(2, 1)
    (path,) = write_sounds(tmp_path / "a.wav", Sounds(tone, 16000), [WHAT])
    with soundfile.SoundFile(path) as found:
        assert found.samplerate == 16000
        assert found.channels == 2
        assert json.loads(found.comment.removeprefix(KEY)) == WHAT
        assert np.abs(found.read().T - tone[0]).max() < 1e-3


@pytest.mark.parametrize("ending", ["ply", "glb"])
def test_shapes_are_read_back_and_say_what_made_them(tmp_path, ending):
    trimesh = pytest.importorskip("trimesh")
    (path,) = write_shapes(tmp_path / f"a.{ending}", Shapes((extrude(stroke()),)), [WHAT])
    data = path.read_bytes()
    assert b'"made_of"' in data
    mesh = trimesh.load(io.BytesIO(data), file_type=ending, force="mesh")
    assert mesh.is_watertight
    assert load_media("point", path, MediaSettings()).shape[-1] == 3, "our own reader takes it"


def test_colours_of_a_shape_are_kept(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    corners = np.eye(3, dtype=np.float32)
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    mesh = Mesh(corners, np.array([[0, 1, 2]]), colours)
    (path,) = write_shapes(tmp_path / "a.ply", Shapes((mesh,)), [WHAT])
    found = trimesh.load(path, process=False)
    assert (found.visual.vertex_colors[:, :3] == colours).all()


def test_endings_say_the_kind():
    assert [kind_of(Path(name)) for name in ("a.PNG", "b.wav", "c.glb")] == ["picture", "sound", "shape"]
    with pytest.raises(UserError, match=r"ends in '\.mp3'"):
        kind_of(Path("a.mp3"))
