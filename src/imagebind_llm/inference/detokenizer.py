"""Tokens → text in pieces, in linear time: only the last few tokens are decoded again."""

import re
from typing import Any

_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_EVERY = 8
"""Held tokens that are decoded again with each new one; a character has at most four."""


class Detokenizer:
    """Gives out the text that is certain, and holds back what may still change: half a character, white
    space at the end. The pieces joined are the whole answer, decoded at once and stripped.

    A window of tokens is decoded with and without the new ones, and the difference is new. It begins with
    tokens whose text is known, because the first token of a text may lose its space.

    Args:
        tokenizer: of the language model.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        added = getattr(tokenizer, "added_tokens_decoder", {})
        self._special = {*tokenizer.all_special_ids, *(i for i, token in added.items() if token.special)}
        self._ids: list[int] = []
        self._start = 0
        """First token of the window."""
        self._read = 0
        """First token of the window whose text has not been given out."""
        self._look = 0
        """How many tokens must be held back before they are decoded again."""
        self._spaces = ""
        self._begun = False

    def add(self, token: int) -> str:
        """One more token; gives the text that is certain now, often none."""
        if token in self._special:  # they leave no trace, not even an end of what is around them
            return ""
        self._ids.append(token)
        held = len(self._ids) - self._read
        if held < self._look or self._is_byte(token):  # a run of bytes is read as a whole
            return ""
        text = self._take(final=False)
        waits = self._read < len(self._ids)
        # a long run of what is no text is looked at again when it has doubled
        self._look = 2 * held if waits and held >= _EVERY else 0
        return text

    def rest(self) -> str:
        """The tokens have ended; gives what was held back."""
        return self._take(final=True)

    def _take(self, final: bool) -> str:
        before = self._decode(self._ids[self._start : self._read])
        after = self._decode(self._ids[self._start :])
        if not final and (len(after) <= len(before) or after.endswith("\ufffd")):
            return ""
        same = len(before)
        if not after.startswith(before):
            if not final:
                return ""
            same = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), same)
        self._start, self._read = self._read, len(self._ids)
        return self._tidy(after[same:])

    def _tidy(self, text: str) -> str:
        """Without white space before the first word and after the last."""
        if not self._begun:
            text = text.lstrip()
            self._begun = bool(text)
        text = self._spaces + text
        kept = text.rstrip()
        self._spaces = text[len(kept) :]
        return kept

    def _is_byte(self, token: int) -> bool:
        piece = self._tokenizer.convert_ids_to_tokens(token)
        return isinstance(piece, str) and _BYTE.fullmatch(piece) is not None

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True)) if ids else ""
