"""What a tokenizer and its chat template use for control, and how a typed text is kept from becoming it.

Control are

* the tokenizer's special tokens: all of ``tokenizer.json``, not only those with a name such as ``eos_token``;
* other added tokens of the form ``<|…|>``, or which the template writes (Qwen's ``<tool_call>`` and
  ``<think>``, Gemma's ``<start_of_turn>``), but for plain words and white space;
* marks that the template writes as ordinary text (Mistral's ``[INST]``, Llama 2's ``<<SYS>>``, Alpaca's
  ``### Response:``, Vicuna's ``ASSISTANT:``).

Where a typed text holds one of the former, it is tokenised in two halves, so that other tokens come of the
same characters. A mark of ordinary text would give the same tokens however it is cut: an invisible character
(word joiner, U+2060) is put inside.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from imagebind_llm.common.errors import UserError, one_line
from imagebind_llm.model.templates import Budget, own_words, render

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SPLIT = "\ue0ff"
"""Stands between the halves of a control token that was typed. A private-use character."""
INVISIBLE = "\u2060"

_PIPED = re.compile(r"<[|｜][^<>\n]{1,60}[|｜]>")
_MARK = re.compile(
    r"<[|｜]/?[^\s<>|｜]{1,40}[|｜]>"
    r"|<<?/?[A-Za-z_][\w:.-]{0,40}>>?"
    r"|\[/?[A-Z][A-Z_]{1,40}\]"
    r"|#{2,}[ ]?[A-Za-z][\w ]{0,30}:?"
    r"|(?im:^)(?i:user|human|assistant|system|bot|ai|tool|instruction|response|question|answer):"
)
"""Text of a template that looks like a mark."""
_PROBE = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
    {"role": "user", "content": "c"},
]


@dataclass(frozen=True)
class Control:
    """What is control for one tokenizer with one template.

    Attributes:
        tokens: that the tokenizer reads whole.
        ids: their token ids.
        marks: that the template writes as ordinary text.
    """

    tokens: tuple[str, ...]
    ids: frozenset[int]
    marks: tuple[str, ...]

    @classmethod
    def of(cls, tokenizer: "PreTrainedTokenizerBase", template: str) -> "Control":
        """Of a tokenizer and the chat template used with it."""
        words = _words_of(template, tokenizer.special_tokens_map)
        added = {token.content: (number, token.special) for number, token in _added(tokenizer)}
        named = set(tokenizer.all_special_tokens) | set(getattr(tokenizer, "chat_control_tokens", None) or ())
        tokens = {
            text
            for text, (_, special) in added.items()
            if special or text in named or _PIPED.fullmatch(text) or (_is_marker(text) and text in words)
        } | named
        ids = {number for text, (number, _) in added.items() if text in tokens}
        ids.update(tokenizer.all_special_ids)
        if tokenizer.unk_token_id not in (tokenizer.eos_token_id, tokenizer.bos_token_id):
            ids.discard(tokenizer.unk_token_id)  # stands for words that the tokenizer does not know
        marks = {mark for mark in _MARK.findall(words) if mark.strip() not in tokens}
        return cls(_longest_first(tokens), frozenset(ids), _longest_first(mark.strip() for mark in marks))

    def disarm(self, value: Any) -> Any:
        """``value`` with what is control in its strings broken up; lists and mappings are followed."""
        if isinstance(value, str):
            return self._disarmed(value)
        if isinstance(value, Mapping):
            return {self.disarm(key): self.disarm(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.disarm(item) for item in value]
        return value

    def count(self, text: str) -> int:
        """Number of control tokens in a text."""
        return len(self._tokens.findall(text)) if self.tokens else 0

    @cached_property
    def _edges(self) -> tuple[frozenset[str], frozenset[str]]:
        """All beginnings and all ends of the tokens."""
        starts = {token[:length] for token in self.tokens for length in range(1, len(token))}
        ends = {token[-length:] for token in self.tokens for length in range(1, len(token))}
        return frozenset(starts), frozenset(ends)

    @cached_property
    def _tokens(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, self.tokens)))

    @cached_property
    def _marks(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, self.marks)))

    def _disarmed(self, text: str) -> str:
        text = text.replace(SPLIT, "")
        if self.marks:
            text = self._marks.sub(lambda found: found[0][0] + INVISIBLE + found[0][1:], text)
        if not self.tokens:
            return text
        while self._tokens.search(text):  # a half may hold another one
            text = self._tokens.sub(lambda found: found[0][0] + SPLIT + found[0][1:], text)
        # what stands beside it in the template, perhaps another typed text, must not make it whole
        starts, ends = self._edges
        lengths = range(1, min(len(self.tokens[0]), len(text) + 1))
        if any(text[-length:] in starts for length in lengths):
            text += SPLIT
        if any(text[:length] in ends for length in lengths):
            text = SPLIT + text
        return text


def _added(tokenizer: "PreTrainedTokenizerBase") -> list[tuple[int, Any]]:
    return list(tokenizer.added_tokens_decoder.items())


def _is_marker(token: str) -> bool:
    """Whether an added token can be a marker: not white space, not a plain word."""
    return len(token) > 1 and not token.isspace() and not token.isalnum()


def _longest_first(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({text for text in texts if len(text) > 1}, key=lambda text: (-len(text), text)))


def _words_of(template: str, special: Mapping[str, Any]) -> str:
    """What a template writes by itself: its own text, and a short dialog rendered with it."""
    try:
        words: Sequence[str] = own_words(template)
    except Exception:  # not a template: rendering it will say so
        return ""
    variables = {
        "messages": _PROBE, "tools": None, "documents": None, "add_generation_prompt": True, **special
    }  # fmt: skip
    try:
        rendered = render(template, variables, Budget(variables, seconds=1.0))
    except Exception:  # it asks for something else than the probe
        rendered = ""
    return "\n".join((*words, rendered))


def encode_words(tokenizer: "PreTrainedTokenizerBase", control: Control, text: str) -> list[int]:
    """Token ids of rendered text; halves of a typed control token are read apart.

    Raises:
        UserError: the tokenizer reads typed text as control in spite of that (one that changes letters before
            it looks for its tokens, say).
    """
    ids: list[int] = []
    for number, piece in enumerate(text.split(SPLIT)):
        if not piece:
            continue
        own = _inner(tokenizer, piece) if number else _encode(tokenizer, piece)
        if sum(token in control.ids for token in own) > control.count(piece):
            raise UserError(
                f"the tokenizer reads words of {one_line(repr(piece), 80)} as control tokens; leave out what "
                "looks like one"
            )
        ids += own
    return ids


def _encode(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False, verbose=False))


def _inner(tokenizer: "PreTrainedTokenizerBase", piece: str) -> list[int]:
    """Ids of a piece inside a text, read behind a line break: SentencePiece would put a space before it."""
    before = _encode(tokenizer, "\n")
    whole = _encode(tokenizer, "\n" + piece)
    return whole[len(before) :] if whole[: len(before)] == before else _encode(tokenizer, piece)
