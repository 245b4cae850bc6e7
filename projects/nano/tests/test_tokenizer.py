"""Nano's tokenizer loses no text, keeps numbers apart, and renders a dialog's beginning as its beginning."""

import numpy as np
import pytest

from nano_lab.grammar import media_sample, messages, text_sample
from nano_lab.tokenizer import ROLES, SPECIAL_TOKENS, corpus, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(seed=0, vocabulary_size=1024, corpus_size=1500)


def test_training_is_deterministic(tokenizer):
    again = train_tokenizer(seed=0, vocabulary_size=1024, corpus_size=1500)
    assert again.get_vocab() == tokenizer.get_vocab()
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert list(corpus(1, 20)) != list(corpus(2, 20))


def test_special_tokens_are_single_and_first(tokenizer):
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(range(len(SPECIAL_TOKENS)))
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert len(tokenizer) == 1024


@pytest.mark.parametrize(
    "text",
    [
        "What number is this?",
        "你听到了什么？",
        "It is 17, not 7.",
        " two  spaces\nand a line ",
        "Grüße, 🐸, ελληνικά, 犇",
        "it's",
        "",
    ],
)
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_every_numeral_is_a_token_of_its_own(tokenizer):
    for mark in "0123456789零一二三四五六七八九十":
        assert [tokenizer.decode([i]) for i in tokenizer(f"加{mark}{mark}吗")["input_ids"]].count(mark) == 2


def test_questions_are_short(tokenizer):
    rng = np.random.default_rng(0)
    lengths = [len(tokenizer(media_sample(rng).turns[0].question)["input_ids"]) for _ in range(300)]
    assert np.mean(lengths) < 9


def test_rendering_a_beginning_gives_the_beginning(tokenizer):
    rng = np.random.default_rng(1)
    for index in range(60):
        dialog = messages(media_sample(rng, follow_ups=2) if index % 2 else text_sample(rng))
        dialog.insert(0, {"role": "system", "content": "You are nano."})
        whole = tokenizer.apply_chat_template(dialog, tokenize=False)
        for count in range(1, len(dialog)):
            part = tokenizer.apply_chat_template(dialog[:count], tokenize=False)
            assert whole.startswith(part)
            if dialog[count]["role"] == "assistant":
                prompt = tokenizer.apply_chat_template(
                    dialog[:count], tokenize=False, add_generation_prompt=True
                )
                assert whole.startswith(prompt)
                assert prompt == part + ROLES["assistant"]


def test_media_cost_no_token_and_text_parts_are_joined(tokenizer):
    plain = [{"role": "user", "content": "What is it?"}]
    typed = [
        {
            "role": "user",
            "content": [
                {"type": "image", "concept": 7},
                {"type": "text", "text": "What "},
                {"type": "audio", "audio": "x.wav"},
                {"type": "text", "text": "is it?"},
            ],
        }
    ]
    render = tokenizer.apply_chat_template
    assert (
        render(plain, tokenize=False) == render(typed, tokenize=False) == "<|bos|><|user|>What is it?<|end|>"
    )


def test_saving_keeps_everything(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.chat_template == tokenizer.chat_template
    assert loaded("你好, 17 cats!")["input_ids"] == tokenizer("你好, 17 cats!")["input_ids"]
    assert (loaded.eos_token, loaded.pad_token, loaded.padding_side) == ("<|end|>", "<|pad|>", "left")


def test_a_folder_of_other_things_is_not_replaced_by_a_tokenizer(tmp_path):
    from types import SimpleNamespace

    from imagebind_llm.common.errors import UserError
    from nano_lab.stages.kinds import _tokenizer

    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"holds 'thesis\.txt', which is not known to be ours"):
        _tokenizer(SimpleNamespace(tokenizer=str(tmp_path), run=SimpleNamespace(seed=0), vocabulary=300))
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
