"""Is the tokenizer the language model's, and can dialogs be written with it?"""

from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError, reason_of
from imagebind_llm.diagnosis.report import Report
from imagebind_llm.model.assembly import PROBE_DIALOG

_SENTENCE = "What is this? 这是什么? 12 + 34"


def check_tokenizer(report: Report, folder: Path, text_config: Any, with_processor: bool = True) -> None:
    """Load the tokenizer and try it out; what is wrong is found, facts are noted."""
    from transformers import AutoTokenizer

    from imagebind_llm.model import register

    register()
    part = "tokenizer"
    try:
        if with_processor:
            from imagebind_llm.model.processing import ImageBindLLMProcessor

            tokenizer: Any = ImageBindLLMProcessor.from_pretrained(folder).tokenizer
        else:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (UserError, OSError, ValueError, KeyError) as error:
        reason = reason_of(error)
        report.find(part, reason, "save the processor (tokenizer and media settings) into the folder")
        return
    rows = int(text_config.vocab_size)
    back = tokenizer.decode(tokenizer(_SENTENCE, add_special_tokens=False)["input_ids"])
    report.facts[part] = {
        "type": type(tokenizer).__name__,
        "tokens": len(tokenizer),
        "rows_of_embedding": rows,
        "end_token": tokenizer.eos_token,
        "chat_template": bool(tokenizer.chat_template),
        "round_trip": back.strip() == _SENTENCE,
    }
    if len(tokenizer) > rows:
        report.find(
            part,
            f"it has {len(tokenizer)} tokens, the language model embeds {rows}",
            "put the tokenizer of this language model into the folder",
        )
    if tokenizer.eos_token_id is None:
        report.find(
            part, "it has no end token, so no answer would end", "set eos_token in tokenizer_config.json"
        )
    stops = text_config.eos_token_id
    stops = stops if isinstance(stops, list) else [stops]
    if None not in stops and tokenizer.eos_token_id not in (None, *stops):
        report.notes.append(
            f"the tokenizer ends with token {tokenizer.eos_token_id}, the configuration says {stops}; "
            "generation_config.json decides"
        )
    if not with_processor and not tokenizer.chat_template:
        return
    from imagebind_llm.model.dialog import build_dialog

    try:
        build_dialog(PROBE_DIALOG, tokenizer, add_generation_prompt=True)
    except UserError as error:
        if with_processor:
            report.find(
                part, str(error), "put a chat_template.jinja into the folder that can be used turn by turn"
            )
        else:  # a language model alone may have any
            report.notes.append(f"{error}; imagebind-llm new takes this model with --template alpaca")
