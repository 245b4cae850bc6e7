"""CLIP's byte-pair encoding, made of its published merges.

``clip_merges.txt.gz`` holds them, ``clip_merges.LICENSE`` their licence. A word is cut into bytes, the last
one marked with ``</w>``, and these are merged in the order of the list. Ids: 256 bytes, 256 bytes that end a
word, 48,894 merges. The two markers of a text come after them; they are not made here.

What is a letter or a number is for the installed ``tokenizers`` to say: characters that Unicode added after
version 15.0 may be cut in another way by another version of it.
"""

import gzip
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MERGES = 48_894
"""Merges that CLIP uses: its vocabulary of 49,408 less 512 bytes and 2 markers."""
_END_OF_WORD = "</w>"
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
"""What CLIP calls a word: a contraction's end, letters, a single digit, or other signs. (CLIP's code,
``simple_tokenizer.py``.)"""


@lru_cache(maxsize=1)
def clip_tokenizer() -> "Tokenizer":
    """The encoder of cleaned, lower-case text: ``clip_tokenizer().encode(text).ids``, without markers."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    packed = files(__package__).joinpath("clip_merges.txt.gz").read_bytes()
    merges = [line.split(" ") for line in gzip.decompress(packed).decode("utf-8").splitlines()]
    letters = _byte_letters()
    names = [*letters, *(letter + _END_OF_WORD for letter in letters), *(a + b for a, b in merges)]
    model = models.BPE(
        vocab={name: number for number, name in enumerate(names)},
        merges=[(a, b) for a, b in merges],
        end_of_word_suffix=_END_OF_WORD,
    )
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer


def _byte_letters() -> list[str]:
    """The letter that stands for each byte, in CLIP's order: printable bytes as they are, then the others.

    The others are 256, 257, … (``bytes_to_unicode`` of GPT-2).
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(256 - len(printable))]
