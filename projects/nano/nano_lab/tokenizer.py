"""Nano's tokenizer: byte-level BPE learnt from the grammar's own corpus, with a compact chat template.

Any UTF-8 text can be encoded. Digits (and Chinese numerals) are always tokens of their own, so that
arithmetic is learnt on numbers rather than on accidents of merging. Media parts of a message cost no token.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat
from typing import TYPE_CHECKING

import numpy as np

from nano_lab.grammar import (
    CHAT_KINDS,
    LANGUAGES,
    Sample,
    caption_sample,
    check_sample,
    media_sample,
    statement_sample,
    text_sample,
)
from nano_lab.world.concepts import CONCEPTS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VOCABULARY_SIZE = 2048
CONTEXT_LENGTH = 256
PAD, BOS, END = "<|pad|>", "<|bos|>", "<|end|>"
ROLES: dict[str, str] = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>"}
SPECIAL_TOKENS: tuple[str, ...] = (PAD, BOS, END, *ROLES.values())

CHAT_TEMPLATE = (
    "{{- bos_token -}}"
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' -}}"
    "{%- if message['content'] is string -%}{{- message['content'] -}}"
    "{%- else -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'text' -%}{{- part['text'] -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- endif -%}"
    "{{- '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
"""Each message is ``<|role|>text<|end|>``; rendering the first i messages is a prefix of rendering them
all."""

_CHINESE_NUMERALS = "零一二三四五六七八九十"
_NUMERALS = rf"[0-9{_CHINESE_NUMERALS}]"


def corpus(seed: int, size: int) -> Iterator[str]:
    """``size`` texts (questions and answers) of the training grammar, slips of typing included, the same for
    the same seed."""
    rng = np.random.default_rng(seed)
    for index in range(size):
        for turn in _draw(rng, index).turns:
            yield turn.question
            yield turn.answer


def _draw(rng: np.random.Generator, index: int) -> Sample:
    turn = index % 8
    if turn < 4:
        return media_sample(rng, split="wide") if index % 2 else check_sample(rng)
    if turn == 4:
        return caption_sample(rng, index // 8 % len(CONCEPTS), split="wide")
    if turn == 5:
        return statement_sample(rng, split="wide")
    if turn == 6:
        return text_sample(rng, "wide")
    return text_sample(
        rng, "wide", kind=CHAT_KINDS[index // 8 % len(CHAT_KINDS)], language=LANGUAGES[index // 16 % 2]
    )


def train_tokenizer(
    seed: int = 0, vocabulary_size: int = VOCABULARY_SIZE, corpus_size: int = 20_000
) -> PreTrainedTokenizerFast:
    """Learn the tokenizer from ``corpus_size`` dialogs of the training split; deterministic given the
    arguments."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_NUMERALS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # A Chinese numeral is three bytes: seen often enough, it is certain to be merged into one token.
    numerals = repeat(_CHINESE_NUMERALS, corpus_size)
    tokenizer.train_from_iterator(chain(corpus(seed, corpus_size), numerals), trainer=trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=END,
        additional_special_tokens=list(ROLES.values()),
        model_max_length=CONTEXT_LENGTH,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
