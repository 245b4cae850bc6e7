"""SmolLM2's tokenizer with a chat template that adds no words of its own.

    python -m mini_lab.template parts/smollm2-135m-instruct --out runs/mini/tokenizer
    python -m mini_lab.template parts/smollm2-135m-instruct --out runs/mini/caption-tokenizer --captions

The published template begins every dialog with a system message of 17 tokens, unless one is given. Captions
are about 12.7 tokens long, so training would spend most of its time on it.

With ``--captions`` a turn of the user that says nothing (a picture alone) leaves no trace, nor does the line
break after an answer: a caption of Flickr8k then costs 17.6 tokens, where the short template with the usual
instruction takes 28.6. A condition is added to all tokens that follow, so none has to stand for the picture.
For dialogs with words the two templates differ in the line break alone.
"""

import argparse
import sys
from pathlib import Path

from imagebind_llm.common.errors import UserError
from imagebind_llm.common.folders import atomic_directory
from imagebind_llm.training.build import exit_code

ADDED = (
    "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
)
"""What the published template adds."""


TURN = "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
"""How the published template writes a message."""
CAPTION = (
    "{% if message['role'] == 'assistant' %}"
    "{{ '<|im_start|>assistant\n' + message['content'] + '<|im_end|>' }}"
    "{% elif message['content'] %}" + TURN + "{% endif %}"
)
"""The same, but for a user who says nothing, and for the line break after an answer."""


def write(source: Path, out: Path, captions: bool = False) -> None:
    """Write the tokenizer of ``source`` without what its template adds.

    Args:
        captions: leave out turns that say nothing, too, and the line break after an answer.

    Raises:
        UserError: its template is another one.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    template = str(tokenizer.chat_template)
    if template.count(ADDED) != 1 or template.count(TURN) != 1:
        raise UserError(f"the chat template in {str(source)!r} is not SmolLM2's; pull the part again")
    short = template.replace(ADDED, "")
    tokenizer.chat_template = short.replace(TURN, CAPTION) if captions else short
    with atomic_directory(out) as folder:
        tokenizer.save_pretrained(folder)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m mini_lab.template", description="Shorten the template.")
    parser.add_argument("source", type=Path, help="folder of SmolLM2")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="written, as a whole")
    parser.add_argument("--captions", action="store_true", help="for pictures with captions and no words")
    given = parser.parse_args()
    sys.exit(exit_code(lambda: write(given.source, given.out, given.captions)))


if __name__ == "__main__":
    main()
