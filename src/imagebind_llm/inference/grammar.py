"""Answers of a given form: a JSON schema or a grammar becomes a mask over the tokens, step by step.

The library llguidance (extra ``tools``) follows the grammar; here it is tied to a tokenizer and to the token
engine. It works on bytes, so that any tokenizer will do whose tokens are bytes or text in UTF-8, however few
there are. Between the values of JSON stand ``", "`` and ``": "``, as ``json.dumps`` writes them, and no other
white space: a model that was never trained on JSON would fill its answer with it.
"""

from collections import OrderedDict
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from imagebind_llm.common.errors import UserError, one_line, reason_of, require
from imagebind_llm.inference.response_format import Form

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FEATURE = "an answer of a given form"
_JSON = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_NEEDED = '{}[]":,\\-.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ '
"""What JSON is written with (RFC 8259): its signs, numbers, literals, escapes."""
_KEPT = 64
"""Compiled grammars that are kept for each tokenizer."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a language model, as plain data.

    Attributes:
        tokenizer: a ``tokenizer.json``.
        size: V, the rows of the language model's output.
        end_tokens: ids that end an answer.
    """

    tokenizer: str
    size: int
    end_tokens: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: "PreTrainedTokenizerBase", size: int, end_tokens: Iterable[int]) -> "Vocabulary":
        """That of a tokenizer.

        Raises:
            UserError: it is not one of the library tokenizers, or nothing ends an answer.
        """
        backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        ends = tuple(sorted(end_tokens))
        if backend is None:
            raise UserError(
                f"{FEATURE} needs a fast tokenizer, and this model's is a {type(tokenizer).__name__}; put a "
                "tokenizer.json into its folder"
            )
        if not ends:
            raise UserError(f"{FEATURE} needs a token that ends it, and this model has no eos_token; set one")
        backend = copy(backend)
        backend.no_padding()
        backend.no_truncation()
        return cls(backend.to_str(), size, ends)

    def load(self) -> Any:
        """The ``llguidance.LLTokenizer``.

        Raises:
            MissingExtraError: the extra ``tools`` is not installed.
            UserError: the tokenizer cannot be read, or cannot spell JSON.
        """
        library = require("llguidance", "tools", FEATURE)
        try:
            found = library.LLTokenizer(self.tokenizer, n_vocab=self.size, eos_token=list(self.end_tokens))
        except Exception as error:  # whatever the library does not know of a tokenizer
            raise UserError(
                f"{FEATURE}: this model's tokenizer cannot be followed: {reason_of(error)}"
            ) from error
        lost = [sign for sign in _NEEDED if not _spells(found, sign)]
        if lost:
            signs = one_line(" ".join(map(repr, lost)), 60)
            raise UserError(
                f"{FEATURE}: this model's tokenizer has no token for {signs}, so that it cannot write JSON; "
                "use a model with a byte-level tokenizer"
            )
        return found


def _spells(tokens: Any, sign: str) -> bool:
    try:
        return bool(tokens.decode_bytes(tokens.greedy_tokenize(sign)) == sign.encode())
    except Exception:  # the library has no word for it
        return False


class Grammar:
    """A form that answers must have (a :class:`~imagebind_llm.inference.constraint.Constraint`).

    Args:
        form: a JSON schema, or a Lark grammar.
        vocabulary: of the language model.
        tokens: ``vocabulary.load()``, if it is at hand.

    Raises:
        UserError: the form cannot be followed: a schema that is wrong, that nothing satisfies, or that uses
            what the library does not know (it is never followed in part).
    """

    def __init__(self, form: Form, vocabulary: Vocabulary, tokens: Any = None) -> None:
        library = require("llguidance", "tools", FEATURE)
        self._given = (form, vocabulary)
        matcher = library.LLMatcher
        try:
            if form.kind == "schema":
                text = matcher.grammar_from_json_schema(form.text, overrides=_JSON)
            else:
                text = matcher.grammar_from_lark(form.text)
        except ValueError as error:
            raise _refused(form, error) from error
        self._first = matcher(vocabulary.load() if tokens is None else tokens, text, log_level=0)
        if self._first.is_error():
            raise _refused(form, self._first.get_error())
        self._size = vocabulary.size
        self._ends = torch.zeros(vocabulary.size, dtype=torch.bool)
        self._ends[list(vocabulary.end_tokens)] = True

    def __reduce__(self) -> tuple[Any, ...]:
        return Grammar, self._given

    def start(self) -> "GrammarMask":
        """The state before the first token of one answer."""
        return GrammarMask(self._first.deep_copy(), self._ends)


class GrammarMask:
    """How far one answer has come (a :class:`~imagebind_llm.inference.constraint.TokenMask`).

    Args:
        matcher: an ``llguidance.LLMatcher`` that nobody else moves on.
        ends: ``[V]`` bool, the tokens that end an answer.
    """

    def __init__(self, matcher: Any, ends: Tensor) -> None:
        self._matcher = matcher
        self._ends = ends
        self._ended = False

    @property
    def problem(self) -> str | None:
        """Why the answer cannot go on: the grammar is too large to be followed, for example."""
        if self._ended or not self._matcher.is_error():
            return None
        return f"{FEATURE} cannot go on: {one_line(self._matcher.get_error(), 160)}; simplify the schema"

    def allowed(self) -> Tensor:
        """``[V]`` bool."""
        if self._matcher.is_error():
            return torch.zeros_like(self._ends)
        if self._matcher.is_stopped():  # nothing more belongs to it
            return self._ends
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        if self._matcher.is_error():
            return torch.zeros_like(self._ends)
        found = np.unpackbits(bits, bitorder="little")[: len(self._ends)].astype(bool)
        return torch.from_numpy(found)

    def accept(self, token: int) -> None:
        """Move on."""
        if self._ends[token] and (self._matcher.is_stopped() or self._matcher.is_accepting()):
            self._ended = True
        elif not self._ended:
            self._matcher.consume_token(token)


def _refused(form: Form, error: object) -> UserError:
    what = "the JSON schema" if form.kind == "schema" else "the grammar"
    said = one_line(str(error).strip() or type(error).__name__, 200)
    return UserError(f"{what} cannot be followed: {said}; see docs/tools.md for what schemas may say")


_TOKENS: "WeakKeyDictionary[Any, dict[Any, tuple[Vocabulary, Any, OrderedDict[Form, Grammar]]]]" = (
    WeakKeyDictionary()
)


def grammar_for(
    form: Form, tokenizer: "PreTrainedTokenizerBase", size: int, end_tokens: Iterable[int]
) -> Grammar:
    """The grammar of a form for a tokenizer; those used last are remembered.

    Raises:
        MissingExtraError: the extra ``tools`` is not installed.
        UserError: the form cannot be followed, or not with this tokenizer.
    """
    known = _TOKENS.setdefault(tokenizer, {})
    key = (size, frozenset(end_tokens), len(tokenizer))
    if key not in known:
        vocabulary = Vocabulary.of(tokenizer, size, key[1])
        known[key] = (vocabulary, vocabulary.load(), OrderedDict())
    vocabulary, tokens, grammars = known[key]
    found = grammars.pop(form, None) or Grammar(form, vocabulary, tokens)
    grammars[form] = found
    while len(grammars) > _KEPT:
        grammars.popitem(last=False)
    return found
