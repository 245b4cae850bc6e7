"""Measure mini: one command regenerates every number of its card.

    python -m mini_lab.evaluate --model runs/mini/model --data DATA --parts parts --out runs/mini/results
    python -m mini_lab.evaluate --model runs/mini/model --data DATA --parts parts --out try --items 20
    python -m mini_lab.evaluate … --part captions --part sounds

Parts that are finished are kept; the same command goes on with the next, within a part where its answers
stopped. ``--out`` gets ``results.json``, ``results.md``, plots, and below ``answers/`` a folder with a page
for each way of asking.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from imagebind_llm.common.errors import UserError, one_line
from mini_lab.measures.parts import PARTS, RESULTS

QUESTION = "Describe this picture in one sentence."
"""Asked of pictures whose captions are scored: one of the requests that the build trains with."""
WORDS = "imagenet-words"


def main(arguments: list[str] | None = None) -> int:
    """The command.

    Returns:
        0; 2 after a message of one line; 130 when it was stopped.
    """
    given = _parser().parse_args(arguments)
    if given.items is not None and given.items < 2:
        return _refused(f"--items is {given.items}; expected at least 2")
    try:
        _measure(given)
    except UserError as error:
        return _refused(str(error))
    except KeyboardInterrupt:
        sys.stderr.write(f"\nstopped; what is finished is kept in {given.out}: the same command goes on\n")
        return 130
    return 0


def _refused(reason: str) -> int:
    sys.stderr.write(f"error: {one_line(reason, 600)}\n")
    return 2


def _measure(given: argparse.Namespace) -> None:
    for name in ("model", "data", "parts"):
        place = getattr(given, name)
        if not place.is_dir():
            raise UserError(f"there is no folder {str(place)!r}; give another as --{name}")
    from imagebind_llm.common.files import atomic_write, write_json
    from imagebind_llm.evaluation.plots import load_pyplot
    from imagebind_llm.evaluation.provenance import model_facts
    from imagebind_llm.inference.assistant import Assistant
    from mini_lab.measures.context import Context
    from mini_lab.measures.parts import run
    from mini_lab.measures.plots import draw
    from mini_lab.measures.report import report

    load_pyplot()  # before hours of work, not after them
    bot = Assistant.from_pretrained(given.model, device=given.device, dtype="float32")
    facts: dict[str, Any] = model_facts(bot, given.name, given.model)
    context = Context(
        bot=bot,
        folder=given.model,
        facts=facts,
        data=given.data.resolve(),
        parts=given.parts,
        words=given.words or given.work / WORDS,
        work=given.work,
        out=given.out,
        text=given.text,
        caption_question=given.caption_question,
        limit=given.items,
        progress=not given.quiet,
    )
    results = run(context, given.part or list(PARTS), given.again)
    write_json(given.out / RESULTS, results)
    text = report(results, draw(results, given.out))
    with atomic_write(given.out / "results.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mini_lab.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog="parts:\n" + "\n".join(f"  {name:12} {what}" for name, what in PARTS.items()),
    )

    def folder(name: str, default: str | None, text: str) -> None:
        parser.add_argument(
            name, type=Path, default=default, required=default is None, metavar="FOLDER", help=text
        )

    folder("--model", None, "mini, as the build or pull leaves it")
    folder("--data", None, "the shared data: flickr8k, imagenet_sample, animals, animals_extra, cifar10")
    folder("--parts", None, "the pulled parts, each in a folder of its name")
    folder("--out", None, "for the results; one that was begun goes on")
    folder("--work", "runs/mini", "what the build left: furniture/ and imagenet-words/ of it")
    parser.add_argument(
        "--words", type=Path, metavar="FOLDER", help="of: imagebind-llm data fetch imagenet-words"
    )
    parser.add_argument(
        "--caption-question", default=QUESTION, metavar="TEXT", help="what is asked of captions' pictures"
    )
    parser.add_argument(
        "--part", action="append", choices=list(PARTS), help="measure this part only (several allowed)"
    )
    parser.add_argument("--items", type=int, metavar="N", help="most items of each set, for a quick look")
    parser.add_argument(
        "--text", type=Path, metavar="FILE", help="plain English text instead of the Debian FAQ"
    )
    parser.add_argument("--name", default="mini", help="what the model is called in the results")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, or auto")
    parser.add_argument("--again", action="store_true", help="measure parts anew that are finished")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    return parser


if __name__ == "__main__":
    sys.exit(main())
