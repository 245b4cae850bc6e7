"""Texts for a transformers backbone: its own tokenizer, a row of ids with what of it is text."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imagebind_llm.common.errors import CheckpointError, ConfigError, MediaError, reason_of
from imagebind_llm.common.files import read_json
from imagebind_llm.common.settings import Checked
from imagebind_llm.media.base import Limits, tell_of_more
from imagebind_llm.media.text import checked_text

TOKENIZER_FOLDER = "encoder_tokenizer"
"""Inside an encoder's or a model's folder; in the latter the language model's tokenizer lies beside it."""


@dataclass(frozen=True)
class WordsInput(Checked):
    """How a text becomes the backbone's input."""

    context_length: int
    """Longest text, in tokens; longer ones are cut."""
    reads_padding: bool = False
    """Whether the model was trained to read the padding up to the full length, as SigLIP was."""

    def load(self, source: Any, tokenizer: Any, limits: Limits) -> Tensor:
        """``[2, context_length]`` int64 of a string: ids padded at the end, and 1 where the model reads them.
        Of a longer one the beginning is read, and a warning says so.

        Raises:
            MediaError: not a string, too long, or empty.
        """
        text = checked_text(source, limits)
        if not text.strip():
            raise MediaError("text", "an empty text", "at least one word", "write something")
        # the names of control tokens are words like others
        ids = tokenizer(text, split_special_tokens=True, verbose=False)["input_ids"]
        if len(ids) > self.context_length:
            tell_of_more("text", f"{self.context_length} tokens")
            length = self.context_length
            ids = tokenizer(text, truncation=True, max_length=length, split_special_tokens=True)["input_ids"]
        if not ids:
            raise MediaError("text", "a text without tokens", "at least one", "write something")
        rows = torch.zeros(2, self.context_length, dtype=torch.int64)
        rows[0] = 0 if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
        rows[0, : len(ids)] = torch.tensor(ids)
        rows[1, : self.context_length if self.reads_padding else len(ids)] = 1
        return rows


def open_tokenizer(folder: Path) -> Any:
    """The tokenizer in ``folder``.

    Raises:
        CheckpointError: there is none that can be read.
    """
    from transformers import AutoTokenizer

    if not (folder / "tokenizer_config.json").is_file():
        raise CheckpointError(
            f"{str(folder)!r} has no tokenizer_config.json; a text tower needs its model's tokenizer"
        )
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise CheckpointError(
            f"the tokenizer in {str(folder)!r} cannot be read ({reason_of(error)}); copy the folder again"
        ) from error


_LONGEST = 512
_OFFSET = ("roberta", "xlm-roberta", "camembert", "mpnet", "clap_text_model", "xlm-roberta-xl")
"""Models whose positions begin after that of the padding token, so that they have two fewer."""


def published_words(folder: Path, tokenizer: Any, config: Any, context: int | None) -> WordsInput:
    """What the text model ``config`` of a transformers folder reads.

    Args:
        folder: may hold ``sentence_bert_config.json``, whose bound counts too.
        tokenizer: its tokenizer, whose bound counts too.
        config: transformers' configuration of the text model.
        context: tokens wanted; None: as many as there can be, at most 512.

    Raises:
        ConfigError: more than the model reads, or another number for a model that reads its padding.
    """
    most = int(getattr(config, "max_position_embeddings", None) or _LONGEST)
    most -= 2 if config.model_type in _OFFSET else 0
    reads_padding = config.model_type.startswith("siglip")
    if reads_padding:
        if context not in (None, most):
            raise ConfigError(f"context is {context}, but {config.model_type} reads exactly {most} tokens")
        return WordsInput(most, True)
    if context is not None and context > most:
        raise ConfigError(f"context is {context}, but {config.model_type} reads at most {most} tokens")
    bounds = [most, _LONGEST, int(min(tokenizer.model_max_length or _LONGEST, _LONGEST))]
    sentences = folder / "sentence_bert_config.json"
    if sentences.is_file() and isinstance(found := read_json(sentences).get("max_seq_length"), int):
        bounds.append(found)
    return WordsInput(context or min(bounds))
