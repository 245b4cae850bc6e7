"""``ask --batch``: lines from other editors."""

from collections import deque

from imagebind_llm.cli import batch_lines
from imagebind_llm.common.errors import UserError

LINES = b'{"question": "one\xe2\x80\xa8two\xc2\x85"}\n"three"\n'


def requests(data: bytes) -> list:
    return list(batch_lines.requests(data.splitlines(keepends=True), {}, deque()))


def test_marks_and_line_ends():
    expected = [{"question": "one\u2028two\x85"}, {"question": "three"}]
    assert requests(LINES) == expected
    assert requests(b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n")) == expected
    assert requests(LINES[:-8] + b"\xef\xbb\xbf" + LINES[-8:]) == expected  # files put together


def test_utf16_is_named():
    first, *_ = requests(LINES.decode().encode("utf-16"))
    assert isinstance(first, UserError)
    assert str(first) == "line 1 is UTF-16, not UTF-8; save it as UTF-8"
