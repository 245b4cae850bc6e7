"""One odd file costs only itself: whatever its reader raises, it is named, and the others are done."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imagebind_llm.cli import main
from imagebind_llm.common.errors import MediaError
from imagebind_llm.common.modality import Modality
from imagebind_llm.media import MediaSettings, guess_modality, image, load_media, video

ERRORS = [
    KeyError("IFD"),
    ZeroDivisionError("division by zero"),
    RuntimeError("stack expects\nequal"),
    AssertionError(),
]
ODD = 31
"""Width of the pictures whose reader fails."""


def told(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return (int(left.value.code or 0), *capsys.readouterr())


@pytest.fixture(params=ERRORS, ids=lambda error: type(error).__name__)
def broken_reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Exception:
    """The reader of pictures fails on those of an odd width, with an error that nobody foresaw."""
    error: Exception = request.param
    usual: Callable[..., Any] = image.load_image

    def load_image(source: Any, *arguments: Any) -> Any:
        picture = source if isinstance(source, Image.Image) else Image.open(source)
        if picture.width == ODD:
            raise error
        return usual(source, *arguments)

    monkeypatch.setattr(image, "load_image", load_image)
    return error


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six pictures with captions; the third is odd, and one has a name that is no UTF-8."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(6):
        width = ODD if number == 2 else 40
        name = os.fsdecode(b"caf\xe9.png") if number == 4 else f"{number}.png"
        pixels = random.integers(0, 255, (30, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
        (folder / name).with_suffix(".txt").write_text(f"a picture of the thing number {number}")
    return folder


def test_embed(
    broken_reader: Exception, data: Path, tmp_path: Path, tiny_model_folder: Path, capsys: Any
) -> None:
    pictures = sorted(data.glob("*.png"))
    out = tmp_path / "x.npy"
    code, said, errors = told(
        capsys, "embed", *pictures, "--out", out, "--model", tiny_model_folder, "--json"
    )
    assert code == 2
    assert json.loads(said)["left_out"] == 1
    assert np.load(out).shape[0] == 5
    named = [line for line in errors.splitlines() if line.startswith("left out")]
    assert len(named) == 1
    assert named[0].startswith(
        f"left out '{data / '2.png'}': its reader failed ({type(broken_reader).__name__}: "
    )
    assert errors.endswith("error: 1 of 6 files were left out\n")


def test_data_embed_and_a_cache(
    broken_reader: Exception, data: Path, tmp_path: Path, tiny_model_folder: Path, capsys: Any
) -> None:
    model = ("--model", tiny_model_folder, "--device", "cpu")
    code, said, errors = told(
        capsys,
        "data",
        "embed",
        data,
        "--out",
        tmp_path / "e",
        *model,
        "--workers",
        1,
        "--max-bad",
        0.5,
        "--json",
    )
    assert code == 0, errors
    assert {key: json.loads(said)[key] for key in ("rows", "left_out")} == {
        "rows": 5,
        "left_out": {"data": 1},
    }
    (bad,) = map(json.loads, (tmp_path / "e" / "quarantine.jsonl").read_text().splitlines())
    assert bad["key"] == "2.png"
    assert type(broken_reader).__name__ in bad["reason"]
    code, said, errors = told(capsys, "cache", "build", data, "--out", tmp_path / "c", *model, "--json")
    assert code == 0, errors
    assert {key: json.loads(said)[key] for key in ("count", "left_out")} == {"count": 5, "left_out": 1}
    assert f"left out '{data / '2.png'}': " in errors


def test_data_clean(
    broken_reader: Exception, data: Path, tmp_path: Path, tiny_model_folder: Path, capsys: Any
) -> None:
    _, said, errors = told(
        capsys, "data", "clean", data, "--out", tmp_path / "out", f"encoder.model={tiny_model_folder}",
        "encoder.device=cpu", "max_unreadable=0.5", "--json",
    )  # fmt: skip
    assert json.loads(said)["samples"] == 6, errors
    lines = (tmp_path / "out" / "result" / "quarantine.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["2.png"]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_data_check_opens_what_is_no_picture_too(
    error: Exception, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def load_video(source: Any, *_: Any) -> Any:
        if "bad" in str(source):
            raise error

    monkeypatch.setattr(video, "load_video", load_video)
    rows = [
        {"id": name, "video": name, "conversations": [
            {"from": "human", "value": "<video>\nWhat happens?"}, {"from": "gpt", "value": "A film."}]}
        for name in ("good.mp4", "bad.mp4", "fine.mp4")
    ]  # fmt: skip
    (data / "films.json").write_text(json.dumps(rows))
    code, said, errors = told(capsys, "data", "check", data / "films.json", "--max-bad", 0.5, "--json")
    assert code == 0, errors
    found = json.loads(said)
    assert (found["good"], found["bad"]) == ({"films.json": 2}, {"films.json": 1})
    assert f"its reader failed ({type(error).__name__}: " in found["bad_examples"]["films.json"][0]
    assert told(capsys, "data", "check", data / "films.json")[0] == 2


class _Failing:
    """A file object that cannot be read."""

    name = "x.png"

    def read(self, *_: object) -> bytes:
        raise RuntimeError("the line is dead")

    def seek(self, *_: object) -> int:
        return 0

    def tell(self) -> int:
        return 0


def test_whatever_a_reader_raises_names_the_medium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for modality in ("image", "video", "audio", "point", "depth", "thermal", "imu"):
        with pytest.raises(MediaError):
            load_media(Modality(modality), _Failing(), MediaSettings())  # type: ignore[arg-type]

    def out_of_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(image, "load_image", out_of_memory)
    with pytest.raises(MemoryError):  # that concerns all media
        load_media(Modality.IMAGE, tmp_path / "x.png", MediaSettings())


def test_pcm_of_64_bits_is_read_or_refused_by_name(tmp_path: Path) -> None:
    body = np.arange(16_000, dtype="<i8").tobytes()
    head = struct.pack("<HHIIHH", 1, 1, 16_000, 128_000, 8, 64)
    parts = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(body)) + body
    file = tmp_path / os.fsdecode(b"\xfcber.wav")
    file.write_bytes(b"RIFF" + struct.pack("<I", len(parts)) + parts)
    assert guess_modality(file) is Modality.AUDIO
    try:
        found = load_media(Modality.AUDIO, file, MediaSettings())
    except MediaError as error:
        said = str(error)
        assert "?ber.wav: " in said
        assert said.isprintable()
    else:
        assert found.isfinite().all()
