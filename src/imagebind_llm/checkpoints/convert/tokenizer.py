"""The tokenizer of an original LLaMA (``tokenizer.model``) → transformers' own."""

from pathlib import Path
from typing import TYPE_CHECKING

from imagebind_llm.common.errors import CheckpointError, reason_of, require

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENIZER_FILE = "tokenizer.model"


def find_tokenizer(folder: Path, given: Path | None) -> Path:
    """The tokenizer file: the one given, or one in ``folder`` or above it, where Meta's download puts it.

    Raises:
        CheckpointError: there is none.
    """
    places = (
        [given] if given is not None else [folder / TOKENIZER_FILE, folder.resolve().parent / TOKENIZER_FILE]
    )
    for place in places:
        if place.is_file():
            return place
    raise CheckpointError(
        f"there is no {str(places[0])!r}"
        + ("" if given is not None else ", nor one in the folder above")
        + "; say where it is with --tokenizer FILE"
    )


def load_original_tokenizer(file: Path, rows: int) -> "PreTrainedTokenizerBase":
    """The tokenizer in a SentencePiece file.

    Args:
        file: ``tokenizer.model``.
        rows: of the token embedding, which must be as many as the tokenizer has pieces.

    Raises:
        CheckpointError: not a SentencePiece model, or one of another vocabulary.
        MissingExtraError: SentencePiece is not installed.
    """
    sentencepiece = require("sentencepiece", "convert", "reading tokenizer.model")
    require("google.protobuf", "convert", "reading tokenizer.model")
    pieces = sentencepiece.SentencePieceProcessor()
    try:
        pieces.Load(str(file))
    except (RuntimeError, OSError):
        raise CheckpointError(
            f"{str(file)!r} is not a whole SentencePiece model, as LLaMA 1 and 2 have; for newer ones use "
            "the folder that their makers publish for transformers"
        ) from None
    if pieces.vocab_size() != rows:
        raise CheckpointError(
            f"{str(file)!r} has {pieces.vocab_size()} pieces, but the token embedding has {rows} rows; "
            "use the tokenizer that belongs to the weights"
        )
    from transformers import LlamaTokenizer, PreTrainedTokenizerFast

    special = {
        name: pieces.IdToPiece(number)
        for name, number in (
            ("unk_token", pieces.unk_id()),
            ("bos_token", pieces.bos_id()),
            ("eos_token", pieces.eos_id()),
        )
        if number >= 0
    }
    # legacy: a space is put in front of the text after <s>, as SentencePiece itself does and the original
    # program relies on ("<s>Below is" begins with the piece "▁Below").
    read = LlamaTokenizer.from_pretrained(
        file.parent, vocab_file=str(file), legacy=True, local_files_only=True, **special
    )
    # LlamaTokenizer forgets that setting when it is saved; the general class keeps all of tokenizer.json.
    tokenizer: PreTrainedTokenizerBase = PreTrainedTokenizerFast(
        tokenizer_object=read.backend_tokenizer, clean_up_tokenization_spaces=False, **special
    )
    return tokenizer


def saved_tokenizer(folder: Path, rows: int) -> "PreTrainedTokenizerBase":
    """The tokenizer of a transformers folder, splitting text as the original does.

    Folders that others made often carry the original ``tokenizer.model``; transformers' class for them puts
    the first space elsewhere (see :func:`load_original_tokenizer`), so then the file itself is read, and only
    the chat template taken from the folder.

    Args:
        folder: of the language model.
        rows: of its token embedding. A file with fewer pieces (the folder adds tokens) is left alone.

    Raises:
        CheckpointError: the folder has no tokenizer.
        MissingExtraError: SentencePiece is needed and not installed.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        reason = reason_of(error)
        raise CheckpointError(f"{str(folder)!r} has no tokenizer that can be read ({reason})") from None
    if len(tokenizer) != rows or not (folder / TOKENIZER_FILE).is_file():
        return tokenizer
    original = load_original_tokenizer(folder / TOKENIZER_FILE, rows)
    original.chat_template = tokenizer.chat_template
    return original
