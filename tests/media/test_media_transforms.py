"""What the loaders promise beyond parity: units, orientation, determinism, independence of the container."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from support.media_samples import SMALL, box, make_samples, movie, npy, npz, saved, sound

from imagebind_llm.common.errors import ConfigError, UserError
from imagebind_llm.common.modality import Modality
from imagebind_llm.media import (
    AudioSettings,
    DepthSettings,
    ImageSettings,
    ImuSettings,
    Limits,
    MediaError,
    MediaSettings,
    PointSettings,
    ThermalSettings,
    VideoSettings,
    guess_modality,
    load_media,
)
from imagebind_llm.media import audio_features as resampling
from imagebind_llm.media.audio import waveform_to_tensor
from imagebind_llm.media.audio_features import log_mel, resample, resampled_length
from imagebind_llm.media.base import clip_spans
from imagebind_llm.media.depth import depth_to_tensor, load_depth
from imagebind_llm.media.imu import imu_to_tensor, load_imu
from imagebind_llm.media.point import load_point, points_to_tensor
from imagebind_llm.media.thermal import thermal_to_tensor
from imagebind_llm.media.video import VideoReader, select_frames


def test_settings_survive_json_and_refuse_nonsense():
    assert MediaSettings.from_dict(SMALL.to_dict()) == SMALL
    assert MediaSettings.from_dict({"audio": {"mel_bins": 41}}).audio.mel_bins == 41
    for data, words in (
        ({"sound": {}}, "sound"),
        ({"audio": {"mels": 3}}, "mels"),
        ({"audio": {"mel_bins": "many"}}, "many"),
        ({"image": {"size": -37}}, "-37"),
        ({"image": {"mean": [0.5]}}, "0.5"),
        ({"audio": {"high_hz": 9123.0}}, "9123"),
        ({"video": {"crops": 2}}, "2"),
        ({"depth": {"unit": "feet"}}, "feet"),
        ({"image": 3}, "int"),
    ):
        with pytest.raises(ConfigError, match=words):
            MediaSettings.from_dict(data)
    with pytest.raises(ConfigError, match="max_pixels is -9"):
        Limits(max_pixels=-9)


def test_error_crosses_processes():
    error = MediaError("a.png", "3\npixels", "more", "zoom")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) == "a.png: 3 pixels; expected more; zoom"
    assert isinstance(copy, UserError)


def test_decoders_are_imported_late():
    code = (
        "import sys, imagebind_llm.media; "
        "print([m for m in ('av', 'soundfile', 'trimesh', 'ftfy', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_image_orientation_and_sixteen_bits():
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[:20] = 255  # bright above
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned = load_media("image", saved(Image.fromarray(pixels), "PNG", exif=exif), SMALL)
    straight = load_media("image", pixels[::-1, ::-1].copy(), SMALL)
    torch.testing.assert_close(turned, straight)
    in_memory = Image.open(BytesIO(saved(Image.fromarray(pixels), "PNG", exif=exif)))
    torch.testing.assert_close(load_media("image", in_memory, SMALL), straight)
    torch.testing.assert_close(
        load_media("thermal", in_memory, SMALL), load_media("thermal", pixels[::-1, ::-1, 0].copy(), SMALL)
    )
    deep = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257)
    torch.testing.assert_close(
        load_media("image", saved(deep, "PNG"), SMALL), load_media("image", pixels, SMALL)
    )


def test_image_alpha():
    clear = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    white = MediaSettings(image=ImageSettings(size=32, alpha="white"))
    assert load_media("image", clear, SMALL).mean() < -1.5
    assert load_media("image", clear, white).mean() > 1.5


def test_clip_spans():
    assert clip_spans(Fraction(3), 2.0, 5)[1] == (Fraction(1, 4), Fraction(9, 4))
    assert clip_spans(1.1, 2.0, 3) == [(0, 2)] * 3
    assert int(clip_spans(2.9, 2.0, 3)[1][0] * 16000) == 7199  # float subtraction, then exact: truncates
    assert clip_spans(9.0, 2.0, 1) == [(0, 2)]
    # the reference's own times, from the golden set's meta.json
    for seconds, samples in ((3.7, (0, 13600, 27200)), (1.1, (0, 0, 0)), (10.0, (0, 64000, 128000))):
        spans = clip_spans(seconds, 2.0, 3)
        assert tuple(int(start * 16000) for start, _ in spans) == samples
        assert tuple(int(end * 16000) for _, end in spans) == tuple(first + 32000 for first in samples)
    starts = [start for start, _ in clip_spans(Fraction(3), 2.0, 5)]
    assert starts == [Fraction(number, 4) for number in range(5)]


def test_filter_bank_agrees_with_kaldi():
    kaldi = pytest.importorskip("kaldi_native_fbank")
    rng = np.random.default_rng(0)
    wave = (rng.normal(0, 0.1, 32000) + np.sin(np.arange(32000) / 9)).astype(np.float32)
    options = kaldi.FbankOptions()
    options.frame_opts.dither, options.frame_opts.window_type = 0.0, "hanning"
    options.mel_opts.num_bins, options.mel_opts.low_freq, options.mel_opts.high_freq = 64, 20.0, 3500.0
    options.use_energy, options.htk_compat = False, True
    bank = kaldi.OnlineFbank(options)
    bank.accept_waveform(16000, wave.tolist())
    bank.input_finished()
    theirs = np.stack([bank.get_frame(number) for number in range(bank.num_frames_ready)])
    ours = log_mel(wave, 16000, 64, 20.0, 3500.0)
    assert ours.shape == theirs.shape == (198, 64)
    assert np.abs(ours - theirs).max() < 2e-3


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 44101, 48000])
def test_resampling_a_span_equals_the_whole(rate):
    wave = np.random.default_rng(1).normal(size=rate // 4).astype(np.float32)
    whole = resample(wave, rate, 16000)
    assert len(whole) == resampled_length(len(wave), rate, 16000)
    np.testing.assert_allclose(resample(wave, rate, 16000, 700, 1900), whole[700:1900], atol=1e-6)
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert np.abs(resample(tone, rate, 16000)[500:-500] - expected[500:-500]).max() < 0.01


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_resampling_phase_by_phase_gives_the_same_bits(monkeypatch, rate, kind):
    wave = np.random.default_rng(3).standard_normal(2 * rate).astype(kind)
    spans = [(0, None, wave, 0), (700, 9000, wave[500:], 500)]
    found = {}
    for threshold in (0, 1 << 60):  # always, never
        monkeypatch.setattr(resampling, "_PHASE", threshold)
        found[threshold] = [
            resample(part, rate, 16000, first, last, offset) for first, last, part, offset in spans
        ]
    for ours, gathered in zip(*found.values(), strict=True):
        assert np.array_equal(ours, gathered)


def test_long_audio_read_in_blocks_equals_the_waveform():
    import soundfile

    data = sound("FLAC", rate=22050, channels=2, seconds=40.0)
    wave, rate = soundfile.read(BytesIO(data), dtype="float32", always_2d=True)
    expected = waveform_to_tensor(wave.T, rate, SMALL.audio)
    torch.testing.assert_close(load_media("audio", data, SMALL), expected)
    mixed = waveform_to_tensor(wave.T, rate, AudioSettings(mel_bins=64, high_hz=3500.0, downmix=True))
    assert not torch.allclose(mixed, expected)
    assert expected[0, 0, 0, -1].item() == pytest.approx(
        4.268 / 9.138, abs=1e-6
    )  # padded before standardising


@pytest.mark.parametrize(
    ("form", "codec"), [("mp4", "libx264"), ("matroska", "mpeg4"), ("avi", "mpeg4"), ("mpegts", "mpeg2video")]
)
def test_seeking_finds_the_frames_that_decoding_everything_finds(form, codec):
    import av

    data = movie(form, codec, 90)
    with av.open(BytesIO(data)) as container:
        shown = {frame.pts: frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)}
    everything = [shown[stamp] for stamp in sorted(shown)]
    with VideoReader(BytesIO(data), "movie", Limits()) as video:
        assert len(video.times) == len(everything)
        for numbers in ([0, 44, 45, 89], [77], [3, 88]):
            for number, pixels in video.frames(numbers):
                np.testing.assert_array_equal(pixels, everything[number])


def test_video_array_equals_its_definition():
    frames = np.random.default_rng(2).integers(0, 255, (50, 32, 48, 3), np.uint8)
    tensor = load_media(
        "video", frames, MediaSettings(video=VideoSettings(size=32, clips=1, clip_seconds=1.0))
    )
    assert tensor.shape == (3, 3, 2, 32, 32)
    settings = VideoSettings()
    last = (
        torch.tensor(frames[24, :, 16:]).permute(2, 0, 1) / 255 - torch.tensor(settings.mean)[:, None, None]
    )
    torch.testing.assert_close(tensor[2, :, 1], last / torch.tensor(settings.std)[:, None, None])
    assert select_frames([Fraction(0)], Fraction(9), settings) == [[0, 0]] * 5


def test_threads_do_not_disturb_each_other():
    samples = [sample for sample in make_samples() if sample.modality in (Modality.VIDEO, Modality.AUDIO)]
    alone = [load_media(sample.modality, sample.data, SMALL) for sample in samples]
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda sample: load_media(sample.modality, sample.data, SMALL), samples * 2))
    for expected, found in zip(alone * 2, again, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_depth_is_disparity_by_hand():
    settings = DepthSettings(size=8)
    tensor = depth_to_tensor(np.full((8, 8), 2.0), settings)
    expected = (0.075 * 518.857901 / 2.0 / 75 - 0.0418) / 0.0295
    assert tensor.shape == (1, 8, 8)
    torch.testing.assert_close(tensor, torch.full((1, 8, 8), expected))
    near, far = (depth_to_tensor(np.full((8, 8), metres), settings).mean() for metres in (1.0, 9.0))
    assert near > far
    hole = depth_to_tensor(np.array([[0.0, 2.0], [np.nan, 2.0]]), DepthSettings(size=2))
    assert hole[0, 0, 0].item() == hole[0, 1, 0].item() == pytest.approx(-0.0418 / 0.0295)
    image = saved(Image.fromarray(np.full((8, 8), 2000, np.uint16)), "PNG")
    torch.testing.assert_close(load_media("depth", image, MediaSettings(depth=settings)), tensor)
    disparity = DepthSettings(size=8, unit="disparity")
    torch.testing.assert_close(depth_to_tensor(np.full((8, 8), 0.075 * 518.857901 / 2), disparity), tensor)


def test_thermal_ranges():
    bytes_, floats = np.array([[0, 255]], np.uint8), np.array([[0.0, 1.0]])
    settings = ThermalSettings(size=1)
    torch.testing.assert_close(
        thermal_to_tensor(bytes_, ThermalSettings(size=2)), thermal_to_tensor(floats, ThermalSettings(size=2))
    )
    assert thermal_to_tensor(np.full((2, 2), 0.25), settings).item() == pytest.approx(0.25)
    assert thermal_to_tensor(
        np.full((2, 2), 30.0), ThermalSettings(size=1, low=20.0, high=40.0)
    ).item() == pytest.approx(0.5)


def test_points_are_centred_repeated_and_repeatable():
    cloud = np.random.default_rng(3).normal(5, 2, (300, 3))
    settings = PointSettings(count=512)
    tensor = points_to_tensor(cloud, settings)
    assert tensor.mean(0).abs().max() < 1e-6
    assert tensor.norm(dim=1).max().item() == pytest.approx(1.0)
    torch.testing.assert_close(tensor[:212], tensor[300:])
    many = np.random.default_rng(4).normal(size=(5000, 3))
    torch.testing.assert_close(
        points_to_tensor(many, settings), points_to_tensor(many, settings), rtol=0, atol=0
    )
    raw = points_to_tensor(many, PointSettings(count=512, normalise=False)).double().numpy()
    assert set(map(tuple, raw)) <= set(map(tuple, many.astype(np.float32).astype(np.float64)))


def test_all_shape_formats_give_the_same_surface():
    corners, _ = box()
    settings = PointSettings(count=4000, normalise=False)
    meshes = [
        s for s in make_samples() if s.suffix in (".obj", ".off", ".stl") or b"vertex_indices" in s.data[:400]
    ]
    assert len(meshes) == 5
    for sample in meshes:
        points = load_point(sample.data, settings).numpy()
        inside = (points > corners.min(0) + 1e-4) & (points < corners.max(0) - 1e-4)
        assert (inside.sum(1) <= 2).all()  # every point lies on a face
        share = (points[:, 0] < 1e-4).mean()  # area 2·3 of 2·(2 + 3 + 6)
        assert share == pytest.approx(6 / 22, abs=0.03)
    vertices = PointSettings(count=8, normalise=False, surface=False)
    np.testing.assert_array_equal(load_point(meshes[0].data, vertices).numpy(), corners)


def test_imu_rates():
    settings = ImuSettings()
    ramp = np.repeat(np.arange(500.0)[:, None] / 100, 6, axis=1)  # value = seconds, at 100 Hz
    tensor = imu_to_tensor(ramp, 100.0, settings)
    assert tensor.shape == (6, 2000)
    np.testing.assert_allclose(tensor[2, :1990].numpy(), np.arange(1990) / 400, atol=1e-5)
    assert tensor[0, -1].item() == pytest.approx(4.99)  # the last reading is held
    timed = np.concatenate([ramp[:, :1] + 1e9, ramp], axis=1)
    np.testing.assert_allclose(imu_to_tensor(timed, None, settings).numpy(), tensor.numpy(), atol=1e-4)
    fast = np.repeat(np.sin(2 * np.pi * 790 * np.arange(16000) / 1600)[:, None], 6, axis=1)
    assert imu_to_tensor(fast, 1600.0, settings).abs().max() < 0.5  # no aliasing at full strength
    plain = np.random.default_rng(5).normal(size=(2000, 6)).astype(np.float32)
    np.testing.assert_array_equal(imu_to_tensor(plain, None, settings).numpy(), plain.T)


def test_guess(tmp_path):
    seen, refused = set(), []
    for number, sample in enumerate(make_samples()):
        path = tmp_path / f"{number}{sample.suffix}"
        path.write_bytes(sample.data)
        try:
            found = guess_modality(path)
        except MediaError as error:
            refused.append(str(error))
            continue
        expected = {sample.modality}
        if sample.suffix in (".png", ".jpg", ".tif", ".gif"):
            expected |= {Modality.IMAGE, Modality.DEPTH, Modality.VIDEO}
        if sample.suffix in (".m4a", ".mkv"):
            expected |= {Modality.VIDEO}
        assert found in expected, sample.suffix
        seen.add(found)
    assert len(seen) == 6
    assert all("could be several" in message for message in refused)
    (tmp_path / "wrong.txt").write_bytes(sound("WAV"))
    assert guess_modality(tmp_path / "wrong.txt") == Modality.AUDIO  # content before suffix
    (tmp_path / "map.npy").write_bytes(npy(np.ones((40, 50))))
    with pytest.raises(UserError, match=r"\(40, 50\)"):
        guess_modality(tmp_path / "map.npy")
    (tmp_path / "map.npz").write_bytes(npz(thermal=np.ones((40, 50))))
    assert guess_modality(tmp_path / "map.npz") == Modality.THERMAL
    (tmp_path / "poem.txt").write_text("roses are red")
    assert guess_modality(tmp_path / "poem.txt") == Modality.TEXT


def test_imu_columns_are_taken_by_their_names(tmp_path):
    values = np.random.default_rng(0).normal(size=(50, 6))
    timed = np.column_stack((np.arange(50) / 400, values))

    def load(header, columns, comments=""):
        buffer = BytesIO()
        np.savetxt(buffer, columns, delimiter=",", header=header, comments=comments)
        return load_imu(buffer.getvalue(), ImuSettings()).numpy()

    expected = load("", timed)
    swapped = [0, 4, 5, 6, 1, 2, 3]
    for header in (
        "time,gyro_x,gyro_y,gyro_z,acc_x,acc_y,acc_z",
        "Timestamp (s),Gyroscope X,Gyroscope Y,Gyroscope Z,Accel X [m/s^2],Accel Y,Accel Z",
        "t,gx,gy,gz,ax,ay,az",
        "when,x_gyr,y_gyr,z_gyr,AccelerometerX,AccelerometerY,AccelerometerZ",
    ):
        np.testing.assert_array_equal(load(header, timed[:, swapped]), expected, header)
        np.testing.assert_array_equal(load(header, timed[:, swapped], "# "), expected, header)
    mixed = load(
        "gz,gy,gx,temperature,az,ay,ax,time", np.column_stack((timed, timed))[:, [6, 5, 4, 9, 3, 2, 1, 0]]
    )
    np.testing.assert_array_equal(mixed, expected)
    np.testing.assert_array_equal(load("a,b,c,d,e,f,g", timed), expected)
    for wrong in ("time,acc_x,acc_y,acc_z,acc_x,acc_y,acc_z", "time,acc_x,acc_y,acc_z,p,q,r"):
        with pytest.raises(MediaError, match=r"columns called time, acc_x.* expected acc_x acc_y"):
            load(wrong, timed)


@pytest.mark.parametrize("shape", [(120, 160), (500, 160), (50, 5), (50, 2), (3, 50)])
def test_an_array_that_is_no_cloud(shape):
    buffer = BytesIO()
    np.save(buffer, np.ones(shape))
    text = BytesIO()
    np.savetxt(text, np.ones(shape))
    for source in (np.ones(shape), buffer.getvalue(), text.getvalue()):
        with pytest.raises(MediaError, match=r"expected points \[n, 3\]"):
            load_point(source, PointSettings())


@pytest.mark.parametrize("columns", [4, 6, 7, 9])
def test_clouds_with_colours(columns):
    cloud = np.random.default_rng(0).normal(size=(50, columns))
    np.testing.assert_array_equal(
        load_point(cloud, PointSettings()).numpy(), load_point(cloud[:, :3], PointSettings()).numpy()
    )


def test_whole_numbers_of_depth_are_millimetres():
    metres = np.linspace(0.5, 6.0, 64).reshape(8, 8).round(3)
    millimetres = (metres * 1000).round()
    expected = load_depth(metres, DepthSettings())
    for kind in (np.uint16, np.int32):
        torch.testing.assert_close(load_depth(millimetres.astype(kind), DepthSettings()), expected)
        buffer = BytesIO()
        np.save(buffer, millimetres.astype(kind))
        torch.testing.assert_close(load_depth(buffer.getvalue(), DepthSettings()), expected)
    with pytest.raises(MediaError, match="16-bit millimetres"):
        load_depth(metres.astype(np.uint8), DepthSettings())
    disparity = DepthSettings(unit="disparity")
    whole = metres.round() + 1
    torch.testing.assert_close(load_depth(whole.astype(np.uint8), disparity), load_depth(whole, disparity))


@pytest.mark.parametrize(
    ("kind", "highest"), [(np.uint16, 20_000), (np.uint16, 65_535), (np.int32, 65_535), (np.int64, 200_000)]
)
def test_a_large_map_of_whole_numbers_is_read_as_one_of_metres(kind, highest):
    numbers = np.random.default_rng(0).integers(0, highest + 1, (300, 400)).astype(kind)
    numbers[0, 0] = highest
    settings = MediaSettings()
    found = load_media("depth", numbers, settings)
    torch.testing.assert_close(found, load_media("depth", numbers / 1000, settings), rtol=0, atol=0)
    with pytest.raises(MediaError, match="no valid pixel among 120000"):
        load_media("depth", np.zeros_like(numbers), settings)
