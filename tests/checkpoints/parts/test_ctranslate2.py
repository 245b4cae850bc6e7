"""CTranslate2's file format: what is read, and what is refused."""

import numpy as np
import pytest
import torch
from support.part_files import ctranslate2

from imagebind_llm.checkpoints.parts.ctranslate2 import CTranslate2File
from imagebind_llm.common.errors import CheckpointError

VARIABLES = {
    "a/weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a/half": np.array([0.5, -2], dtype=np.float16),
    "a/flag": np.array(-3, dtype=np.int16),
    "a/code": np.array([[1, -1]], dtype=np.int8),
    "a/count": np.array(70_000, dtype=np.int32),
}
ALIASES = (("b/weight", "a/weight"),)


def opened(tmp_path, content):
    (tmp_path / "model.bin").write_bytes(content)
    return CTranslate2File(tmp_path / "model.bin")


def test_every_variable_comes_with_shape_type_and_values(tmp_path):
    found = opened(tmp_path, ctranslate2(VARIABLES, ALIASES, "ThingSpec", 7))
    assert (found.name, found.revision, found.aliases) == ("ThingSpec", 7, dict(ALIASES))
    assert list(found.infos) == list(VARIABLES)
    for name, array in VARIABLES.items():
        expected = torch.from_numpy(np.ascontiguousarray(array)).reshape(array.shape)
        assert found.infos[name].shape == array.shape
        assert found.infos[name].dtype == expected.dtype
        assert torch.equal(found.get(name), expected)
    found.release()
    assert found.get("a/count").item() == 70_000


def test_a_file_that_is_cut_anywhere_is_one_line(tmp_path):
    whole = ctranslate2(VARIABLES, ALIASES)
    for end in range(len(whole)):
        with pytest.raises(CheckpointError, match="as a CTranslate2 model has") as found:
            opened(tmp_path, whole[:end])
        assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (ctranslate2(VARIABLES, version=5), "binary version 5; expected 6"),
        (ctranslate2(VARIABLES) + b"x", "1 bytes after the last alias"),
        (ctranslate2(VARIABLES, [("a/flag", "a/weight")]), "expected a new name of a variable"),
        (ctranslate2(VARIABLES, [("b", "c")]), "expected a new name of a variable"),
        (
            ctranslate2({"w": VARIABLES["a/half"]}).replace(b"\x04\x04\0\0\0", b"\x09\x04\0\0\0"),
            "number type 9",
        ),
        (
            ctranslate2({"w": VARIABLES["a/half"]}).replace(b"\x04\x04\0\0\0", b"\x04\x05\0\0\0"),
            "5 bytes of 'w'",
        ),
        (ctranslate2({"w": VARIABLES["a/half"]}).replace(b"w\0", b"ww"), "with a zero byte at its end"),
        (ctranslate2({}).replace(b"\x03\0\0\0\0\0\0\0", b"\x03\0\0\0\0\0\0\xff"), "variables or aliases"),
        (ctranslate2({"w": np.zeros((2, 0), np.float32)}), "0 bytes of 'w'"),
        (b"", "0 bytes; expected at least 4"),
        (b"<html>not found</html>", "binary version"),
    ],
)
def test_what_is_not_understood_is_refused(content, said, tmp_path):
    with pytest.raises(CheckpointError, match=said) as found:
        opened(tmp_path, content)
    assert "\n" not in str(found.value)


def test_a_name_twice_is_refused(tmp_path):
    content = ctranslate2({"wa": VARIABLES["a/half"], "wb": VARIABLES["a/half"]}).replace(b"wb\0", b"wa\0")
    with pytest.raises(CheckpointError, match="the variable 'wa' twice"):
        opened(tmp_path, content)
