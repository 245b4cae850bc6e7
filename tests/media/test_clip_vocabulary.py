"""CLIP's tokens, as the published tokenizer gives them.

The digest was taken with the package ``instant-clip-tokenizer`` 0.1.1, which carries the same merges.
"""

import hashlib
import random

import pytest

from imagebind_llm.media.clip_vocabulary import MERGES, clip_tokenizer
from imagebind_llm.media.settings import TextSettings
from imagebind_llm.media.text import END, START, tokenize

# Blocks that no version of Unicode since 6 has changed.
BLOCKS = [(32, 126)] * 5 + [
    (0xA1, 0x17F), (0x391, 0x3A1), (0x430, 0x44F), (0x5D0, 0x5EA), (0x905, 0x939), (0x300, 0x30F),
    (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0x3041, 0x3096), (0x2190, 0x21FF), (0x1F601, 0x1F64F),
    (0x660, 0x669),
]  # fmt: skip
WORDS = [
    "it's", "we're", "i've", "don't", "''ll", "'d'm's", "1234567890123", "½", "²", "ⅷ", "👩‍👩‍👧", "ß",
    "e\u0301", "</w>", "_", "...", "a photo of a", "dog", "supercalifragilisticexpialidocious", "!" * 40,
    "\u200b",
]  # fmt: skip


def texts() -> list[str]:
    """6,000 lower-case texts of many scripts."""
    chance = random.Random(0)
    found = []
    for _ in range(4000):
        letters = (chr(chance.randint(*chance.choice(BLOCKS))) for _ in range(chance.randint(1, 40)))
        found.append("".join(letters).lower())
    for _ in range(2000):
        found.append(chance.choice(["", " "]).join(chance.choice(WORDS) for _ in range(chance.randint(1, 8))))
    return found


def test_thousands_of_texts_have_the_tokens_of_the_published_tokenizer():
    digest = hashlib.sha256()
    for text in texts():
        digest.update(f"{clip_tokenizer().encode(text).ids}\n".encode())
    assert digest.hexdigest() == "e0819854440e3ea18737bf640db753d67fcfd98bbd3d3f7b9cd0bff4e872049a"


def test_the_vocabulary_is_clips():
    tokenizer = clip_tokenizer()
    assert tokenizer.get_vocab_size() == START == 512 + MERGES
    assert tokenizer.token_to_id("!") == 0
    assert tokenizer.token_to_id("a</w>") == 320
    assert tokenizer.token_to_id("dog</w>") == 1929


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("A photo of a DOG", [320, 1125, 539, 320, 1929]),
        ("it's 2023 café 你好 👍", [585, 568, 273, 271, 273, 274, 15304, 47466, 254, 29290, 377, 4201]),
        ("I'VE &amp;amp; I'm", [328, 1200, 261, 328, 880]),
        ("", []),
    ],
)
def test_cleaned_text(text, ids):
    row = tokenize(text, TextSettings())[0].tolist()
    assert row == [START, *ids, END] + [0] * (77 - 2 - len(ids))


def test_one_endless_word_is_fast():
    assert len(clip_tokenizer().encode("a" * 100_000).ids) > 1000
