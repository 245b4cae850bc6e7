"""SmolLM2's tokenizer with a chat template that adds no words of its own.

    python -m mini_lab.template parts/smollm2-135m-instruct --out runs/mini/tokenizer

The published template begins every dialog with a system message of 17 tokens, unless one is given. Captions
are about 12 tokens long, so training would spend most of its time on it.
"""

import argparse
from pathlib import Path

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.folders import atomic_directory

ADDED = (
    "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
)
"""What the published template adds."""


def write(source: Path, out: Path) -> None:
    """Write the tokenizer of ``source`` without what its template adds.

    Raises:
        UserError: its template is another one.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    template = str(tokenizer.chat_template)
    if template.count(ADDED) != 1:
        raise UserError(f"the chat template in {str(source)!r} is not SmolLM2's; pull the part again")
    tokenizer.chat_template = template.replace(ADDED, "")
    with atomic_directory(out) as folder:
        tokenizer.save_pretrained(folder)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m mini_lab.template", description="Shorten the template.")
    parser.add_argument("source", type=Path, help="folder of SmolLM2")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="written, as a whole")
    given = parser.parse_args()
    write(given.source, given.out)


if __name__ == "__main__":
    main()
