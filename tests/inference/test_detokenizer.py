"""Text in pieces: the same as decoding all at once, in linear time."""

import random
import time

import pytest

from imagebind_llm.inference.detokenizer import Detokenizer

TEXTS = (
    "Hello world, this is plain.",
    "  leading and   inner spaces, and trailing ones  \n\n",
    "汉字 mixed with English，再来一句。",
    "emoji 👩‍👩‍👧 and 🇩🇪 flags 🦙🦙",
    "naïve café, Ω ≈ 3.14\n\tindented\n\n- item",
    "don't stop . it 's fine , isn 't it ?",
    "",
)


def byte_level():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", pad_token="<|pad|>")


def sentence_piece():
    """As Llama's: ``▁`` for spaces, bytes for what is not in the vocabulary, the first space stripped."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted({c for c in "".join(TEXTS) if ord(c) < 500 and c not in " \n\t"} | {"▁"})
    words = ["▁H", "el", "▁▁", "▁w", "or", "▁th", "is"]
    pieces = ["<unk>", *[f"<0x{byte:02X}>" for byte in range(256)], *letters, *words]
    merges = [("▁", "H"), ("e", "l"), ("▁", "▁"), ("▁", "w"), ("o", "r"), ("i", "s")]
    words_made = {"".join(pair) for pair in merges}
    core = Tokenizer(
        models.BPE(
            vocab={piece: i for i, piece in enumerate(dict.fromkeys([*pieces, *sorted(words_made)]))},
            merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True,
        )
    )  # fmt: skip
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", pad_token="<pad>")


@pytest.fixture(scope="module", params=[byte_level, sentence_piece])
def tokenizer(request):
    return request.param()


def pieces_of(tokenizer, ids):
    text = Detokenizer(tokenizer)
    pieces = [text.add(token) for token in ids]
    return [*pieces, text.rest()]


def whole(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=True).strip()


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_are_the_whole_text(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert whole(tokenizer, ids) == text.strip()
    assert "".join(pieces_of(tokenizer, ids)) == text.strip()
    special = [tokenizer.pad_token_id, *ids[:3], tokenizer.pad_token_id, *ids[3:], tokenizer.eos_token_id]
    assert "".join(pieces_of(tokenizer, special)) == whole(tokenizer, special)


def test_text_comes_as_soon_as_it_is_certain(tokenizer):
    ids = tokenizer.encode("Hello world, this is plain.", add_special_tokens=False)
    pieces = pieces_of(tokenizer, ids)
    assert sum(map(bool, pieces)) > len(ids) // 2
    assert not pieces[-1]


def test_half_characters_are_held_back():
    tokenizer = byte_level()
    ids = tokenizer.encode("a🦖b", add_special_tokens=False)
    assert len(ids) > 3
    pieces = pieces_of(tokenizer, ids)
    assert [piece for piece in pieces if piece] == ["a", "🦖", "b"]


def test_any_tokens_give_the_whole_text(tokenizer):
    """Also those that are no text: what a model of random weights writes."""
    for seed in range(150):
        numbers = random.Random(seed)
        ids = [numbers.randrange(len(tokenizer)) for _ in range(numbers.randrange(1, 60))]
        assert "".join(pieces_of(tokenizer, ids)) == whole(tokenizer, ids), (seed, ids)


def test_4096_tokens_take_linear_time(tokenizer):
    """The number of decoded tokens, which no busy machine changes, and the time."""
    decoded = []

    class Counting:
        convert_ids_to_tokens = staticmethod(tokenizer.convert_ids_to_tokens)
        all_special_ids = tokenizer.all_special_ids

        @staticmethod
        def decode(ids, **settings):
            decoded.append(len(ids))
            return tokenizer.decode(ids, **settings)

    ids = (tokenizer.encode(" ".join(TEXTS), add_special_tokens=False) * 50)[:4096]
    started = time.process_time()
    assert "".join(pieces_of(Counting, ids)) == whole(tokenizer, ids)
    assert sum(decoded) < 16 * len(ids)
    assert time.process_time() - started < 2.0
    broken = next(i for i in range(len(tokenizer)) if "\ufffd" in tokenizer.decode([i]))
    for worst in ([broken] * 4096, [tokenizer.pad_token_id] * 4096):
        decoded.clear()
        assert "".join(pieces_of(Counting, worst)) == whole(tokenizer, worst)
        assert sum(decoded) < 16 * 4096
