"""Text → CLIP tokens ``[77]`` int64.

Cleaning as in CLIP: mend broken encodings (ftfy), undo HTML escapes twice, collapse white space, lower
case. Then byte-pair encoding between a start token (49406) and an end token (49407), padded with 0. Their
names, written out inside a text, are words like others: a space is put into them. (CLIP's own tokenizer reads
them as the tokens, so that a text could end itself.)
"""

import html
import re
from collections.abc import Sequence

import torch

from imagebind_llm.common.errors import MediaError
from imagebind_llm.common.text_files import NotUtf8, decode_text
from imagebind_llm.media.base import Limits, tell_of_more
from imagebind_llm.media.clip_vocabulary import clip_tokenizer
from imagebind_llm.media.settings import TextSettings

START, END = 49406, 49407
_MARKER = re.compile(r"<(\|(?:startoftext|endoftext)\|>)")


def load_text(source: object, settings: TextSettings, limits: Limits | None = None) -> torch.Tensor:
    """``[context_length]`` int64 of a string (or its UTF-8 bytes). Of a longer one the beginning is read, and
    a warning says so.

    Raises:
        MediaError: not a string, not UTF-8, longer than ``limits.max_characters``, or without any word.
    """
    text = checked_text(source, limits or Limits())
    if len(_tokens(text)) > settings.context_length:
        tell_of_more("text", f"{settings.context_length} tokens")
    row = tokenize(text, settings)[0]
    if int(row[1]) == END:
        raise MediaError("text", "a text without words", "at least one character to read", "write something")
    return row


def checked_text(source: object, limits: Limits) -> str:
    """A string (or its UTF-8 bytes) that is not too long.

    Raises:
        MediaError: not a string, not UTF-8, or longer than ``limits.max_characters``.
    """
    if isinstance(source, bytes):
        try:
            source = decode_text(source)
        except NotUtf8 as error:
            raise MediaError(
                "text", f"bytes that are not UTF-8 ({error})", "UTF-8", "decode them first"
            ) from error
    if not isinstance(source, str):
        raise MediaError("text", f"a {type(source).__name__}", "a string", "pass the text itself")
    if len(source) > limits.max_characters:
        raise MediaError(
            "text",
            f"{len(source)} characters",
            f"at most {limits.max_characters}",
            "shorten it or raise Limits.max_characters",
        )
    return source


def tokenize(texts: str | Sequence[str], settings: TextSettings) -> torch.Tensor:
    """``[B, context_length]`` int64 of one or several strings."""
    if isinstance(texts, str):
        texts = [texts]
    length = settings.context_length
    rows = torch.zeros(len(texts), length, dtype=torch.int64)
    for row, text in zip(rows, texts, strict=True):
        tokens = _tokens(text)
        if len(tokens) > length:
            tokens = tokens[:length]
            if settings.end_token_on_truncation:
                tokens[-1] = END
        row[: len(tokens)] = torch.tensor(tokens)
    return rows


def _tokens(text: str) -> list[int]:
    return [START, *clip_tokenizer().encode(_clean(text)).ids, END]


def _clean(text: str) -> str:
    import ftfy

    # half of a surrogate pair cannot be written as UTF-8, which the tokenizer reads
    text = text.encode("utf-8", "replace").decode("utf-8")
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    text = text.encode("utf-8", "replace").decode("utf-8")  # an escape may have spelt such a half
    return _MARKER.sub(r"< \1", re.sub(r"\s+", " ", text).strip().lower())
