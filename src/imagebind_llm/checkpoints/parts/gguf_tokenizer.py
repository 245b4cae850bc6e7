"""The tokenizer in a GGUF file's fields → transformers' own.

Names of fields are those of ``gguf``'s ``constants.py`` (``Keys.Tokenizer``). How text is cut before merging
is only named there (``tokenizer.ggml.pre``); what a name means is said by llama.cpp's ``llama-vocab.cpp``, so
each must be known here.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from imagebind_llm.common.errors import CheckpointError, reason_of, short

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer
    from transformers import PreTrainedTokenizerBase

_FIELD = "tokenizer.ggml."
_KNOWN = {
    "model", "pre", "tokens", "token_type", "merges", "add_space_prefix", "add_bos_token", "add_eos_token",
    "bos_token_id", "eos_token_id", "unknown_token_id", "padding_token_id",
}  # fmt: skip
_NEEDED = {"model", "pre", "tokens", "token_type", "merges", "bos_token_id", "eos_token_id"}
_SPECIAL = {
    "bos": "bos_token_id",
    "eos": "eos_token_id",
    "unk": "unknown_token_id",
    "pad": "padding_token_id",
}
_NORMAL, _CONTROL = 1, 3
"""``TokenType`` in ``constants.py``: what text becomes, and what it never becomes by itself."""
_TEMPLATE = "tokenizer.chat_template"


def _smollm() -> "PreTokenizer":
    """Every digit alone, then words as GPT-2 has them."""
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    return Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)])


_CUTS: Mapping[str, Callable[[], "PreTokenizer"]] = {"smollm": _smollm}
"""How text is cut, by the field ``pre``."""


def read_tokenizer(
    fields: Mapping[str, Any], where: str, rows: int, longest: int
) -> "PreTrainedTokenizerBase":
    """The tokenizer that the fields describe.

    Args:
        fields: of the file.
        where: the file, for messages.
        rows: of the token embedding.
        longest: tokens that the model was trained for.

    Raises:
        CheckpointError: it is of a kind that is not known here, or contradicts itself.
    """
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.decoders import ByteLevel
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    stated = {name.removeprefix(_FIELD): value for name, value in fields.items() if name.startswith(_FIELD)}
    if unknown := sorted(set(stated) - _KNOWN):
        raise CheckpointError(f"{where} states {_FIELD}{unknown[0]}, which is not known here")
    if missing := sorted(_NEEDED - set(stated)):
        raise CheckpointError(f"{where} does not state {_FIELD}{missing[0]}; get a newer file of the model")
    if stated["model"] != "gpt2" or stated["pre"] not in _CUTS:
        raise CheckpointError(
            f"{where} has a tokenizer {short(stated['model'])} that cuts text as {short(stated['pre'])}; "
            f"known are gpt2 with {', '.join(_CUTS)}"
        )
    if any(stated.get(name) for name in ("add_space_prefix", "add_bos_token", "add_eos_token")):
        raise CheckpointError(
            f"{where} has a tokenizer that adds to texts by itself, which is not known here"
        )
    tokens, types = _texts(stated, "tokens", where), stated["token_type"]
    if len(tokens) != rows or len(set(tokens)) != rows or not isinstance(types, list) or len(types) != rows:
        raise CheckpointError(
            f"{where} has {len(tokens)} tokens ({len(set(tokens))} different) for {rows} rows of the "
            "embedding, or not a type for each"
        )
    if other := set(types) - {_NORMAL, _CONTROL}:
        raise CheckpointError(f"{where} has tokens of type {short(min(other))}; known are 1 and 3")
    merges = [_pair(line) for line in _texts(stated, "merges", where)]
    try:
        tokenizer = Tokenizer(BPE({token: number for number, token in enumerate(tokens)}, merges))
    except Exception as error:  # the library raises nothing narrower
        raise CheckpointError(f"{where} has merges that do not fit its tokens ({reason_of(error)})") from None
    tokenizer.pre_tokenizer = _CUTS[stated["pre"]]()
    tokenizer.decoder = ByteLevel()
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in control])
    special = {}
    for name, key in _SPECIAL.items():
        if key not in stated:
            continue
        if type(stated[key]) is not int or not 0 <= stated[key] < rows:
            raise CheckpointError(
                f"{where} has {_FIELD}{key} {short(stated[key])}; expected one of its tokens"
            )
        special[f"{name}_token"] = tokens[stated[key]]
    made: PreTrainedTokenizerBase = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        model_max_length=longest,
        **special,
    )
    template = fields.get(_TEMPLATE)
    if template is not None and not isinstance(template, str):
        raise CheckpointError(f"{where} has a chat template that is no text")
    made.chat_template = template
    return made


def _pair(line: str) -> tuple[str, str]:
    """The two tokens that are merged; a space in them is written as another letter."""
    first, _, second = line.partition(" ")
    return first, second


def _texts(stated: Mapping[str, Any], name: str, where: str) -> list[str]:
    found = stated[name]
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise CheckpointError(f"{where} has {_FIELD}{name} that are no texts")
    return found
