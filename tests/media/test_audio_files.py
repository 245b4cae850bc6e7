"""Audio files whose header is odd, open or wrong: the right samples, or one line."""

import struct
from io import BytesIO

import av
import numpy as np
import pytest
import soundfile
import torch
from support.media_samples import SMALL, sound

from imagebind_llm.media import Limits, MediaError, load_media
from imagebind_llm.media.audio import open_blocks

RATE = 8000
WAVE = (0.5 * np.sin(np.arange(2 * RATE) * 0.3)).astype(np.float64)
PCM16 = np.round(WAVE * 32767).astype("<i2").tobytes()
LIST = b"LIST" + struct.pack("<I", 4) + b"INFO"
NOISE = np.random.default_rng(0).normal(0, 0.1, 6 * RATE).astype(np.float32)


def wav(
    body: bytes,
    bits: int = 16,
    tag: int = 1,
    size: int | None = None,
    riff: int | None = None,
    extensible=None,
) -> bytes:
    """A WAV of one channel; ``extensible``: valid bits and channel mask of WAVE_FORMAT_EXTENSIBLE."""
    block = bits // 8
    if extensible is None:
        form = struct.pack("<HHIIHH", tag, 1, RATE, RATE * block, block, bits)
    else:
        form = struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE, RATE * block, block, bits, 22, *extensible)
        form += struct.pack("<H", tag) + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    chunks += b"data" + struct.pack("<I", len(body) if size is None else size) + body
    return b"RIFF" + struct.pack("<I", len(chunks) if riff is None else riff) + chunks


def samples(data: bytes) -> np.ndarray:
    blocks, rate, count = open_blocks(BytesIO(data), "sound", Limits())
    assert rate == RATE
    heard = np.concatenate([block[0] for block in blocks()])
    assert len(heard) == count
    return heard


def packed24(values: np.ndarray) -> bytes:
    return b"".join(struct.pack("<i", int(value * 8388607))[:3] for value in values)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("streamed, size 0", wav(PCM16, size=0, riff=0)),
        ("size 0 in a finished header", wav(PCM16, size=0)),
        ("streamed, size 2³²-1", wav(PCM16, size=0xFFFFFFFF, riff=0xFFFFFFFF)),
        ("streamed, size 2³¹-1", wav(PCM16, size=0x7FFFFFFF, riff=0x7FFFFFFF)),
        ("streamed, size 2³¹-4097 and a bit", wav(PCM16, size=0x7FFFF000, riff=0x7FFFF024)),
        ("followed by a chunk", wav(PCM16) + LIST),
        ("64-bit whole numbers", wav(np.round(WAVE * (2**63 - 1025)).astype("<i8").tobytes(), bits=64)),
        ("64-bit, streamed", wav(np.round(WAVE * (2**63 - 1025)).astype("<i8").tobytes(), bits=64, size=0)),
        ("64-bit floats", wav(WAVE.astype("<f8").tobytes(), bits=64, tag=3)),
        ("extensible", wav(PCM16, extensible=(16, 4))),
        ("extensible without mask", wav(PCM16, extensible=(16, 0))),
        ("extensible with a mask of six", wav(PCM16, extensible=(16, 0x3F))),
        ("extensible without valid bits", wav(PCM16, extensible=(0, 4))),
        ("24 bits", wav(packed24(WAVE), bits=24, extensible=(24, 4))),
        (
            "24 bits in 32",
            wav(
                np.array([int(v * 8388607) << 8 for v in WAVE], "<i4").tobytes(), bits=32, extensible=(24, 4)
            ),
        ),
    ],
)
def test_odd_wav_headers_give_the_right_samples(kind, data):
    np.testing.assert_allclose(samples(data), WAVE, atol=1e-4)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (wav(PCM16[:16000], size=32000), "16000 bytes of sound where its header says 32000"),
        (wav(PCM16, size=8000, riff=8036), "24000 bytes after them that are no chunk"),
        (wav(b"", size=0) + LIST, "0 samples"),
        (wav(PCM16, tag=0), "unknown codec"),
        (wav(WAVE.astype("<f2").tobytes(), tag=3), "unknown codec"),
        (sound("AIFF")[:8000], "where its header says"),
    ],
)
def test_a_wav_that_promises_something_else_is_refused(data, words):
    with pytest.raises(MediaError, match=words):
        load_media("audio", data, SMALL)


def written(form: str, **options) -> bytes:
    stream = BytesIO()
    soundfile.write(stream, NOISE, RATE, format=form, **options)
    return stream.getvalue()


def test_ffmpeg_reads_on_where_flac_is_cut():
    whole = written("FLAC")
    heard = samples(whole)
    blocks, _, promised = open_blocks(BytesIO(whole[: int(len(whole) * 0.95)]), "sound", Limits())
    cut = np.concatenate([block[0] for block in blocks()])
    assert promised == len(heard)
    assert 0.9 * promised <= len(cut) < promised
    np.testing.assert_array_equal(cut, heard[: len(cut)])
    tensor = load_media("audio", whole[: int(len(whole) * 0.95)], SMALL)
    expected = load_media("audio", {"array": heard[: len(cut)], "sampling_rate": RATE}, SMALL)
    torch.testing.assert_close(tensor, expected)


def test_a_damaged_flac_frame_is_left_out():
    whole = written("FLAC")
    middle = len(whole) // 2
    heard = samples(whole)
    blocks, _, _ = open_blocks(
        BytesIO(whole[:middle] + b"\x5a" * 80 + whole[middle + 80 :]), "sound", Limits()
    )
    found = np.concatenate([block[0] for block in blocks()])
    assert 0.9 * len(heard) <= len(found) < len(heard)
    np.testing.assert_array_equal(found[:4096], heard[:4096])
    np.testing.assert_array_equal(found[-4096:], heard[-4096:])


@pytest.mark.parametrize("form", ["FLAC", "MP3"])
def test_half_a_recording_does_not_pass_for_a_whole_one(form):
    whole = written(form)
    assert load_media("audio", whole, SMALL).isfinite().all()
    with pytest.raises(MediaError, match="s of sound where its header says"):
        load_media("audio", whole[: len(whole) // 2], SMALL)


@pytest.mark.parametrize("form", ["AU", "CAF", "W64", "RF64"])
def test_a_header_that_promises_more_is_not_believed(form):
    options = {"endian": "LITTLE"} if form == "AU" else {}
    for whole in (written(form), written(form, **options)):
        assert len(samples(whole)) == len(NOISE)
        assert len(samples(whole[: int(len(whole) * 0.95)])) >= 0.9 * len(NOISE)
        with pytest.raises(MediaError, match="bytes of sound where its header says"):
            load_media("audio", whole[: len(whole) // 2], SMALL)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_torn_ogg_page_is_seen(subtype):
    whole = written("OGG", subtype=subtype)
    assert load_media("audio", whole, SMALL).isfinite().all()
    assert load_media("audio", whole + b"TAG" + bytes(125), SMALL).isfinite().all()  # what taggers append
    for kept in (len(whole) - 1, len(whole) // 2, whole.rfind(b"OggS") + 20):
        with pytest.raises(MediaError, match="last page is cut off"):
            load_media("audio", whole[:kept], SMALL)


@pytest.mark.parametrize("form", ["matroska", "webm"])
def test_a_torn_matroska_is_seen_and_one_of_open_length_is_read(form, tmp_path):
    import av

    def film(path, **options):
        with av.open(str(path), "w", format=form, options=options) as container:
            track = container.add_stream("libopus", rate=48000)
            sound = np.repeat(NOISE, 6)[None].astype(np.float32)
            frame = av.AudioFrame.from_ndarray(sound, format="flt", layout="mono")
            frame.sample_rate, frame.pts = 48000, 0
            for packet in (*track.encode(frame), *track.encode()):
                container.mux(packet)
        return path.read_bytes()

    whole, live = film(tmp_path / "whole"), film(tmp_path / "live", live="1")
    assert load_media("audio", whole, SMALL).isfinite().all()
    with pytest.raises(MediaError, match="bytes of sound where its header says"):
        load_media("audio", whole[: len(whole) // 2], SMALL)
    assert load_media("audio", live, SMALL).isfinite().all()
    assert load_media("audio", live[: len(live) // 2], SMALL).isfinite().all()


def test_an_mp3_without_a_frame_count_is_read_to_its_end():
    quiet = np.concatenate([np.zeros(4 * RATE, np.float32), NOISE])  # few bytes, then many: the size misleads
    stream = BytesIO()
    with av.open(stream, "w", format="mp3", options={"write_xing": "0"}) as container:
        track = container.add_stream("libmp3lame", rate=RATE, layout="mono", options={"q": "4"})
        for begin in range(0, len(quiet), 576):
            frame = av.AudioFrame.from_ndarray(quiet[None, begin : begin + 576], format="fltp", layout="mono")
            frame.sample_rate = RATE
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    heard = samples(stream.getvalue())
    assert len(heard) == pytest.approx(len(quiet), abs=2500)
    assert np.abs(heard[-RATE:]).mean() > 0.02


def test_an_mp3_behind_rubbish_is_read():
    data = b"\0" * 700 + written("MP3")
    assert len(samples(data)) == pytest.approx(len(NOISE), abs=3000)
