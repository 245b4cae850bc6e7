"""Text of people: marks, other encodings, line ends."""

import pytest

from imagebind_llm.checkpoints.registry import read_registry
from imagebind_llm.common.errors import ConfigError
from imagebind_llm.common.files import read_json
from imagebind_llm.common.text_files import NotUtf8, decode_text, read_text

TEXT = "name\tcaption\n图.png\tein Bär"


def test_a_mark_is_no_letter():
    assert decode_text(TEXT.encode("utf-8-sig")) == TEXT == decode_text(TEXT.encode())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_other_encodings_are_named(encoding):
    mark = "\ufeff" if encoding == "utf-32-be" else ""
    with pytest.raises(NotUtf8, match="UTF-16" if "16" in encoding else "UTF-32"):
        decode_text((mark + TEXT).encode(encoding))
    with pytest.raises(NotUtf8, match=r"invalid continuation byte at byte 30"):
        decode_text(TEXT.encode() + b"\n\xe9a")
    assert decode_text(b"a\0b") == "a\0b"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_on_any_system(tmp_path, end):
    (tmp_path / "t").write_bytes(f"one{end}two\x85\u2028\x0b{end}".encode())
    assert read_text(tmp_path / "t") == "one\ntwo\x85\u2028\x0b\n"


def test_settings_files_of_other_editors(tmp_path):
    (tmp_path / "config.json").write_bytes('{"model_type": "ü"}'.encode("utf-8-sig"))
    assert read_json(tmp_path / "config.json") == {"model_type": "ü"}
    (tmp_path / "r.yaml").write_bytes(b"\xef\xbb\xbf{}\r\n")
    assert read_registry(tmp_path / "r.yaml") == {}
    (tmp_path / "r.yaml").write_bytes("a: {}".encode("utf-16"))
    with pytest.raises(ConfigError, match="UTF-16, not UTF-8; save it as UTF-8"):
        read_registry(tmp_path / "r.yaml")
