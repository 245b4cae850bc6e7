"""PE-AV as a joint encoder: transformers' own outputs, strict loading, media."""

import json
import wave

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_pe_av import SIDE, whole_model, write_pe_av
from torch.nn.functional import normalize

from imagebind_llm.common.errors import CheckpointError, UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.encoders import load_encoder, media_of_encoder
from imagebind_llm.encoders.base import JointEncoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pe_av(tmp_path_factory.mktemp("pe_av") / "tiny")


@pytest.fixture(scope="module")
def encoder(folder):
    return load_encoder(folder)


@pytest.fixture(scope="module")
def media(folder, encoder):
    return media_of_encoder(folder, encoder)


def test_it_gives_what_transformers_gives(encoder):
    assert isinstance(encoder, JointEncoder)
    random = torch.Generator().manual_seed(1)
    frames = torch.randn(2, 4, 3, SIDE, SIDE, generator=random)
    sound = torch.randn(2, 1920 * 5, generator=random)
    ids = torch.tensor([[256, 5, 6, 7, 257], [256, 9, 8, 7, 257]])
    with torch.no_grad():
        theirs = whole_model()(input_ids=ids, pixel_values_videos=frames, input_values=sound[:, None])
        heard = torch.stack([sound, torch.ones_like(sound)], dim=1)
        ours = {
            "video_embeds": encoder.encode(Modality.VIDEO, frames),
            "audio_embeds": encoder.encode(Modality.AUDIO, heard),
            "text_video_embeds": encoder.encode(Modality.TEXT, ids),
        }
    for name, rows in ours.items():
        torch.testing.assert_close(rows, normalize(theirs[name], dim=-1), atol=1e-5, rtol=1e-4)
    assert encoder.embedding_dim == rows.shape[1]


def test_padding_and_neighbours_change_nothing(encoder, media):
    texts = [media.load(Modality.TEXT, text) for text in ("a dog", "a much longer caption", "cat")]
    tone = np.sin(np.arange(48_000) * 0.05).astype(np.float32)
    sounds = [media.load(Modality.AUDIO, tone[:length]) for length in (20_000, 48_000, 3_000)]
    with torch.no_grad():
        for modality, tensors in ((Modality.TEXT, texts), (Modality.AUDIO, sounds)):
            together = encoder.encode(modality, torch.stack(tensors))
            alone = torch.cat([encoder.encode(modality, tensor[None]) for tensor in tensors])
            torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)
            assert (together[0] - together[1]).abs().max() > 1e-3


def test_an_image_is_a_video_of_one_frame(encoder):
    picture = torch.randn(1, 3, SIDE, SIDE)
    with torch.no_grad():
        still = encoder.encode(Modality.IMAGE, picture)
        film = encoder.encode(Modality.VIDEO, picture[:, None])
    assert torch.equal(still, film)


def test_media_have_fixed_shapes(media, media_folder, tmp_path):
    assert media.load(Modality.IMAGE, media_folder / "red.png").shape == (3, SIDE, SIDE)
    film = np.random.default_rng(0).integers(0, 255, (9, 20, 30, 3)).astype(np.uint8)
    frames = media.load(Modality.VIDEO, film)
    assert frames.shape == (4, 3, SIDE, SIDE)
    # frames 0, 2, 5, 8 of 9, as int(i * 8 / 3)
    assert torch.equal(frames[2], media.load(Modality.IMAGE, film[5]))
    sound = media.load(Modality.AUDIO, media_folder / "tone.wav")
    assert sound.shape == (2, 30 * 48_000)
    assert int(sound[1].sum()) == 48_000  # one second at 48 kHz: 25 hops
    with wave.open(str(tmp_path / "short.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes((np.sin(np.arange(100)) * 9_000).astype("<i2").tobytes())
    short = media.load(Modality.AUDIO, tmp_path / "short.wav")
    assert int(short[1].sum()) == 1920
    assert float(short[0, 100:1920].abs().max()) > 0.1  # mirrored, not silence
    assert media.load(Modality.TEXT, "hello").shape == (40,)
    with pytest.raises(UserError, match="PE-AV has no depth"):
        media.load(Modality.DEPTH, "x.png")


def test_names_of_control_tokens_are_words(media):
    row = media.load(Modality.TEXT, "a [SEP] b[CLS][PAD]")
    words = media.tokenizer.decode(row[1 : row.tolist().index(257)])
    assert words == "a [SEP] b[CLS][PAD]"
    assert [(row == token).sum() for token in (256, 257)] == [1, 1]


def test_waveforms_have_their_rate_and_range(media):
    rate = media.settings.sample_rate
    wave = np.sin(np.arange(rate // 10) / 9).astype(np.float32) / 2
    expected = media.load(Modality.AUDIO, wave)
    rated = media.load(Modality.AUDIO, {"array": wave, "sampling_rate": rate})
    assert torch.equal(rated, expected)
    half = media.load(Modality.AUDIO, {"array": wave, "sampling_rate": rate // 2})
    hop = media.settings.hop
    assert half[1].sum() == -(-2 * len(wave) // hop) * hop  # twice as long
    scaled = media.load(Modality.AUDIO, (wave * 32768).round().astype(np.int16))
    assert (scaled - expected).abs().max() < 1e-3


def test_pixels_are_resized_bytes(media):
    ramp = np.repeat(np.linspace(0, 255, 2 * SIDE).astype(np.uint8)[None, :, None], 2 * SIDE, 0).repeat(3, 2)
    tensor = media.load(Modality.IMAGE, ramp)
    assert float(tensor.min()) >= -1
    assert float(tensor.max()) <= 1
    in_bytes = (tensor + 1) * 127.5
    torch.testing.assert_close(in_bytes, in_bytes.round(), atol=1e-4, rtol=0)  # resized before dividing
    assert (tensor[0, 5].diff() >= 0).all()


def test_the_fingerprint_tells_weights_apart(folder, encoder, tmp_path):
    assert load_encoder(folder).fingerprint == encoder.fingerprint
    assert load_encoder(folder, dtype=torch.bfloat16).fingerprint == encoder.fingerprint
    other = load_encoder(write_pe_av(tmp_path / "other", seed=4))
    assert other.fingerprint != encoder.fingerprint


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape", "cut", "text"])
def test_loading_is_strict(folder, tmp_path, change):
    bad = tmp_path / "bad"
    bad.mkdir()
    for file in folder.iterdir():
        (bad / file.name).write_bytes(file.read_bytes())
    tensors = load_file(bad / "model.safetensors")
    name = "video_model.video_head.proj.weight"
    if change == "missing":
        del tensors[name]
    elif change == "unexpected":
        tensors["stranger"] = torch.zeros(2)
    elif change == "shape":
        tensors[name] = torch.zeros(3, 3)
    save_file(tensors, bad / "model.safetensors", metadata={"format": "pt"})
    content = (bad / "model.safetensors").read_bytes()
    if change in ("cut", "text"):
        (bad / "model.safetensors").write_bytes(content[: len(content) // 2] if change == "cut" else b"text")
    with pytest.raises(CheckpointError):
        load_encoder(bad)


def test_a_processor_that_crops_is_refused(folder, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    for file in folder.iterdir():
        (bad / file.name).write_bytes(file.read_bytes())
    values = json.loads((bad / "processor_config.json").read_text())
    values["video_processor"]["do_center_crop"] = True
    (bad / "processor_config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="no cropping"):
        media_of_encoder(bad, None)
